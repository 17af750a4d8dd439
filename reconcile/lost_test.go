package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/spec"
)

// Where every answer to a write is lost after PVE has carried it out, or is an error although
// PVE has, each is found again in the task list or in the world, none is sent twice, and the
// world is what it is without any loss. (The task of the deletion of an archive has the id
// 101@usb-backup.)
func TestEveryLostAnswerIsFound(t *testing.T) {
	base := `node: pve1
mounts:
  backup: {uuid: ` + blueDisk + `, path: /mnt/usb/backup, storage: usb-backup}
golden:
  debian:
    vmid: 9000
    template: local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst
    rootfs: {storage: local-lvm, size: 8G}
    publish: {storage: local, revision: 1}
guests:
  dns: {vmid: 101, state: STATE, config: {cores: CORES}}
restores:
  web: {vmid: 201, from: {golden: debian}, storage: local-lvm, rootfs: {size: SIZE}, restart: auto, state: running, config: {tty: TTY, mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true}}ROLLBACK}
snapshots:
  before: {guest: web, taken: 2026-11-22}
  often:  {guest: dns, every: 1h, keep: 1}
backups:
  nightly: {guests: [dns], storage: usb-backup, every: 6h, keep: 1}
`
	house := func(values ...string) *spec.Desired { return desired(t, strings.NewReplacer(values...).Replace(base)) }
	first := house("STATE", "running", "CORES", "1", "SIZE", "8G", "TTY", "2", "ROLLBACK", "")
	then := house("STATE", "stopped", "CORES", "2", "SIZE", "10G", "TTY", "3", "ROLLBACK", "")
	back := house("STATE", "running", "CORES", "2", "SIZE", "8G", "TTY", "2", "ROLLBACK", ", rollback: {to: before, requested: 2026-11-23T00:00:00Z, loses: [mp0]}")
	run := func(effect string) (world string) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			if effect != "" {
				for _, method := range []string{"POST", "PUT", "DELETE"} {
					if err := b.sim.Inject(pvesim.Fault{Match: method + " *", Effect: effect, Text: "bridge 'vmbr77' does not exist", Times: -1}); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, want := range []*spec.Desired{first, back, then} {
				if report := b.once(want); report.ExitCode() != 0 {
					t.Errorf("%s: exit code %d\n%s\n%s", effect, report.ExitCode(), b.events, b.closing(report))
				}
				b.sim.Advance(7 * time.Hour)
			}
			for _, operation := range b.journal.Order {
				if operation.Call == nil {
					continue
				}
				if operation.Result != journal.ResultOK || operation.Call.Async() && operation.Upid.IsZero() {
					t.Errorf("%q: %s %s ended with %q, its task is %s", effect, operation.Object, operation.Verb, operation.Result, operation.Upid)
				}
			}
			world = crashWorld(b.sim)
		})
		return world
	}
	calm := run("")
	for _, effect := range []string{"lost-after", "error-after"} {
		if world := run(effect); world != calm {
			t.Errorf("%s: the world is another one (- without it, + with):\n%s", effect, cmp.Diff(calm, world))
		}
	}
}
