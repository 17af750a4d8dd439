package cluster

import (
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

func NoConfig(node string, vmid int) error {
	return refusal.Fail("Configuration file 'nodes/%s/lxc/%d.conf' does not exist", node, vmid)
}

func (cl *Cluster) AddGuest(g *world.Guest) {
	cl.Guests[g.VMID] = g
	cl.World.Guests = append(cl.World.Guests, g)
}

func (cl *Cluster) DropGuest(vmid int) {
	delete(cl.Guests, vmid)
	for i, g := range cl.World.Guests {
		if g.VMID == vmid {
			cl.World.Guests = append(cl.World.Guests[:i:i], cl.World.Guests[i+1:]...)
			return
		}
	}
}
