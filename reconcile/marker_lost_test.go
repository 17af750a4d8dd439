package reconcile

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A managed guest whose notes were emptied is known by what is left of its history, also where
// neither archives nor snapshots of it exist: the line that brings its marker back is printed,
// and with that line it is as before. A guest that was never managed is not claimed.
func TestALostMarkerAndItsWitnesses(t *testing.T) {
	const golden = "golden:\n  g: {vmid: 9000, template: \"local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst\", rootfs: {storage: local-lvm, size: 8G}, publish: {storage: usb-backup, revision: 1}}\n"
	const mount = "node: pve1\nmounts:\n  backup: {uuid: " + blueDisk + ", path: /mnt/usb/backup, storage: usb-backup}\n"
	for name, c := range map[string]struct {
		yaml, witness string
		vmid          string
		forget        func(t *testing.T, b *bench) *bench
	}{
		"the journal, of a guest that was restored": {mount + golden + "restores: {web: {vmid: 201, from: {golden: g}, storage: local-lvm}}\n", "the journal of this agent", "201", nil},
		"the journal, of a guest that was adopted":  {mount + "guests: {dns: {vmid: 101}}\n", "the journal of this agent", "101", nil},
		"an archive, of a golden image":             {mount + golden, "usb-backup:backup/vzdump-lxc-9000-", "9000", nil},
		"the journal, of a golden image":            {mount + strings.Replace(golden, ", publish: {storage: usb-backup, revision: 1}", "", 1), "the journal of this agent", "9000", nil},
		"the state, whose disk is away": {mount + "guests: {dns: {vmid: 101}}\nbackups: {b: {storage: usb-backup, guests: [dns], every: 400d}}\n", "the state of this agent (a backup of 22 Nov 18:02", "101",
			func(t *testing.T, b *bench) *bench {
				store := b.agent.O.Store
				b.sim.Unplug(blueDisk)
				return newBench(t, b.sim, func(o *Options) { o.Store = store })
			}},
		"nobody": {mount + "guests: {dns: {vmid: 101}}\n", "", "101", func(t *testing.T, b *bench) *bench { return newBench(t, b.sim) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				want := desired(t, c.yaml)
				b.once(want)
				b.once(want)
				b.as("PUT", "/nodes/pve1/lxc/"+c.vmid+"/config", "delete=description")
				if c.forget != nil {
					b = c.forget(t, b)
				}
				plan, text := b.plan(want)
				missing := strings.Contains(text, "the ownership marker of "+c.vmid+" is missing (its Notes were edited), but "+c.witness)
				if missing != (c.witness != "") {
					t.Fatalf("it says\n%s", text)
				}
				if !missing {
					return
				}
				for _, h := range plan.Blocked {
					if line := regexp.MustCompile(`<!-- .* -->`).FindString(strings.Join(h.Fix, " ")); line != "" {
						b.as("PUT", "/nodes/pve1/lxc/"+c.vmid+"/config", "description="+line)
					}
				}
				if _, text := b.plan(want); strings.Contains(text, "marker") && strings.Contains(text, "is missing") || strings.Contains(text, "not ours") {
					t.Errorf("with that line it says\n%s", text)
				}
			})
		})
	}
}
