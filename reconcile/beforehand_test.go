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
