package node

import (
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// DeclaredNets are the declared interfaces of every guest and golden image, by object.
func DeclaredNets(want *spec.Desired) map[spec.Ref]map[int]proxmox.Net {
	guests := want.AllGuests()
	nets := make(map[spec.Ref]map[int]proxmox.Net, len(guests)+len(want.Golden))
	for _, g := range guests {
		nets[g.Ref] = g.Config.Nets
	}
	for _, golden := range want.Golden {
		nets[golden.Ref] = golden.Config.Nets
	}
	return nets
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
