package reconcile

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

// What repeating cannot mend is sent once, whatever our own snapshots, backups and notes do to the guest meanwhile
// (parent, lock, description, and with each the digest); and again when somebody else has changed the guest.
func TestARefusedActIsSentOnce(t *testing.T) {
	const yaml = `node: pve1
mounts:
  backup: {uuid: ` + blueDisk + `, path: /mnt/usb/backup, storage: usb-backup}
guests:
  dns: {vmid: 101, config: {dev0: {path: /dev/sda}}, state: running, drift: heal}
snapshots:
  often: {guest: dns, every: 1h, keep: 2}
backups:
  daily: {guests: all, storage: usb-backup, every: 6h, keep: 2}
`
	want := desired(t, yaml)
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		var mu sync.Mutex
		refused, snapshots, backups := 0, 0, 0
		b := newBench(t, sim, func(o *Options) {
			o.Events = func(e Event) {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case e.State == "REFUSED":
					refused++
				case e.State == "ok" && e.Object.Kind == spec.KindSnapshot:
					snapshots++
				case e.State == "ok" && e.Object.Kind == spec.KindBackup:
					backups++
				}
			}
		})
		expect := func(when string, n int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if refused != n {
				t.Errorf("%s it was refused %d times, want %d", when, refused, n)
			}
		}
		if r := b.once(want); r.ExitCode() != 1 {
			t.Fatalf("exit code %d\n%s", r.ExitCode(), b.closing(r))
		}
		expect("after one run", 1)
		stop := b.watch(5*time.Minute, always(want), nil)
		time.Sleep(13 * time.Hour)
		expect("after half a day", 1)
		if mu.Lock(); snapshots < 12 || backups < 3 {
			t.Errorf("%d snapshots and %d backups", snapshots, backups)
		}
		mu.Unlock()
		b.as("PUT", "/nodes/pve1/lxc/101/config", "cores=2")
		time.Sleep(30 * time.Minute)
		expect("after somebody changed the guest", 2)
		stop()
	})
}
