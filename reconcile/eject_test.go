package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

const (
	blueDisk  = "6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11"
	mediaDisk = "51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77"
)

func (b *bench) eject(ctx context.Context, yaml, name string) (string, error) {
	b.t.Helper()
	return Eject(ctx, b.agent, desired(b.t, yaml).Mounts[name], "anna", 0, func(line string) { fmt.Fprintln(b.events, "say "+line) })
}

func (b *bench) mounted(path string) bool {
	b.t.Helper()
	out, _ := b.sim.Shell(b.sim.Node(), "findmnt -n "+path)
	return strings.Contains(string(out), path)
}

const ejectYAML = `
node: pve1
mounts:
  backup: {uuid: {blue: ` + blueDisk + `, red: 0b7c9d52-1f0e-4a86-8a55-3f7e64a0d2c7}, path: /mnt/usb/backup, storage: usb-backup}
guests:
  dns: {vmid: 101, config: {memory: 512MiB}, state: running}
backups:
  daily: {guest: dns, storage: usb-backup, every: 24h}
`

// An ejected disk is unmounted and stays so until it was unplugged and plugged in.
func TestEjectAndPlugInAgain(t *testing.T) {
	want := desired(t, ejectYAML)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		if report := b.once(want); report.ExitCode() != 0 {
			t.Fatalf("%s\n%s", b.events, b.closing(report))
		}
		said, err := b.eject(t.Context(), ejectYAML, "backup")
		if err != nil || !strings.HasPrefix(said, "blue (/dev/sdb1) is safe to remove") {
			t.Fatalf("%q, %v", said, err)
		}
		if b.mounted("/mnt/usb/backup") {
			t.Error("it is still mounted")
		}
		report := b.once(want) // a pass beside it does not mount it again
		if b.mounted("/mnt/usb/backup") || report.ExitCode() != 3 || !strings.Contains(b.closing(report), "blue was ejected by anna on 22 Nov") {
			t.Errorf("exit code %d\n%s", report.ExitCode(), b.closing(report))
		}
		// What needs it tells the truth too: it is there, and not to be plugged in.
		if _, text := b.plan(want); strings.Contains(text, "Connect") || !strings.Contains(text, "storage usb-backup is on mounts/backup, which is not mounted (blue was ejected by anna on 22 Nov 18:02 and is still connected)") {
			t.Errorf("\n%s", text)
		}
		b.sim.Unplug(blueDisk)
		b.once(want) // sees that it is gone
		b.sim.Plug(blueDisk)
		if report := b.once(want); report.ExitCode() != 0 || !b.mounted("/mnt/usb/backup") {
			t.Errorf("plugged in again it is not mounted: exit code %d\n%s", report.ExitCode(), b.closing(report))
		}
		if stored, _ := b.agent.O.Store.Load(); len(stored.Holds) != 0 {
			t.Errorf("the hold is still there: %+v", stored.Holds)
		}
	})
}

// A backup that writes to the disk is waited for, and meanwhile nothing new begins.
func TestEjectWaitsForABackup(t *testing.T) {
	want := desired(t, ejectYAML)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		if report := b.once(want); report.ExitCode() != 0 {
			t.Fatalf("%s\n%s", b.events, b.closing(report))
		}
		if status, body := b.sim.Do("root@pam", "POST", "/nodes/pve1/vzdump", map[string]string{"vmid": "101", "storage": "usb-backup"}); status != 200 {
			t.Fatal(body)
		}
		begin := time.Now()
		said, err := b.eject(t.Context(), ejectYAML, "backup")
		if err != nil || !strings.Contains(said, "safe to remove") {
			t.Fatalf("%q, %v", said, err)
		}
		if time.Since(begin) < time.Second || !strings.Contains(b.events.String(), "say mounts/backup: waiting for vzdump 101 by root@pam since") {
			t.Errorf("it did not wait (%s):\n%s", time.Since(begin), b.events)
		}
		b.sim.Advance(25 * time.Hour) // a backup is due
		if report := b.once(want); report.ExitCode() != 3 || report.Sent != 0 {
			t.Errorf("it works on an ejected disk: %s\n%s", b.events, b.closing(report))
		}
	})
}

// A wait that is given up lets go of the disk.
func TestEjectIsGivenUp(t *testing.T) {
	want := desired(t, ejectYAML)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.once(want)
		if err := b.sim.Inject(pvesim.Fault{Match: "task vzdump 101", Effect: "hang"}); err != nil {
			t.Fatal(err)
		}
		if status, body := b.sim.Do("root@pam", "POST", "/nodes/pve1/vzdump", map[string]string{"vmid": "101", "storage": "usb-backup"}); status != 200 {
			t.Fatal(body)
		}
		_, err := Eject(t.Context(), b.agent, want.Mounts["backup"], "anna", time.Minute, func(string) {})
		if !errors.Is(err, ErrStillBusy) || !strings.Contains(err.Error(), "vzdump 101") {
			t.Errorf("%v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := Eject(ctx, b.agent, want.Mounts["backup"], "anna", 0, func(string) {}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if stored, _ := b.agent.O.Store.Load(); len(stored.Holds) != 0 || !b.mounted("/mnt/usb/backup") {
			t.Errorf("the disk was not let go: %+v", stored.Holds)
		}
	})
}

// Running guests that bind the disk are named, and nothing is done.
func TestEjectRefusesWhileAGuestHasIt(t *testing.T) {
	const yaml = `
node: pve1
mounts:
  media: {uuid: ` + mediaDisk + `, path: /mnt/usb/media}
guests:
  dns: {vmid: 101, config: {memory: 512MiB}, state: running}
`
	want := desired(t, yaml)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.once(want)
		b.as("POST", "/nodes/pve1/lxc", "vmid=112", "hostname=jellyfin", "ostemplate=local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz",
			"rootfs=local-lvm:1", "unprivileged=1", "mp0=/mnt/usb/media/library,mp=/media")
		b.as("POST", "/nodes/pve1/lxc/112/status/start")
		_, err := b.eject(t.Context(), yaml, "media")
		var inUse *InUseError
		if !errors.As(err, &inUse) || err.Error() != "mounts/media is in use by 112 (jellyfin). Stop them first: pct shutdown 112" {
			t.Errorf("%v", err)
		}
		if stored, _ := b.agent.O.Store.Load(); len(stored.Holds) != 0 || !b.mounted("/mnt/usb/media") {
			t.Errorf("something was done: %+v", stored.Holds)
		}
		b.as("POST", "/nodes/pve1/lxc/112/status/shutdown")
		if said, err := b.eject(t.Context(), yaml, "media"); err != nil || !strings.Contains(said, "is safe to remove") {
			t.Errorf("%q, %v", said, err)
		}
	})
}

// An unmounting that hangs is not waited for without end: nobody else works on the node meanwhile.
func TestEjectOfADiskThatHangs(t *testing.T) {
	want := desired(t, ejectYAML)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		if report := b.once(want); report.ExitCode() != 0 {
			t.Fatalf("%s\n%s", b.events, b.closing(report))
		}
		b.agent = New(Options{Source: b.agent.O.Source, Client: b.client, Journal: b.journal, Runner: &hungRunner{Runner: b.agent.O.Runner, runs: []privileged.RunningOp{}}})
		if said, err := b.eject(t.Context(), ejectYAML, "backup"); err == nil || !strings.Contains(err.Error(), "the unmounting goes on since") {
			t.Errorf("%q, %v", said, err)
		}
	})
}
