package reconcile

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/applying"
)

// TestWatchSaysWhenItLooksNext: what a pass says of the next one is when that comes, whatever it is that it waits for.
func TestWatchSaysWhenItLooksNext(t *testing.T) {
	const dns = "guests:\n  dns: {vmid: 101, config: {memory: 512MiB}, state: running, drift: heal}\n"
	const disk = "mounts:\n  media: {uuid: " + mediaDisk + ", path: /mnt/usb/media}\n"
	for name, c := range map[string]struct {
		yaml   string
		before func(*bench)
		most   time.Duration // the wait at the end
		least  time.Duration
	}{
		"nothing":         {dns, func(*bench) {}, 11 * time.Minute, time.Second}, // the hourly refresh does not wait for an interval
		"a disk":          {dns + disk, func(b *bench) { b.sim.Unplug(mediaDisk) }, applying.WaitedFor, applying.WaitedFor},
		"a failure":       {dns, func(b *bench) { b.fail("task vzstart"); b.as("POST", "/nodes/pve1/lxc/101/status/stop") }, 11 * time.Minute, time.Second},
		"a lost node":     {dns, func(b *bench) { b.fail("GET /nodes/pve1/lxc") }, applying.WaitedFor, applying.WaitedFor},
		"a refused token": {dns, func(b *bench) { b.as("PUT", "/access/users/felhom@pve", "enable=0") }, applying.TokenPause, applying.TokenPause},
		"what is due":     {dns + "snapshots:\n  often: {guest: dns, every: 5m, keep: 2}\n", func(*bench) {}, 5 * time.Minute, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			want := desired(t, c.yaml)
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				if r := b.once(want); r.ExitCode() != 0 {
					t.Fatal(b.closing(r))
				}
				c.before(b)
				var due time.Time
				var last time.Duration
				passes := 0
				stop := b.watch(10*time.Minute, always(want), func(_ *Plan, wait time.Duration, _ error) {
					// An ended task nudges, so a look may come earlier; it never comes later.
					if late := time.Since(due); passes > 0 && late > 10*time.Second {
						t.Errorf("pass %d came %s late", passes, late)
					}
					due, last = time.Now().Add(wait), wait
					passes++
				})
				time.Sleep(2 * time.Hour)
				stop()
				if last > c.most || last < c.least || passes < 8 {
					t.Errorf("after %d passes the next is said to come in %s", passes, last)
				}
			})
		})
	}
}

// fail makes every request or task of a kind fail.
func (b *bench) fail(match string) {
	b.t.Helper()
	effect := "fail"
	if match[:4] != "task" {
		effect = "refused"
	}
	if err := b.sim.Inject(pvesim.Fault{Match: match, Times: -1, Effect: effect}); err != nil {
		b.t.Fatal(err)
	}
}
