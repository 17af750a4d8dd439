package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

const oneOfEach = `node: pve1
mounts:
  backup: {uuid: ` + blueDisk + `, path: /mnt/usb/backup, storage: usb-backup}
golden:
  debian: {vmid: 9000, template: "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", rootfs: {storage: local-lvm, size: 8G}, publish: {storage: local, revision: 1}}
guests:
  dns: {vmid: 101, state: STATE, config: {cores: CORES}}
restores:
  web: {vmid: 201, from: {golden: debian}, storage: local-lvm, rootfs: {size: SIZE}, restart: auto, state: running}
snapshots:
  before: {guest: dns, TAKEN}
  often:  {guest: dns, every: 1h, keep: 1}
backups:
  nightly: {guests: [dns], storage: local, every: 6h, keep: 1}
`

func eachAs(t *testing.T, state, cores, size, taken string) *spec.Desired {
	return desired(t, strings.NewReplacer("STATE", state, "CORES", cores, "SIZE", size, "TAKEN", taken).Replace(oneOfEach))
}

// A task that ends with OK and has done nothing is not done: what the node shows counts.
func TestATaskThatDidNothingIsNotDone(t *testing.T) {
	first, then := eachAs(t, "running", "1", "8G", "taken: 2026-11-22"), eachAs(t, "stopped", "2", "10G", "ensure: absent")
	for kind, says := range map[string]string{
		"vzsnapshot":    "the snapshot before of 101 is not complete (prepare)",
		"vzdump":        "the storage does not list the backup vzdump-lxc-101-",
		"vzstart":       "201 is stopped",
		"vzrestore":     "201 is locked (create)",
		"vzshutdown":    "101 still runs",
		"vzdelsnapshot": "the snapshot before of 101 is still there",
		"imgdel":        " is still there",
		"resize":        "rootfs of 201 is 8G",
	} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				b.agent.O.Patience = time.Minute
				hollow := pvesim.Fault{Match: "task " + kind, Effect: "hollow"}
				if first := kind == "vzsnapshot" || kind == "vzdump" || kind == "vzstart" || kind == "vzrestore"; !first {
					if report := b.once(eachAs(t, "running", "1", "8G", "taken: 2026-11-22")); report.ExitCode() != 0 {
						t.Fatal(b.closing(report))
					}
					b.sim.Advance(7 * time.Hour)
				}
				if err := b.sim.Inject(hollow); err != nil {
					t.Fatal(err)
				}
				want := then
				if kind == "vzsnapshot" || kind == "vzdump" || kind == "vzstart" || kind == "vzrestore" {
					want = first
				}
				report := b.once(want)
				if text := b.events.String() + b.closing(report); report.ExitCode() == 0 || !strings.Contains(text, "PVE ended it with OK, but ") || !strings.Contains(text, says) {
					t.Errorf("exit code %d\n%s", report.ExitCode(), text)
				}
			})
		})
	}
}

// A guest that dies during its snapshot: PVE ends the task with OK and leaves the lock.
func TestASnapshotWhoseGuestDiesIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		b := newBench(t, sim)
		b.agent.O.Patience = time.Minute
		sim.SetDuration(func(pvesim.TaskInfo) time.Duration { return 10 * time.Second })
		go func() {
			for !strings.Contains(sim.String(), "snapstate: prepare") {
				time.Sleep(time.Second)
			}
			sim.Die(101)
		}()
		report := b.once(desired(t, "guests: {dns: {vmid: 101}}\nsnapshots: {before: {guest: dns, taken: 2026-11-22}}\n"))
		text := b.events.String() + b.closing(report)
		for _, part := range []string{"FAILED", "the snapshot before of 101 is not complete (prepare)", "pct unlock 101 && pct delsnapshot 101 before --force"} {
			if !strings.Contains(text, part) {
				t.Errorf("it does not say %q:\n%s", part, text)
			}
		}
	})
}

// A PUT that PVE answers with an error and has carried out is done, and is not sent again.
func TestAnErrorThatWasCarriedOutIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		b := newBench(t, sim)
		if err := sim.Inject(pvesim.Fault{Match: "PUT */lxc/101/config", Effect: "error-after", Text: "bridge 'vmbr77' does not exist", Skip: 1, Times: -1}); err != nil {
			t.Fatal(err)
		}
		report := b.once(desired(t, "guests: {dns: {vmid: 101, config: {cores: 2, mp5: {storage: local-lvm, size: 1G, mp: /new, backup: true}}}}\n"))
		text := b.events.String()
		if report.ExitCode() != 0 && report.ExitCode() != 3 || !strings.Contains(text, "done, though PVE answered with an error: ") || strings.Contains(text, "REFUSED") {
			t.Errorf("exit code %d\n%s\n%s", report.ExitCode(), text, b.closing(report))
		}
		if n := strings.Count(sim.String(), "mp=/new"); n != 1 {
			t.Errorf("%d volumes are mounted at /new\n%s", n, sim)
		}
	})
}
