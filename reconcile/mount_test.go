package reconcile

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// A disk that tells of itself that it fails is a note on everything that uses it, and
// no more: a backup to a dying disk is better than none.
func TestADyingDiskIsNamed(t *testing.T) {
	const text = `node: pve1
mounts:
  backup: {uuid: 6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11, path: /mnt/usb/backup, storage: usb-backup}
guests:
  dns: {vmid: 101, state: running}
backups:
  daily: {guests: all, storage: usb-backup, every: 24h, keep: 3}
`
	synctest.Test(t, func(t *testing.T) {
		const serial = "serial: SIMUSB0001\n"
		b := newBench(t, reconciletest.Reborn(t, pvesim.New(), serial, serial+"        failing: true\n"))
		want := desired(t, text)
		if r := b.once(want); r.ExitCode() != 0 {
			t.Fatalf("a dying disk stops the run:\n%s\n%s", b.events, b.closing(r))
		}
		_, plan := b.plan(want)
		for _, object := range []string{"mounts/backup", "backups/daily"} {
			line := ". " + object
			if i := strings.Index(plan, line); i < 0 || !strings.Contains(strings.SplitN(plan[i:], "\n", 2)[0], "says that it fails (SMART)") {
				t.Errorf("%s does not say that its disk is dying:\n%s", object, plan)
			}
		}
	})
}

// A mount point on a file system that cannot make it immutable is named: nothing keeps what is below from being filled.
func TestAnUnsealedMountPointIsNamed(t *testing.T) {
	want := desired(t, "node: pve1\nmounts:\n  backup: {uuid: "+blueDisk+", path: /mnt/usb/backup, storage: usb-backup}\n")
	for fs, says := range map[string]bool{"ext4": false, "zfs": true} {
		synctest.Test(t, func(t *testing.T) {
			const root = "target: /\n        fs: "
			b := newBench(t, reconciletest.Reborn(t, pvesim.New(), root+"ext4\n", root+fs+"\n"))
			for range 2 { // before it is mounted, and after
				_, text := b.plan(want)
				if strings.Contains(text, "/mnt/usb/backup is on / (zfs), where an empty mount point cannot be made immutable") != says {
					t.Errorf("on %s:\n%s", fs, text)
				}
				b.once(want)
			}
		})
	}
}

// Edited mount options, and a second disk that takes turns, reach the line in /etc/fstab while the disk stays mounted.
func TestTheLineOfAMountFollowsTheYAML(t *testing.T) {
	const ours = "x-felhom.name=media"
	var wants []*spec.Desired
	steps := []struct{ mount, line string }{
		{"uuid: " + mediaDisk + ", options: [noatime]", "noatime," + ours},
		{"uuid: " + mediaDisk + ", options: [noatime, lazytime], fstype: ext4", "ext4 nofail,nosuid,nodev,x-systemd.device-timeout=5min,noatime,lazytime," + ours},
		{"uuid: {one: " + mediaDisk + ", two: 0b7c9d52-1f0e-4a86-8a55-3f7e64a0d2c8}", ""},
		{"uuid: " + mediaDisk, ours},
	}
	for _, step := range steps {
		wants = append(wants, desired(t, "node: pve1\nmounts:\n  media: {path: /mnt/usb/media, "+step.mount+"}\n"))
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		for i, step := range steps {
			if r := b.once(wants[i]); r.ExitCode() != 0 {
				t.Fatalf("%s:\n%s", step.mount, b.closing(r))
			}
			table, err := b.sim.Shell("pve1", "cat /etc/fstab")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(table, step.line) || strings.Contains(table, ours) != (step.line != "") {
				t.Errorf("%s:\n%s", step.mount, table)
			}
		}
	})
}

// A folder at which the root helper does not look, such as one behind a symbolic link, keeps only its own bind from being made.
func TestAnOddFolderHoldsItsGuestAlone(t *testing.T) {
	want := desired(t, `node: pve1
mounts:
  backup: {uuid: `+blueDisk+`, path: /mnt/usb/backup, storage: usb-backup}
  media: {uuid: `+mediaDisk+`, path: /mnt/usb/media}
guests:
  dns: {vmid: 101, drift: heal, config: {mp0: {mount: media, folder: films, mp: /films}}}
backups:
  daily: {guests: all, storage: usb-backup, every: 24h}
`)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New(), func(o *Options) { o.Runner = linked{o.Runner} })
		report := b.once(want)
		text := b.closing(report)
		if !strings.Contains(text, "guests/dns        the folder films on mounts/media cannot be bound: a symbolic link is in the way") {
			t.Errorf("it does not say what is in the way:\n%s", text)
		}
		if world := b.sim.String(); !strings.Contains(world, " on /mnt/usb/backup type") || !strings.Contains(world, " guest=dns host=pve1 size=") {
			t.Errorf("it keeps others from their work:\n%s\n%s", text, world)
		}
	})
}

