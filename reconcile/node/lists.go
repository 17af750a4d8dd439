package node

import (
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
)

// Arrange puts the lists of the whole cluster to the guests and storages of the node. Without resources the guests keep what HA
// wants of them.
func Arrange(o *Observed, resources []proxmox.Resource, states []proxmox.StorageStatus, storages []proxmox.Storage) {
	for _, r := range resources {
		if r.Type == "node" && !slices.Contains(o.Nodes, r.Node) {
			o.Nodes = append(o.Nodes, r.Node)
		}
		if r.Type == "node" && r.Node == o.Node {
			o.CPUs, o.RAM, o.RAMUsed = r.CPUs, r.MaxMem, r.Mem
		}
		if r.Type != "lxc" && r.Type != "qemu" {
			continue
		}
		o.Others[r.VMID] = r
	}
	if len(resources) > 0 {
		ArrangeHA(o)
	}
	for _, conf := range storages {
		if len(conf.Nodes) > 0 && !slices.Contains(conf.Nodes, o.Node) {
			continue // of other nodes: nothing of ours can lie there
		}
		state := &StorageState{Conf: conf}
		for i := range states {
			if states[i].ID == conf.ID {
				state.Status = &states[i]
			}
		}
		if conf.Ambiguous || state.Status != nil && state.Status.Ambiguous {
			state.Err = ErrAmbiguous
		}
		o.Storages[conf.ID] = state
	}
}

// ArrangeHA puts what HA wants of the guests of the node to them; those that it ignores it leaves
// alone (PVE: HA::Config, vm_is_ha_managed).
func ArrangeHA(o *Observed) {
	for vmid, state := range o.Guests {
		if r, listed := o.Others[vmid]; listed && r.Node == o.Node && r.HAState != "ignored" {
			state.HA = r.HAState
		}
	}
}
