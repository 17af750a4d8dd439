package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
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
		world, err := pvesim.New().Save()
		if err != nil {
			t.Fatal(err)
		}
		const serial = "serial: SIMUSB0001\n"
		if !strings.Contains(string(world), serial) {
			t.Fatalf("the world has changed:\n%s", world)
		}
		sim, err := pvesim.Load([]byte(strings.Replace(string(world), serial, serial+"        failing: true\n", 1)))
		if err != nil {
			t.Fatal(err)
		}
		b := newBench(t, sim)
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