// linked is a root helper that finds a symbolic link at every folder.
type linked struct{ privileged.Runner }

func (l linked) Ask(ctx context.Context, q privileged.Query) (privileged.Answer, error) {
	if q.Name == "FolderInfo" {
		return privileged.Answer{}, &privileged.RefusedError{Op: q.Name, Arg: "folder", Value: q.Args["folder"], Reason: "a symbolic link is in the way"}
	}
	return l.Runner.Ask(ctx, q)
}

// A disk that is pulled at the moment when it was to be mounted is mounted when it is plugged in again.
func TestADiskThatWasPulledTooEarlyIsMountedLater(t *testing.T) {
	want := desired(t, "node: pve1\nmounts:\n  media: {uuid: "+mediaDisk+", path: /mnt/usb/media}\n")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.agent.O.Runner = &hasty{Runner: b.agent.O.Runner, pull: func() { b.sim.Unplug(mediaDisk) }}
		stop := b.watch(5*time.Minute, always(want), nil)
		time.Sleep(10 * time.Minute)
		if strings.Contains(b.sim.String(), " on /mnt/usb/media ") {
			t.Fatal("it was not pulled")
		}
		b.sim.Plug(mediaDisk)
		time.Sleep(time.Minute)
		stop()
		if world := b.sim.String(); !strings.Contains(world, " on /mnt/usb/media ") {
			t.Errorf("it is not mounted:\n%s\n%s", b.events, world)
		}
	})
}

// hasty is a root helper whose first operation comes too late.
type hasty struct {
	privileged.Runner
	pull func()
}

func (h *hasty) Do(ctx context.Context, op privileged.Op, progress func(string)) (privileged.Result, error) {
	if h.pull != nil {
		h.pull()
		h.pull = nil
	}
	return h.Runner.Do(ctx, op, progress)
}

// A folder of the host that a person makes, as the refusal says, is bound then.
func TestAFolderThatIsMadeLaterIsBound(t *testing.T) {
	want := desired(t, "node: pve1\nguests: {dns: {vmid: 101, drift: heal, config: {mp0: {host: /mnt/tank/films, mp: /films}}}}\n")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		stop := b.watch(5*time.Minute, always(want), nil)
		defer stop()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if text := b.events.String(); !strings.Contains(text, "As root: mkdir -p /mnt/tank/films") {
			t.Fatal(text)
		}
		if printed, err := b.sim.Shell("pve1", "mkdir -p /mnt/tank/films"); err != nil {
			t.Fatal(printed, err)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if world := b.sim.String(); !strings.Contains(world, "mp0: /mnt/tank/films,mp=/films") {
			t.Errorf("it is not bound:\n%s\n%s", b.events, world)
		}
	})
}

// A disk that does not answer holds its own mount, with what it is to a person, and nothing else.
func TestADiskThatDoesNotAnswerHoldsItsOwnMountAlone(t *testing.T) {
	want := desired(t, "node: pve1\nmounts:\n  media: {path: /mnt/usb/media, uuid: "+mediaDisk+"}\nguests:\n  dns: {vmid: 101, config: {memory: 768MiB}}\n")
	for _, mounted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			if mounted {
				if r := b.once(want); r.ExitCode() != 0 {
					t.Fatal(b.closing(r))
				}
			}
			b.sim.Hang(mediaDisk, true)
			r := b.once(want)
			says := "or is one that does not answer (/dev/sdc1: it or its cable may be failing; see dmesg)"
			if mounted {
				says = "/dev/sdc1, which is mounted at /mnt/usb/media, does not answer: it or its cable may be failing"
			}
			if text := b.closing(r); r.ExitCode() != 3 || !strings.Contains(text, says) || len(r.Plan.Blocked) != 1 {
				t.Errorf("exit code %d:\n%s", r.ExitCode(), text)
			}
			if config, err := b.sim.Shell("pve1", "pct config 101"); err != nil || !strings.Contains(config, "memory: 768") {
				t.Errorf("dns waited for the disk: %v\n%s", err, config)
			}
			_, err := Eject(t.Context(), b.agent, want.Mounts["media"], "anna", 0, func(string) {})
			if err == nil || !strings.Contains(err.Error(), "does not answer") {
				t.Errorf("ejected: %v", err)
			}
		})
	}
}
