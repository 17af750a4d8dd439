package proxmox

import (
	"context"
	"slices"
)

// Bridges lists the bridges of a node's network configuration, by name: those of Linux and of
// Open vSwitch, and SDN vnets as far as PVE shows them there. Any valid token may. What
// /etc/network/interfaces does not define, PVE does not list, though a guest may use it.
func (v *View) Bridges(ctx context.Context, node string) ([]string, error) {
	w, r, err := read[[]struct{ Iface, Type text }](ctx, v, "/nodes/"+node+"/network", nil)
	if err != nil {
		return nil, err
	}
	bridges := []string{}
	for _, e := range w {
		if e.Iface == "" {
			return nil, r.fault("an interface has no name")
		}
		if slices.Contains([]text{"bridge", "OVSBridge", "vnet"}, e.Type) {
			bridges = append(bridges, string(e.Iface))
		}
	}
	slices.Sort(bridges)
	return slices.Compact(bridges), nil
}
