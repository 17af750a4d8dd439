package spec_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/spec"
)

// An interface without a bridge never starts, and two of one name or hardware address are one mistake each.
func TestNets(t *testing.T) {
	for config, want := range map[string]string{
		"{net0: {name: eth0, bridge: vmbr0}}":                                    "",
		"{net0: 'name=eth0,bridge=vmbr0,link_down=1'}":                           "",
		"{net0: {name: eth0, ip: dhcp}}":                                         "guests.web.config.net0: has no bridge",
		"{net0: 'name=eth0,link_down=1'}":                                        "guests.web.config.net0: has no bridge",
		"{net0: {name: eth0, bridge: vmbr0}, net3: {name: eth0, bridge: vmbr1}}": "guests.web.config.net3: is called eth0, like net0",
		"{net0: {name: a, bridge: vmbr0, hwaddr: 'BC:24:11:00:00:0a'}, net1: {name: b, bridge: vmbr0, hwaddr: 'bc:24:11:00:00:0A'}}":   "guests.web.config.net1: has the hardware address BC:24:11:00:00:0A, like net0",
		"{net0: {name: a, bridge: vmbr0}, net1: {name: b, bridge: vmbr0}}":                                                             "",
		"{mp0: {storage: local-lvm, size: 8G, mp: /data, backup: true}, mp1: {storage: local-lvm, size: 8G, mp: /data, backup: true}}": "guests.web.config.mp1: is mounted at /data, like mp0",
	} {
		path := filepath.Join(t.TempDir(), "a.yaml")
		put(t, path, "guests: {web: {vmid: 111, config: "+config+"}}\n")
		_, err := spec.Load(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), "a.yaml:1: "+want)) {
			t.Errorf("%s: got %v, want %q", config, err, want)
		}
	}
}
