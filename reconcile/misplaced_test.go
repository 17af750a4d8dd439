package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A mount that is not where its storage lies is blocked itself, with the right path; what
// lies on it names it, and nobody is offered to pass over data that nobody has seen.
func TestAMountElsewhereThanItsStorage(t *testing.T) {
	const rest = "golden: {base: {vmid: 9000, template: 'local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst', rootfs: {storage: local-lvm, size: 4G}, publish: {storage: local, revision: 1}}}\n" +
		"restores: {web: {vmid: 201, from: [{newest: usb-backup}, {golden: base}], storage: local-lvm}}\n" +
		"backups: {b: {storage: usb-backup, guests: [web], every: 24h}}\n"
	for name, c := range map[string]struct {
		mount, storage string
		says           []string
	}{
		"the path":    {"/mnt/usb/bakcup", "usb-backup", []string{"! mounts/backup", "Path: /mnt/usb/backup", "As mounts/backup"}},
		"the storage": {"/mnt/usb/backup", "usb-bakcup", []string{"storage usb-bakcup is not visible", "usb-backup"}},
	} {
		t.Run(name, func(t *testing.T) {
			want := desired(t, "mounts: {backup: {uuid: "+blueDisk+", path: "+c.mount+", storage: usb-backup}}\n"+strings.ReplaceAll(rest, "usb-backup", c.storage))
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				_, text := b.plan(want)
				for _, says := range c.says {
					if !strings.Contains(text, says) {
						t.Errorf("it does not say %q:\n%s", says, text)
					}
				}
				if strings.Contains(strings.ToLower(text), "despite") {
					t.Errorf("it offers despite:\n%s", text)
				}
				if b.once(want); b.mounted(c.mount) != (name == "the storage") {
					t.Errorf("is it mounted at %s? %v", c.mount, b.mounted(c.mount))
				}
			})
		})
	}
}
