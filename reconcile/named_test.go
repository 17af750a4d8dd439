package reconcile

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

// A named snapshot waits for its day, is taken until the end of the next one, and never later
// under that name.
func TestANamedSnapshotBearsNoFalseName(t *testing.T) {
	for taken, want := range map[string]string{
		"2026-11-22": "snapshot before of dns",
		"2026-11-21": "snapshot before of dns",
		"2026-11-20": "not taken: a snapshot of today would have a false name (taken: 2026-11-20)",
		"2026-11-28": "due on 28 Nov",
	} {
		want2 := desired(t, "guests: {dns: {vmid: 101}}\nsnapshots: {before: {guest: dns, taken: "+taken+"}}\n")
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			b.once(desired(t, "guests: {dns: {vmid: 101}}\n"))
			b.sim.Advance(time.Second)
			if _, text := b.plan(want2); !strings.Contains(text, want) {
				t.Errorf("taken %s: it says\n%s", taken, text)
			}
		})
	}
}

// What changes a guest waits for a named snapshot of it that is due, in the plan as in the run:
// the snapshot has the config of before, whether the guest runs or not, and whether the change
// is of its config, a volume or its run state.
func TestANamedSnapshotIsOfBefore(t *testing.T) {
	for name, c := range map[string]struct {
		before, after string
		holds, not    string // the config of the snapshot
	}{
		"memory":            {"state: running", "state: running, config: {memory: 1536}", "memory:1024", "memory:1536"},
		"rootfs":            {"state: running", "state: running, rootfs: {size: 9G}, config: {memory: 1024}", "rootfs", "size=9G"},
		"stopped":           {"state: stopped", "state: stopped, config: {memory: 1536}", "memory:1024", "memory:1536"},
		"to run":            {"state: stopped", "state: running, config: {memory: 1536}", "memory:1024", "memory:1536"},
		"with a restart":    {"state: running", "state: running, restart: auto, config: {memory: 1024, timezone: host}", "rootfs", "timezone"},
		"a volume is added": {"state: running", "state: running, config: {mp0: {storage: local-lvm, size: 2G, mp: /srv, backup: true}, memory: 1024}", "rootfs", "mp0"},
	} {
		t.Run(name, func(t *testing.T) {
			household := func(guest, snapshots string) *spec.Desired {
				return desired(t, "mounts: {backup: {uuid: "+blueDisk+", path: /mnt/usb/backup, storage: usb-backup}}\ngolden: {base: {vmid: 9000, template: \"local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst\", rootfs: {storage: local-lvm, size: 4G}, publish: {storage: usb-backup, revision: 1}}}\n"+
					"restores: {web: {vmid: 201, from: {golden: base}, storage: local-lvm, "+guest+"}}\n"+snapshots)
			}
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				for range 2 {
					b.once(household(strings.Replace(c.before, "stopped", "running", 1)+", config: {memory: 1024}", ""))
				}
				b.once(household(c.before+", config: {memory: 1024}", ""))
				b.sim.Advance(time.Second)
				want := household(c.after, "snapshots: {before: {guest: web, taken: 2026-11-22}}\n")
				if _, text := b.plan(want); !strings.Contains(text, "after the snapshot") {
					t.Errorf("the plan is\n%s", text)
				}
				b.once(want)
				config, err := b.client.Read().SnapshotConfig(t.Context(), b.sim.Node(), 201, "before")
				if text := fmt.Sprint(config.Raw); err != nil || !strings.Contains(text, c.holds) || strings.Contains(text, c.not) {
					t.Errorf("%v, the snapshot holds %s; it went\n%s", err, text, b.events)
				}
				if p, text := b.plan(want); len(p.Actions)+len(p.Deferred)+len(p.Blocked) > 0 {
					t.Errorf("afterwards\n%s", text)
				}
			})
		})
	}
}
