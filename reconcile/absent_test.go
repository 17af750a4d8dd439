package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

const (
	doomedHouse = `
node: pve1
mounts:
  backup: {uuid: 6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11, path: /mnt/usb/backup, storage: usb-backup}
guests:
  dns: {vmid: 101, from: {newest: usb-backup}, config: {memory: 512}}
backups:
  nightly: {guests: all, storage: usb-backup, every: 24h}
`
	deleted = "ensure: absent, from:"
)

// doomed is a node that has lived with dns, and the desired state that deletes it.
func doomed(t testing.TB, house string, options ...func(*Options)) *bench {
	t.Helper()
	b := newBench(t, pvesim.New(), append([]func(*Options){func(o *Options) { o.Planned = func(*Plan) {} }}, options...)...)
	if r := b.once(desired(t, house)); r.ExitCode() != 0 {
		t.Fatalf("exit code %d\n%s", r.ExitCode(), b.closing(r))
	}
	b.events.Reset()
	return b
}

func absent(house string) string { return strings.Replace(house, "from:", deleted, 1) }

func (b *bench) has(vmid int) bool {
	status, _ := b.sim.Do("root@pam", "GET", fmt.Sprintf("/nodes/pve1/lxc/%d/config", vmid), nil)
	return status == 200
}

// A guest that is to be absent is stopped, backed up once more, and deleted; its archives stay, and it comes back from
// the last of them with all its data. The plan says all of that before.
func TestAGuestIsDeletedAfterItsLastBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := doomed(t, doomedHouse)
		b.sim.Do("root@pam", "POST", "/nodes/pve1/lxc/101/snapshot", map[string]string{"snapname": "mine"})
		b.sim.Advance(time.Minute)
		b.sim.WriteData(101, "rootfs", "the last that was written")
		data := b.sim.Data()
		want, archives := desired(t, absent(doomedHouse)), len(volumesOn(t, b, "usb-backup"))
		_, text := b.plan(want)
		for _, line := range []string{
			"> guests/dns            shut down 101, to delete it",
			"+ guests/dns            back up dns to usb-backup",
			"- guests/dns            delete container 101 (dns) with its volumes and 1 snapshot",
			"to have it again, from its backup of",
			"remove ensure: absent, then felhom-agent --once --only guests/dns",
			"1 guest to delete. Destroys: container 101 (dns) with its volumes and 1 snapshot.",
		} {
			if !strings.Contains(text, line) {
				t.Errorf("the plan does not say %q:\n%s", line, text)
			}
		}
		r := b.once(want)
		if b.has(101) || r.ExitCode() != 0 || len(volumesOn(t, b, "usb-backup")) != archives+1 {
			t.Fatalf("exit code %d\n%s\n%s", r.ExitCode(), b.events, b.closing(r))
		}
		if plan, text := b.plan(want); plan.ExitCode() != 0 {
			t.Errorf("the next plan is not empty:\n%s", text)
		}
		if r := b.once(want); r.Sent != 0 || r.ExitCode() != 0 {
			t.Errorf("the next run has sent %d, exit code %d", r.Sent, r.ExitCode())
		}
		b.agent.O.Only = want.Refs()[1:2]
		if r := b.once(desired(t, doomedHouse)); r.ExitCode() != 0 || !b.has(101) {
			t.Errorf("it does not come back: exit code %d\n%s", r.ExitCode(), b.closing(r))
		}
		if now := b.sim.Data(); now != data {
			t.Errorf("its data is not the same:\n%s\n%s", data, now)
		}
	})
}

