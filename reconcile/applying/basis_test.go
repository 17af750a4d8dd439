package applying

import (
	"maps"
	"testing"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
)

// What a refusal stands on is what others change in what matters to it: not what our own operations change, and not how much
// a look happened to ask for.
func TestBasis(t *testing.T) {
	world := func(rights proxmox.Permissions, raw map[string]string) *node.Observed {
		all := proxmox.Permissions{"/": {"VM.Audit": true}}
		maps.Copy(all, rights)
		config := &proxmox.GuestConfig{VMID: 101, Digest: raw["digest"], Raw: map[string]string{"cores": "1"}}
		maps.Copy(config.Raw, raw)
		delete(config.Raw, "digest") // as it is read
		return &node.Observed{Permissions: all, Guests: map[proxmox.VMID]*node.GuestState{101: {Config: config}}}
	}
	before := basis("lxc/101", world(nil, nil))
	for name, have := range map[string]*node.Observed{
		"our snapshot":        world(nil, map[string]string{"parent": "hourly-1", "digest": "a"}),
		"our backup":          world(nil, map[string]string{"lock": "backup", "digest": "b"}),
		"our marker":          world(nil, map[string]string{"description": "<!-- felhom-agent/1 dns -->"}),
		"another one's right": world(proxmox.Permissions{"/vms/202": nil}, nil),
	} {
		if basis("lxc/101", have) != before {
			t.Errorf("%s changes it", name)
		}
	}
	for name, have := range map[string]*node.Observed{
		"its config":        world(nil, map[string]string{"cores": "2"}),
		"a right on it":     world(proxmox.Permissions{"/vms/101": {"VM.Audit": true, "VM.PowerMgmt": true}}, nil),
		"a right on all":    world(proxmox.Permissions{"/": {"VM.Audit": true, "VM.PowerMgmt": true}}, nil),
		"a storage's right": world(proxmox.Permissions{"/storage/usb": {"Datastore.Audit": true}}, nil),
	} {
		if basis("lxc/101", have) == before {
			t.Errorf("%s does not change it", name)
		}
	}
}
