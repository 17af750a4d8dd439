package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// What is odd, and works all the same, is a note before the first act. pve1 has
// 4 processors and 16 GiB.
func TestOddValuesAreNotedBeforehand(t *testing.T) {
	for config, says := range map[string]string{
		"memory: 16GiB": "",
		"memory: 32GiB": "memory: 32 GiB is more than pve1 has (16 GiB)",
		"cores: 4":      "",
		"cores: 400":    "cores: 400 are more than pve1 has (4)",
		"net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/24, gw: 10.0.10.1}":   "",
		"net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/24, gw: 10.0.11.1}":   "net0: the gateway 10.0.11.1 is outside the network 10.0.10.0/24",
		"net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/32, gw: 10.0.11.1}":   "",
		"net0: {name: eth0, bridge: vmbr0, ip6: 'fd00::11/64', gw6: 'fe80::1'}": "",
		"net0: {name: eth0, bridge: vmbr0, ip6: 'fd00::11/64', gw6: 'fd01::1'}": "net0: the gateway fd01::1 is outside the network fd00::/64",
	} {
		for _, object := range []string{"guests:\n  dns: {vmid: 101, ", "restores:\n  web: {vmid: 201, storage: local-lvm, from: [{newest: local}], "} {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				_, text := b.plan(desired(t, "node: pve1\n"+object+"config: {"+config+"}}\n"))
				text = strings.Join(strings.Fields(text), " ")
				if says != "" && !strings.Contains(text, says) {
					t.Errorf("%s: want %q:\n%s", config, says, text)
				}
				if says == "" && (strings.Contains(text, "more than pve1 has") || strings.Contains(text, "is outside the network")) {
					t.Errorf("%s: nothing is odd:\n%s", config, text)
				}
			})
		}
	}
}

// A storage that does not exist blocks the guest that is to lie on it at once, not only when
// the disk with its backup is mounted or its golden image is published.
func TestMissingStorageIsToldBeforehand(t *testing.T) {
	const start = "node: pve1\nmounts: {backup: {uuid: " + blueDisk + ", path: /mnt/usb/backup, storage: usb-backup}}\n" +
		"golden: {debian: {vmid: 9000, template: 'local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst', rootfs: {storage: local-lvm, size: 8G}, publish: {storage: local, revision: 1}}}\n"
	for object, says := range map[string]string{
		"from: [{newest: usb-backup}], storage: local-lmv":                                                                "storage local-lmv does not exist (did you mean local-lvm?)",
		"from: [{golden: debian}], storage: local-lmv":                                                                    "storage local-lmv does not exist (did you mean local-lvm?)",
		"from: [{golden: debian}], storage: local-lvm, config: {mp0: {storage: fast, size: 8G, mp: /data, backup: true}}": "storage fast does not exist",
		"from: [{golden: debian}], storage: local-lvm":                                                                    "",
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			p, text := b.plan(desired(t, start+"restores: {web: {vmid: 201, "+object+"}}\n"))
			text = strings.Join(strings.Fields(text), " ")
			if says == "" {
				if len(p.Blocked) > 0 {
					t.Errorf("%s: blocked:\n%s", object, text)
				}
				return
			}
			if !strings.Contains(text, "! restores/web "+says) {
				t.Errorf("%s: want %q:\n%s", object, says, text)
			}
		})
	}
}
