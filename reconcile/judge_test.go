package reconcile

import (
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
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

// What a refusal stands on is what others change in what matters to it: not what our own acts change, and not how much
// a look happened to ask for.
func TestBasis(t *testing.T) {
	world := func(rights proxmox.Permissions, raw map[string]string) *Observed {
		all := proxmox.Permissions{"/": {"VM.Audit": true}}
		maps.Copy(all, rights)
		config := &proxmox.GuestConfig{VMID: 101, Digest: raw["digest"], Raw: map[string]string{"cores": "1"}}
		maps.Copy(config.Raw, raw)
		delete(config.Raw, "digest") // as it is read
		return &Observed{Permissions: all, Guests: map[proxmox.VMID]*GuestState{101: {Config: config}}}
	}
	before := basis("lxc/101", world(nil, nil))
	for name, have := range map[string]*Observed{
		"our snapshot":        world(nil, map[string]string{"parent": "hourly-1", "digest": "a"}),
		"our backup":          world(nil, map[string]string{"lock": "backup", "digest": "b"}),
		"our marker":          world(nil, map[string]string{"description": "<!-- felhom-agent/1 dns -->"}),
		"another one's right": world(proxmox.Permissions{"/vms/202": nil}, nil),
	} {
		if basis("lxc/101", have) != before {
			t.Errorf("%s changes it", name)
		}
	}
	for name, have := range map[string]*Observed{
		"its config":        world(nil, map[string]string{"cores": "2"}),
		"a right on it":     world(proxmox.Permissions{"/vms/101": {"VM.Audit": true, "VM.PowerMgmt": true}}, nil),
		"a right on all":    world(proxmox.Permissions{"/": {"VM.Audit": true, "VM.PowerMgmt": true}}, nil),
		"a storage's right": world(proxmox.Permissions{"/storage/usb": {"Datastore.Audit": true}}, nil),
	} {
		if basis("lxc/101", have) == before {
			t.Errorf("%s does not change it", name)
		}
	}
}
