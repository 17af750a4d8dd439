package cluster

import (
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// NoConfig is the error of a guest that is not on the node.
func NoConfig(node string, vmid int, qemu bool) error {
	dir := "lxc"
	if qemu {
		dir = "qemu-server"
	}
	return refusal.Fail("Configuration file 'nodes/%s/%s/%d.conf' does not exist", node, dir, vmid)
}

// AddGuest takes a guest into the cluster.
func (cl *Cluster) AddGuest(g *world.Guest) {
	cl.Guests[g.VMID] = g
	g.Conf.Write()
	cl.World.Guests = append(cl.World.Guests, g)
}

// DropGuest takes a guest out of the cluster; its volumes are not touched.
func (cl *Cluster) DropGuest(vmid int) {
	if g := cl.Guests[vmid]; g != nil {
		cl.dropped += g.Conf.Written + 1
	}
	delete(cl.Guests, vmid)
	for i, g := range cl.World.Guests {
		if g.VMID == vmid {
			cl.World.Guests = append(cl.World.Guests[:i:i], cl.World.Guests[i+1:]...)
			return
		}
	}
}
