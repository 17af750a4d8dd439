package guests

import (
	"maps"
	"slices"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Strays are the volumes of a VMID on a node that its name says are its own.
func Strays(cl *cluster.Cluster, n *world.Node, vmid int) []string {
	var all []string
	for _, st := range cl.World.Storages {
		if st.Disable || !st.On(n.Name) {
			continue
		}
		p, err := places.Of(cl, n, st)
		if err != nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(p.Items)) {
			if kind, owner, err := st.KindOf(name); err == nil && kind == "images" && owner == vmid {
				all = append(all, st.ID+":"+name)
			}
		}
	}
	return all
}

// Referenced are the volumes that a guest's config names anywhere, sorted.
func Referenced(g *world.Guest) []string {
	seen := make(map[string]bool)
	sections := []*lxcconf.Section{&g.Conf.Section, &g.Conf.Pending}
	for _, sec := range g.Conf.Snaps {
		sections = append(sections, sec)
	}
	for _, sec := range sections {
		for _, m := range sec.MountPoints() {
			if m.Kind() == "volume" {
				seen[m.Volid()] = true
			}
		}
		for _, k := range sec.Numbered("unused") {
			seen[sec.Vals[k]] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}