// What keeps a guest from being deleted, and that it is left as it was then, running.
func TestWhatIsNotDeleted(t *testing.T) {
	set := func(key, value string) func(*bench) {
		return func(b *bench) {
			b.sim.Do("root@pam", "PUT", "/nodes/pve1/lxc/101/config", map[string]string{key: value})
		}
	}
	for name, c := range map[string]struct {
		do    func(*bench)
		house string
		says  string
		gone  bool
	}{
		"protected":              {do: set("protection", "1"), says: "101 is protected; it is not deleted"},
		"another name":           {do: set("hostname", "other"), says: "101 is called other, not dns; it is not deleted"},
		"no marker":              {do: set("description", "mine"), says: "101 has no ownership marker in its Notes"},
		"another owner":          {do: set("description", "felhom-agent/1 dns vmid=101 owner=pve2"), says: "is not the one of guests/dns"},
		"a copy":                 {do: set("description", "felhom-agent/1 dns vmid=102 owner=pve1"), says: "is not the one of guests/dns"},
		"no backup names it":     {house: doomedHouse[:strings.Index(doomedHouse, "backups:")], says: "no declared backup names dns"},
		"the disk is away":       {do: func(b *bench) { _, _ = b.sim.Shell("pve1", "umount /mnt/usb/backup"); b.sim.Unplug(lawBlueDisk) }, says: "101 is not deleted without its last backup: storage usb-backup is on mounts/backup, which is not mounted"},
		"without one":            {house: strings.Replace(doomedHouse, "from:", "backup: none, from:", 1), gone: true},
		"without one, disk away": {house: strings.Replace(doomedHouse, "from:", "backup: none, from:", 1), do: func(b *bench) { _, _ = b.sim.Shell("pve1", "umount /mnt/usb/backup"); b.sim.Unplug(lawBlueDisk) }, gone: true},
		"paused":                 {house: strings.Replace(doomedHouse, "from:", "paused: true, from:", 1), says: "paused by the YAML"},
		"another type":           {house: strings.Replace(doomedHouse, "from:", "type: vm, from:", 1), says: "101 is a container"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := doomed(t, doomedHouse)
				if c.do != nil {
					c.do(b)
				}
				house := c.house
				if house == "" {
					house = doomedHouse
				}
				status := func() string {
					_, body := b.sim.Do("root@pam", "GET", "/nodes/pve1/lxc/101/status/current", nil)
					return body
				}
				r := b.once(desired(t, absent(house)))
				if b.has(101) == c.gone || !c.gone && !strings.Contains(status(), `"running"`) {
					t.Errorf("%s\n%s\n%s", status(), b.events, b.closing(r))
				}
				if text := b.closing(r); !strings.Contains(text, c.says) {
					t.Errorf("it does not say %q:\n%s", c.says, text)
				}
			})
		})
	}
}

const lawBlueDisk = "6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11"

// The service deletes nothing that no printed plan had; what one had, it deletes.
func TestTheServiceDeletesOnlyWhatAPrintedPlanHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := doomed(t, doomedHouse)
		want := desired(t, absent(doomedHouse))
		var last *Plan
		stop := b.watch(time.Minute, always(want), func(p *Plan, _ time.Duration, _ error) { last = p })
		time.Sleep(30 * time.Minute)
		stop()
		if !b.has(101) || len(last.Blocked) != 1 || !strings.Contains(last.Blocked[0].Reason, "this deletion was in no plan that you have seen: shut down 101") {
			t.Fatalf("%+v\n%s", last.Blocked, b.events)
		}
		// A run prints the plan, and is ended before the guest is gone.
		b.agent.O.Watching = false
		if err := b.sim.Inject(pvesim.Fault{Match: "task vzshutdown", Effect: "fail", Text: "it does not end"}); err != nil {
			t.Fatal(err)
		}
		b.once(want)
		if !b.has(101) {
			t.Fatalf("%s", b.events)
		}
		b.sim.Heal()
		stop = b.watch(time.Minute, always(want), nil)
		time.Sleep(3 * time.Hour)
		stop()
		if b.has(101) {
			t.Errorf("%s", b.events)
		}
		if stored, _ := b.agent.O.Store.Load(); len(stored.Deletions) != 0 {
			t.Errorf("it is still remembered: %v", stored.Deletions)
		}
	})
}

// A backup of a guest that ran is none of what it wrote since; one that was made while it was stopped is, as long as
// nobody starts it.
func TestTheLastBackupHoldsAllThatWasWritten(t *testing.T) {
	for name, c := range map[string]struct {
		do    []string
		makes int
	}{
		"it runs":                             {nil, 1},
		"stopped by itself":                   {[]string{"halt"}, 1},
		"stopped, backed up":                  {[]string{"stop", "backup"}, 0},
		"stopped by itself, backed up":        {[]string{"halt", "backup"}, 1},
		"stopped, backed up, started, halted": {[]string{"stop", "backup", "start", "halt"}, 1},
		"backed up, stopped":                  {[]string{"backup", "stop"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := doomed(t, doomedHouse)
				for _, what := range c.do {
					b.sim.Advance(time.Minute)
					switch what {
					case "halt":
						b.sim.Die(101)
					case "backup":
						b.sim.Advance(25 * time.Hour)
						b.once(desired(t, doomedHouse))
					default:
						b.sim.Do("root@pam", "POST", "/nodes/pve1/lxc/101/status/"+what, nil)
					}
					b.sim.Advance(time.Minute)
				}
				before := len(volumesOn(t, b, "usb-backup"))
				r := b.once(desired(t, absent(doomedHouse)))
				if made := len(volumesOn(t, b, "usb-backup")) - before; b.has(101) || made != c.makes {
					t.Errorf("%d backups are made\n%s\n%s", made, b.events, b.closing(r))
				}
			})
		})
	}
}

