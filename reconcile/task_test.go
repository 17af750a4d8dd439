package reconcile

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/applying"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
)

// A guest that moved to another node between the look and the backup: PVE answers
// "OK" and backs nothing up, so nothing may say that it did.
func TestABackupThatFindsNoGuestIsNone(t *testing.T) {
	want := desired(t, ejectYAML)
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		b := newBench(t, sim, func(o *Options) {
			token, err := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
			if err != nil {
				t.Fatal(err)
			}
			if o.Client, err = proxmox.New(proxmox.Options{Token: token, Transport: elsewhere{sim}}); err != nil {
				t.Fatal(err)
			}
		})
		report := b.once(want)
		text := b.events.String() + b.closing(report)
		if report.ExitCode() == 0 || !strings.Contains(text, "nothing was backed up") {
			t.Errorf("exit code %d\n%s", report.ExitCode(), text)
		}
	})
}

// elsewhere is a node on which no guest of a backup lives.
type elsewhere struct{ *pvesim.Sim }

func (e elsewhere) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == "POST" && strings.HasSuffix(req.URL.Path, "/vzdump") {
		return &http.Response{StatusCode: 200, Status: "200 OK", Body: io.NopCloser(strings.NewReader(`{"data":"OK"}`))}, nil
	}
	return e.Sim.RoundTrip(req)
}

// A write whose answers are lost again and again is no reason to send it for ever, nor to
// keep a run from ending.
func TestAWriteThatIsLostAgainAndAgainFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		if status, body := sim.Do("root@pam", "POST", "/nodes/"+sim.Node()+"/lxc", map[string]string{"vmid": "300", "hostname": "web",
			"ostemplate": "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", "rootfs": "local-lvm:1", "unprivileged": "1"}); status != 200 {
			t.Fatal(body)
		}
		sim.Advance(time.Minute)
		if err := sim.Inject(pvesim.Fault{Match: "POST */status/start", Effect: "lost", Times: -1}); err != nil {
			t.Fatal(err)
		}
		b := newBench(t, sim)
		report := b.once(desired(t, "guests:\n  web: {vmid: 300, state: running}\n"))
		text := b.events.String() + b.closing(report)
		if report.ExitCode() != 1 || !strings.Contains(text, "its answer was lost, and no task of it is found, as the last time") {
			t.Errorf("exit code %d\n%s", report.ExitCode(), text)
		}
		starts := 0
		for _, operation := range b.journal.Order {
			if operation.Verb == "start" {
				starts++
			}
		}
		if starts != 2 {
			t.Errorf("it was sent %d times", starts)
		}
	})
}

// An agent elsewhere with our token may start the same soon after us: the task of an
// act whose answer was lost is the first after it, and none that another operation has.
func TestALostAnswersTaskIsTheFirstOne(t *testing.T) {
	at := time.Date(2026, 11, 22, 18, 5, 39, 0, time.UTC)
	task := func(pid int, after time.Duration) proxmox.Task {
		started := at.Add(after)
		upid, err := proxmox.ParseUPID(fmt.Sprintf("UPID:pve1:%08X:0A4D0A5E:%08X:vzdump:9000:felhom@pve!agent:", pid, started.Unix()))
		if err != nil {
			t.Fatal(err)
		}
		return proxmox.Task{UPID: upid, Type: "vzdump", ID: "9000", StartTime: started}
	}
	before, other, mine, later := task(1, -time.Second), task(2, time.Second), task(3, 2*time.Second), task(4, 31*time.Second)
	have := &node.Observed{TokenID: "felhom@pve!agent", Tasks: []proxmox.Task{later, mine, other, before}} // newest first, as PVE lists them
	a := New(Options{Journal: MemoryJournal()})
	a.O.Journal.Order = []*journal.Operation{{Upid: other.UPID}}
	lost := &journal.Operation{Entry: Entry{Time: at, Before: []string{before.UPID.String()}, Call: &proxmox.Call{Method: "POST", Path: "/nodes/pve1/vzdump", Params: proxmox.Params{"vmid": "9000"}}}}
	if upid, ok := applying.Find(a.O.Journal, lost, have); !ok || upid != mine.UPID {
		t.Errorf("found %s, want %s", upid, mine.UPID)
	}
}

// PVE says that a guest is locked in its answer to a question about a task: that is no end of the
// task. The journal goes on to know it, and nothing is made twice.
func TestAnErrorOfAQuestionIsNoEndOfATask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		before := strings.Count(b.sim.String(), "vzdump-lxc-101-")
		if err := b.sim.Inject(pvesim.Fault{Match: "GET */tasks/*/status", Effect: "error", Text: "CT is locked (backup)", Times: 2}); err != nil {
			t.Fatal(err)
		}
		r := b.once(desired(t, "guests:\n  dns: {vmid: 101}\nbackups:\n  nightly: {guests: [dns], storage: local, every: 24h}\n"))
		if n := strings.Count(b.sim.String(), "vzdump-lxc-101-") - before; r.ExitCode() != 0 || n != 1 || strings.Contains(b.events.String(), "another agent") {
			t.Errorf("%d archives of dns\n%s\n%s", n, b.closing(r), b.events)
		}
	})
}
