package reconcile

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// After a fire guests come back in the order in which people wait for them, also where that order
// stands in their backups alone. A golden image that nobody waits for comes last, and one that a
// guest waits for just before that guest.
func TestTheOrderAfterAFire(t *testing.T) {
	const yaml = `node: pve1
mounts:
  backup: {uuid: ` + blueDisk + `, path: /mnt/usb/backup, storage: usb-backup}
golden:
  idle: {vmid: 9000, template: "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", rootfs: {storage: local-lvm, size: 4G}, publish: {storage: usb-backup, revision: 1}}
restores:
  ada: {vmid: 201, from: [{newest: usb-backup}, {golden: idle}], storage: local-lvm, state: running, needs: [cleo]}
  bea: {vmid: 202, from: [{newest: usb-backup}, {golden: idle}], storage: local-lvm, state: running, config: {startup: {order: 5}}}
  cleo: {vmid: 203, from: [{newest: usb-backup}, {golden: idle}], storage: local-lvm, state: running}
  dana: {vmid: 204, from: [{newest: usb-backup}, {golden: idle}], storage: local-lvm, state: running, config: {startup: {order: 1}}}
backups:
  b: {storage: usb-backup, guests: all, every: 24h}
`
	inside := strings.Replace(yaml, ", config: {startup: {order: 1}}", "", 1) // dana's order is in its backup
	another := strings.ReplaceAll(yaml, "restores:\n", "restores:\n  eve: {vmid: 205, from: {golden: new}, storage: local-lvm, config: {startup: {order: 3}}}\n")
	another = strings.Replace(another, "restores:\n", "  new: {vmid: 9001, template: \"local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz\", rootfs: {storage: local-lvm, size: 4G}, publish: {storage: usb-backup, revision: 1}}\nrestores:\n", 1)
	for name, c := range map[string]struct {
		after string
		want  []string
	}{
		"as declared":                       {yaml, []string{"204", "202", "203", "201", "9000"}},
		"as their backups say":              {inside, []string{"204", "202", "203", "201", "9000"}},
		"a golden image that one waits for": {another, []string{"204", "9001", "202", "205", "203", "201", "9000"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				b.once(desired(t, yaml))
				b.once(desired(t, yaml))
				b.sim.Reinstall()
				fresh := newBench(t, b.sim)
				fresh.once(desired(t, c.after))
				var made []string
				for _, m := range regexp.MustCompile(`(?m)(?:restore|create) +ok .* create (\d+)`).FindAllStringSubmatch(fresh.events.String(), -1) {
					made = append(made, m[1])
				}
				if len(made) < len(c.want) || !slices.Equal(made[:len(c.want)], c.want) {
					t.Errorf("made %v, want %v:\n%s", made, c.want, fresh.events)
				}
			})
		})
	}
}