// Wherever the agent is killed amid a deletion, the world ends as if nobody had disturbed it: stopped once, backed up
// once, deleted once.
func TestCrashAmidADeletion(t *testing.T) {
	step := 1
	if reconciletest.RaceDetector || testing.Short() {
		step = 5
	}
	calm := deletionKilledAt(t, "")
	if calm.err != nil || !strings.Contains(calm.world, "task vzdestroy 101") {
		t.Fatal(calm.err, calm.world)
	}
	killed, equal := 0, 0
	for i := 0; i < len(calm.points); i += step {
		l := deletionKilledAt(t, calm.points[i])
		switch {
		case l.err != nil:
			t.Errorf("killed at %s: %v", calm.points[i], l.err)
		case !l.killed: // another order of reads
			continue
		case l.world != calm.world:
			t.Errorf("killed at %s, the world is another one (- undisturbed, + resumed):\n%s", calm.points[i], cmp.Diff(calm.world, l.world))
		default:
			equal++
		}
		killed++
	}
	if killed < len(calm.points)/step*9/10 || len(calm.points) < 20 {
		t.Errorf("only %d of %d points were reached", killed, len(calm.points))
	}
	t.Logf("%d kill points, %d equal", killed, equal)
}

func deletionKilledAt(t *testing.T, at string) *crashLife {
	l := &crashLife{n: map[string]int{}, also: func(o *Options) { o.Planned = func(*Plan) {} }}
	synctest.Test(t, func(t *testing.T) {
		l.sim = pvesim.New()
		fence := &privileged.Local{Host: l.sim.Host(l.sim.Node())}
		defer fence.Wait()
		_, journal := l.once(t, desired(t, doomedHouse), fence, nil)
		l.lives(t, desired(t, absent(doomedHouse)), fence, at, journal.Mem.Bytes(), endsWith(0))
	})
	return l
}

// An object that leaves the YAML, or changes its name in it, deletes nothing; nor does one whose deletion a plan had
// before somebody changed their mind, or that is only needed by what was named.
func TestWhatLeavesTheYAMLIsNotDeleted(t *testing.T) {
	none := desired(t, "node: pve1\nmounts:\n  media: {uuid: 51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77, path: /mnt/usb/media, ensure: absent}\n")
	synctest.Test(t, func(t *testing.T) {
		b := doomed(t, doomedHouse)
		want := desired(t, absent(doomedHouse))
		if err := b.sim.Inject(pvesim.Fault{Match: "task vzshutdown", Effect: "fail", Text: "it does not end"}); err != nil {
			t.Fatal(err)
		}
		b.once(want) // prints the plan
		b.sim.Heal()
		b.agent.O.Only = []spec.Ref{{Kind: spec.KindBackup, Name: "nightly"}}
		b.once(want)
		b.agent.O.Only = nil
		b.once(none)
		b.once(desired(t, doomedHouse))
		stop := b.watch(time.Minute, always(want), nil)
		time.Sleep(20 * time.Minute)
		stop()
		if !b.has(101) {
			t.Errorf("it is deleted\n%s", b.events)
		}
		b.agent.O.Watching = false
		renamed := strings.Replace(strings.Replace(absent(doomedHouse), "  dns:", "  names:", 1), "vmid: 101,", "vmid: 101, was: dns, is: dns,", 1)
		if r := b.once(desired(t, renamed)); b.has(101) || r.ExitCode() != 0 {
			t.Errorf("under its new name it is not deleted\n%s\n%s", b.events, b.closing(r))
		}
	})
}

// What appears only after the printed plan waits for the next one: the guest was protected then.
func TestWhatThePrintedPlanHasNotIsNotDeletedInThatRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := doomed(t, doomedHouse)
		set := func(value string) {
			b.sim.Do("root@pam", "PUT", "/nodes/pve1/lxc/101/config", map[string]string{"protection": value})
		}
		set("1")
		b.agent.O.Planned = func(*Plan) { set("0") }
		house := strings.Replace(absent(doomedHouse), "guests:\n", "  media: {uuid: 51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77, path: /mnt/usb/media}\nguests:\n", 1) // of which a later pass comes
		b.once(desired(t, house))
		if !b.has(101) {
			t.Fatalf("it is deleted\n%s", b.events)
		}
		if r := b.once(desired(t, house)); b.has(101) {
			t.Errorf("it is not deleted\n%s\n%s", b.events, b.closing(r))
		}
	})
}

