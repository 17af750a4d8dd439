package reconcile

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// What a lost answer's request has stored is told from what stands there now.
func TestStoredIsWhatWasSent(t *testing.T) {
	tests := []struct {
		key, sent, stored string
		same              bool
	}{
		{"memory", "1024", "1024", true},
		{"memory", "1024", "512", false},
		{"description", "my shop", "my shop\n", true},
		{"description", "my shop", "your shop\n", false},
		{"tags", "Shop;web", "shop;web", true},
		{"net0", "name=eth0,bridge=vmbr0,hwaddr=BE:24:11:00:00:01,ip=dhcp", "name=eth0,bridge=vmbr0,hwaddr=BE:24:11:00:00:01,ip=dhcp,type=veth", true},
		{"net0", "name=eth0,bridge=vmbr0,hwaddr=BE:24:11:00:00:01,ip=dhcp", "name=eth0,bridge=vmbr1,hwaddr=BE:24:11:00:00:01,ip=dhcp,type=veth", false},
		{"mp0", "local-lvm:20,mp=/data,backup=1", "local-lvm:vm-201-disk-1,mp=/data,backup=1,size=20G", true},
		{"mp0", "local-lvm:20,mp=/data,backup=1", "", false},
		{"mp0", "local-lvm:vm-201-disk-1,mp=/data", "local-lvm:vm-201-disk-2,mp=/data,size=20G", false},
	}
	for _, test := range tests {
		if same := sameStored(test.key, test.sent, test.stored); same != test.same {
			t.Errorf("%s: %q stored as %q: %t", test.key, test.sent, test.stored, same)
		}
	}
}

func TestAFullDiskSaysWhatIsLeft(t *testing.T) {
	failed := ending{
		act: &act{Entry: Entry{Object: "backups/daily", Facts: map[string]string{"storage": "usb-backup"}}},
		err: &proxmox.TaskError{ExitStatus: "job errors", LogTail: []string{
			"INFO: creating vzdump archive '/mnt/usb/backup/dump/vzdump-lxc-105-2026_11_22-18_45_30.tar.zst'",
			"INFO: tar: -: Wrote only 8192 of 10240 bytes: No space left on device",
		}},
	}
	want := []string{
		"make room on usb-backup, or plug in a larger disk",
		"what is left of it, as root: rm -rf /mnt/usb/backup/dump/vzdump-lxc-105-2026_11_22-18_45_30.log /mnt/usb/backup/dump/vzdump-lxc-105-2026_11_22-18_45_30.tmp /mnt/usb/backup/dump/vzdump-lxc-105-2026_11_22-18_45_30.tar*.dat",
	}
	if cure := failureCure(failed); !slices.Equal(cure, want) {
		t.Errorf("the cure is\n%s", strings.Join(cure, "\n"))
	}
}

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
		for _, act := range b.journal.order {
			if act.Verb == "start" {
				starts++
			}
		}
		if starts != 2 {
			t.Errorf("it was sent %d times", starts)
		}
	})
}

// An agent elsewhere with our token may start the same soon after us: the task of an
// act whose answer was lost is the first after it, and none that another act has.
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
	have := &Observed{TokenID: "felhom@pve!agent", Tasks: []proxmox.Task{later, mine, other, before}} // newest first, as PVE lists them
	a := New(Options{Journal: MemoryJournal()})
	a.o.Journal.order = []*act{{upid: other.UPID}}
	lost := &act{Entry: Entry{Time: at, Before: []string{before.UPID.String()}, Call: &proxmox.Call{Method: "POST", Path: "/nodes/pve1/vzdump", Params: proxmox.Params{"vmid": "9000"}}}}
	if upid, ok := a.find(lost, have); !ok || upid != mine.UPID {
		t.Errorf("found %s, want %s", upid, mine.UPID)
	}
}
