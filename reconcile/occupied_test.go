package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// A task of our token that the journal does not know is another agent's: nothing is
// started beside it, on whatever guest it works, and the plan says what is waited for.
func TestNothingIsStartedBesideAnotherAgent(t *testing.T) {
	want := desired(t, "node: pve1\nguests:\n  dns: {vmid: 101, config: {cores: 2}}\n")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		template := map[string]string{"vmid": "300", "ostemplate": "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz", "unprivileged": "1", "rootfs": "local-lvm:1"}
		if status, body := b.sim.Do("root@pam", "POST", "/nodes/pve1/lxc", template); status != 200 {
			t.Fatal(body)
		}
		b.sim.Advance(time.Minute)
		other := newBench(t, b.sim) // with a journal of its own
		dump := proxmox.Call{Method: "POST", Path: "/nodes/pve1/vzdump", Params: map[string]string{"vmid": "300", "storage": "local", "mode": "snapshot", "compress": "zstd", "remove": "0"}}
		upid, err := other.client.Do(context.Background(), dump)
		if err != nil {
			t.Fatal(err)
		}
		_, text := b.plan(want)
		if !strings.Contains(text, "when vzdump 300 has ended (since 18:03, by felhom@pve!agent)") {
			t.Errorf("the plan does not say what is waited for:\n%s", text)
		}
		go func() { // what a pass would have sent by now
			time.Sleep(20 * time.Second)
			b.journal.Mu.Lock()
			defer b.journal.Mu.Unlock()
			if n := len(b.journal.Order); n > 0 {
				t.Errorf("%d acts were begun beside the other agent's %s", n, upid)
			}
		}()
		if r := b.once(want); r.ExitCode() != 0 || r.Sent == 0 {
			t.Errorf("it did not go on when the other had ended:\n%s", b.closing(r))
		}
		if s, err := b.client.TaskStatusOnce(context.Background(), upid); err != nil || !s.OK() {
			t.Errorf("the other agent's task: %v, %v", s, err)
		}
		synctest.Wait()
	})
}

// A restore that hangs, or unpacks for hours, holds PVE's lock on its storage only at
// its begin: after a while the next guest is made on the same storage.
func TestALongRestoreDoesNotKeepItsStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		if status, body := sim.Do("root@pam", "POST", "/nodes/pve1/vzdump", map[string]string{"vmid": "101", "storage": "local", "mode": "snapshot", "compress": "zstd", "remove": "0"}); status != 200 {
			t.Fatal(body)
		}
		sim.Advance(time.Minute)
		want := desired(t, `node: pve1
restores:
  ada: {vmid: 110, from: {archive: "local:backup/vzdump-lxc-101-2026_11_22-18_02_09.tar.zst"}, storage: local-lvm}
  bea: {vmid: 111, from: {archive: "local:backup/vzdump-lxc-101-2026_11_22-18_02_09.tar.zst"}, storage: local-lvm}
`)
		if err := sim.Inject(pvesim.Fault{Match: "task vzrestore 110", Effect: "hang", Times: -1}); err != nil {
			t.Fatal(err)
		}
		b := newBench(t, sim)
		ctx, stop := context.WithCancel(context.Background())
		go func() {
			time.Sleep(questions.StorageLocked - time.Minute)
			if reconciletest.Parse(sim.String()).Guests[111] != nil {
				t.Error("two restores at once on one storage")
			}
			time.Sleep(3 * time.Minute)
			stop()
		}()
		b.agent.Once(ctx, want)
		if reconciletest.Parse(sim.String()).Guests[111] == nil {
			t.Errorf("the second guest was never made:\n%s", b.events)
		}
		sim.Heal()
	})
}

// A guest that was shut down to be started again, and whose start then waits for a
// person, does not keep the others from their restarts.
func TestABlockedStartKeepsNobody(t *testing.T) {
	const text = `node: pve1
guests:
  dns: {vmid: 101, state: running, restart: auto, drift: heal, needs: [web], config: {startup: {order: 1}, %s}}
  web: {vmid: 300}
  shop: {vmid: 301, state: running, restart: auto, drift: heal, config: {startup: {order: 2}, %s}}
`
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		for vmid, name := range map[int]string{300: "web", 301: "shop"} {
			template := map[string]string{"vmid": fmt.Sprint(vmid), "hostname": name, "ostemplate": "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz", "unprivileged": "1", "rootfs": "local-lvm:1"}
			if status, body := b.sim.Do("root@pam", "POST", "/nodes/pve1/lxc", template); status != 200 {
				t.Fatal(body)
			}
			b.sim.Advance(time.Minute)
		}
		b.sim.Do("root@pam", "POST", "/nodes/pve1/lxc/300/status/start", nil)
		b.sim.Advance(time.Minute)
		if r := b.once(desired(t, fmt.Sprintf(text, "cores: 1", "cores: 1"))); r.ExitCode() != 0 {
			t.Fatal(b.closing(r))
		}
		go func() {
			for !slices.ContainsFunc(reconciletest.Parse(b.sim.String()).Tasks, func(task string) bool { return strings.HasPrefix(task, "vzshutdown 101 ") }) {
				time.Sleep(100 * time.Millisecond)
			}
			b.sim.Do("root@pam", "POST", "/nodes/pve1/lxc/300/status/stop", nil) // a person
		}()
		r := b.once(desired(t, fmt.Sprintf(text, "tty: 3", "tty: 3")))
		world := reconciletest.Parse(b.sim.String())
		if world.Guests[101].Running || !world.Guests[301].Running || len(world.Guests[301].Pending) > 0 {
			t.Errorf("dns runs: %t, shop runs: %t with %v to come\n%s", world.Guests[101].Running, world.Guests[301].Running, world.Guests[301].Pending, b.closing(r))
		}
	})
}

// Two agents with one token and two journals, started in the same second, make each due
// backup once: a random wait lets the task of one of them show before the other sends.
func TestTwoAgentsMakeOneBackup(t *testing.T) {
	want := desired(t, "node: pve1\nguests:\n  dns: {vmid: 101}\nbackups:\n  daily: {guests: [dns], storage: local, every: 24h}\n")
	made := func(stagger time.Duration) (archives int, said string) {
		synctest.Test(t, func(t *testing.T) {
			sim := pvesim.New()
			if r := newBench(t, sim).once(desired(t, "node: pve1\nguests:\n  dns: {vmid: 101}\n")); r.ExitCode() != 0 {
				t.Fatal(r)
			}
			var both, planned sync.WaitGroup
			planned.Add(2)
			for range 2 {
				b := newBench(t, sim, func(o *Options) {
					o.Stagger = stagger
					o.Planned = func(*Plan) { planned.Done(); planned.Wait() } // neither sends before both have seen that there is none
				})
				both.Go(func() {
					if r := b.once(want); r.ExitCode() != 0 {
						said += b.closing(r)
					}
				})
			}
			both.Wait()
			archives = strings.Count(sim.String(), "vzdump-lxc-101-2026_11_22-")
		})
		return archives, said
	}
	if n, said := made(5 * time.Second); n != 1 || said != "" {
		t.Errorf("%d archives were made\n%s", n, said)
	}
	if n, _ := made(0); n != 2 {
		t.Errorf("without the wait %d archives are made: the simulated node shows nothing of the accident", n)
	}
}
