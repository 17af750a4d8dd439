package spec_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/spec"
)

// One address on two guests of a network, or that of its own gateway, works for neither.
// Another bridge, VLAN or node is another network; what is stopped or disconnected takes no part.
func TestAddressesAreOfOneGuest(t *testing.T) {
	for name, c := range map[string]struct{ dns, web, want string }{
		"two addresses":         {"config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/24}}", "config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.12/24}}", ""},
		"one address":           {"config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/24}}", "config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/16}}", "a.yaml:3: guests.web.config.net0.ip: 10.0.10.11 is the address of guests/dns too (a.yaml:2)"},
		"IPv6, otherwise spelt": {"config: {net0: {name: eth0, bridge: vmbr0, ip6: 'fd00::11/64'}}", "config: {net1: {name: eth0, bridge: vmbr0, ip6: 'fd00:0::0:11/64'}}", "a.yaml:3: guests.web.config.net1.ip6: fd00::11 is the address of guests/dns too (a.yaml:2)"},
		"dhcp":                  {"config: {net0: {name: eth0, bridge: vmbr0, ip: dhcp}}", "config: {net0: {name: eth0, bridge: vmbr0, ip: dhcp}}", ""},
		"another bridge":        {"config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/24}}", "config: {net0: {name: eth0, bridge: vmbr1, ip: 10.0.10.11/24}}", ""},
		"another VLAN":          {"config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/24}}", "config: {net0: {name: eth0, bridge: vmbr0, tag: 20, ip: 10.0.10.11/24}}", ""},
		"another node":          {"node: pve1, config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/24}}", "node: pve2, config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/24}}", ""},
		"a predecessor":         {"state: stopped, config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/24}}", "config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/24}}", ""},
		"disconnected":          {"config: {net0: {name: eth0, bridge: vmbr0, link_down: true, ip: 10.0.10.11/24}}", "config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/24}}", ""},
		"its gateway":           {"config: {}", "config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.1/24, gw: 10.0.10.1}}", "a.yaml:3: guests.web.config.net0.ip: 10.0.10.1 is the address of its gateway too"},
		"a guest as router":     {"config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.1/24}}", "config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.12/24, gw: 10.0.10.1}}", ""},
		"twice on one":          {"config: {}", "config: {net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/24}, net1: {name: eth1, bridge: vmbr0, ip: 10.0.10.11/24}}", "a.yaml:3: guests.web.config.net1.ip: 10.0.10.11 is the address of guests/web too"},
	} {
		path := filepath.Join(t.TempDir(), "a.yaml")
		put(t, path, "guests:\n  dns: {vmid: 101, "+c.dns+"}\n  web: {vmid: 111, "+c.web+"}\n")
		_, err := spec.Load(path)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
