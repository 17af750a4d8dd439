package node

import (
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// NetsOf are the declared interfaces of a guest or golden image.
func NetsOf(want *spec.Desired, ref spec.Ref) map[int]proxmox.Net {
	switch ref.Kind {
	case spec.KindGolden:
		return want.Golden[ref.Name].Config.Nets
	case spec.KindRestore, spec.KindGuest:
		return want.Guest(ref.Name).Config.Nets
	}
	return nil
}

// BridgesInUse are the bridges of running guests whose configs were read: they are there,
// whatever the node's network configuration lists.
func BridgesInUse(have *Observed) map[string]bool {
	used := map[string]bool{}
	for _, state := range have.Guests {
		if state.Status != "running" || state.Config == nil {
			continue
		}
		for _, net := range state.Config.Nets() {
			used[net["bridge"]] = true
		}
	}
	return used
}
