package lifecycle

import (
	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// UndoCreateVM frees the drives; of a restore the config stays, without its lock, which PVE says.
func UndoCreateVM(cl *cluster.Cluster, t *world.Task) {
	for _, m := range t.Created() {
		lines, _ := places.Free(cl, t.Node, m.Volid())
		t.Log = append(t.Log, lines...)
	}
	g, err := guests.TaskGuest(cl, t)
	if err != nil {
		return
	}
	if t.Type == "qmcreate" {
		cl.DropGuest(g.VMID)
		return
	}
	g.Rewrite(lxcconf.New())
	g.Conf.Section.Set("memory", "128")
	t.Logf("VM %d state is NOT cleaned up.", g.VMID)
}