// Each guest that is deleted counts for max_destructive; above it none is touched.
func TestTooManyGuestsAreNotDeleted(t *testing.T) {
	house := strings.Replace(doomedHouse, "guests:\n", "restores:\n  a: {vmid: 111, from: {archive: ARCHIVE}, storage: local-lvm}\nguests:\n", 1)
	synctest.Test(t, func(t *testing.T) {
		b := doomed(t, doomedHouse, func(o *Options) { o.MaxDeletions = 1 })
		house := strings.Replace(house, "ARCHIVE", volumesOn(t, b, "usb-backup")[0].VolID, 1)
		b.once(desired(t, house))
		both := strings.ReplaceAll(house, "from:", deleted)
		r := b.once(desired(t, both))
		if text := b.closing(r); !b.has(101) || !b.has(111) || !strings.Contains(text, "wants to delete its guest; with the others that is 2 beyond one per object and guest, and 1 are allowed (max_destructive)") {
			t.Fatalf("%s\n%s", b.events, text)
		}
		b.agent.O.MaxDeletions = 2
		if r := b.once(desired(t, both)); b.has(101) || b.has(111) {
			t.Errorf("%s\n%s", b.events, b.closing(r))
		}
	})
}

// Without a root helper a last backup counts when it has lain for ten minutes; until then its guest stays, stopped.
func TestADeletionWaitsUntilItsBackupCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := doomed(t, doomedHouse)
		b.agent.O.Runner, b.agent.O.Fence, b.agent.O.FenceReason = nil, nil, "this is another machine"
		want := desired(t, absent(doomedHouse))
		r := b.once(want)
		if text := b.closing(r); !b.has(101) || !strings.Contains(text, "when its last backup is verified") {
			t.Fatalf("%s\n%s", b.events, text)
		}
		stop := b.watch(time.Minute, always(want), nil)
		time.Sleep(15 * time.Minute)
		stop()
		if b.has(101) {
			t.Errorf("it is still there\n%s", b.events)
		}
	})
}

// A VM is deleted like a container, and comes back with the drives that its backup has. What PVE does with VMs is
// assumed from its sources.
func TestVMsAreDeletedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New(), func(o *Options) { o.Planned = func(*Plan) {} })
		b.twoVMs()
		house := vmHouseWith("2G", "auto")
		if r := b.once(desired(t, house)); r.ExitCode() != 0 {
			t.Fatalf("%s\n%s", b.events, b.closing(r))
		}
		data := dataOf(b.sim, "105 scsi0")
		both := desired(t, strings.ReplaceAll(house, "type: vm", "type: vm\n    ensure: absent")[:0]+strings.Replace(strings.Replace(house, "    type: vm\n", "    type: vm\n    ensure: absent\n", 1), "type: vm, from:", "type: vm, ensure: absent, from:", 1))
		_, text := b.plan(both)
		if !strings.Contains(text, "delete VM 105 (hass) with its volumes and 1 snapshot") || !strings.Contains(text, "in no backup, and lost: scsi1 8G") {
			t.Errorf("the plan says\n%s", text)
		}
		r := b.once(both)
		for _, vmid := range []int{105, 106} {
			if status, _ := b.sim.Do("root@pam", "GET", fmt.Sprintf("/nodes/pve1/qemu/%d/config", vmid), nil); status == 200 {
				t.Errorf("%d is still there\n%s\n%s", vmid, b.events, b.closing(r))
			}
		}
		if plan, text := b.plan(both); plan.ExitCode() != 0 || r.ExitCode() != 0 {
			t.Errorf("exit code %d, and the next plan is\n%s", r.ExitCode(), text)
		}
		b.agent.O.Only = []spec.Ref{{Kind: spec.KindGuest, Name: "hass"}}
		if r := b.once(desired(t, house)); r.ExitCode() != 0 || !slices.Equal(dataOf(b.sim, "105 scsi0"), data) {
			t.Errorf("it does not come back: %v, not %v\n%s", dataOf(b.sim, "105 scsi0"), data, b.closing(r))
		}
	})
}
