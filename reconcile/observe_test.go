package reconcile

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// The look is what an idle agent costs the node: at most 8 requests and one per
// guest at first, 4 and one per guest later, plus one per guest with declared
// snapshots and one per storage with declared backups or goldens.
func TestLookIsCheap(t *testing.T) {
	want := reconciletest.Examples(t)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.once(want)
		guests := len(want.Golden) + len(want.Restores) + len(want.Guests)
		extra := len(want.Snapshots) + 2 // of different guests; usb-backup and local

		first, _ := b.plan(want)
		if n, most := first.Header.Requests, 8+guests+extra; n > most {
			t.Errorf("the first look costs %d requests, at most %d", n, most)
		}
		b.once(want) // knows what rarely changes
		before := b.sim.Requests()
		report := b.once(want)
		if report.Passes != 1 || report.Sent != 0 {
			t.Fatalf("an idle run made %d passes and sent %d acts", report.Passes, report.Sent)
		}
		if n, most := b.sim.Requests()-before, 4+guests+extra; n > most {
			t.Errorf("a later look costs %d requests, at most %d", n, most)
		}
		if n := report.Plan.Header.Requests; n != b.sim.Requests()-before {
			t.Errorf("the plan says %d requests, the node saw %d", n, b.sim.Requests()-before)
		}
		writes := b.sim.Writes()
		b.plan(want)
		if b.sim.Writes() != writes {
			t.Error("a plan has written")
		}
	})
}

// TestATasksEndIsLookedAtCheaply: the pass after the end of an operation reads the lists, and
// of forty guests only those on which operations of ours worked; the last pass reads all.
func TestATasksEndIsLookedAtCheaply(t *testing.T) {
	const guests = 40
	var text strings.Builder
	text.WriteString("backups:\n  daily: {guests: all, storage: local, every: 24h, keep: 3}\nguests:\n")
	for i := range guests {
		fmt.Fprintf(&text, "  g%d: {vmid: %d, config: {memory: 512MiB}}\n", i, 300+i)
	}
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		for i := range guests {
			if status, body := sim.Do("root@pam", "POST", "/nodes/"+sim.Node()+"/lxc", map[string]string{"vmid": strconv.Itoa(300 + i), "hostname": fmt.Sprintf("g%d", i),
				"ostemplate": "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", "rootfs": "local-lvm:1", "memory": "512", "unprivileged": "1"}); status != 200 {
				t.Fatal(body)
			}
		}
		sim.Advance(time.Hour)
		b := newBench(t, sim)
		report := b.once(desired(t, text.String())) // adopts them side by side, then backs up one after the other
		if report.ExitCode() != 0 || report.Passes < guests {
			t.Fatalf("%d passes\n%s", report.Passes, b.closing(report))
		}
		n := sim.Requests()
		t.Logf("%d guests, %d acts in %d passes: %d requests", guests, report.Sent, report.Passes, n)
		if most := report.Passes * guests * 3 / 4; n > most {
			t.Errorf("%d passes over %d guests cost %d requests, polls included: at most %d", report.Passes, guests, n, most)
		}
	})
}

// TestEachEndIsToldOnce: also where a pass that began with a part has to read all in the end, for something is deleted.
func TestEachEndIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		told := map[string]int{}
		sim := pvesim.New()
		b := newBench(t, sim, func(o *Options) {
			o.Planned = func(*Plan) {} // somebody sees it
			o.Events = func(e Event) {
				mu.Lock()
				defer mu.Unlock()
				if e.State == "ok" {
					told[fmt.Sprint(e.Object, " ", e.Verb, " ", e.Time, " ", e.UPID)]++
				}
			}
		})
		sim.Do("root@pam", "POST", "/nodes/"+sim.Node()+"/lxc", map[string]string{"vmid": "300", "hostname": "old", "ostemplate": "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", "rootfs": "local-lvm:1", "unprivileged": "1"})
		sim.Advance(time.Minute)
		for _, text := range []string{
			"guests:\n  dns: {vmid: 101, state: running}\n  old: {vmid: 300, state: running}\n",
			"guests:\n  dns: {vmid: 101, state: stopped, config: {cores: 3}}\n  old: {vmid: 300, ensure: absent, backup: none}\n",
		} {
			if report := b.once(desired(t, text)); report.ExitCode() != 0 {
				t.Fatal(b.closing(report))
			}
			sim.Advance(2 * time.Hour)
		}
		for what, n := range told {
			if n > 1 {
				t.Errorf("%s: its end is told %d times", what, n)
			}
		}
		if len(told) < 5 {
			t.Errorf("only %d ends were told: %v", len(told), told)
		}
	})
}
