package planning

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// beyondNode notes limits above what the node has: PVE takes them, and the guest runs, but
// they do not limit anything.
func beyondNode(p *planner, g *spec.Guest) {
	if memory := proxmox.Size(node.Limit(g.Config.Values["memory"])) * proxmox.MiB; p.Have.RAM > 0 && memory > p.Have.RAM {
		p.note(&g.Object, "memory: %s is more than %s has (%s), so it limits nothing", memory.Human(), p.Have.Node, p.Have.RAM.Human())
	}
	if cores, _ := strconv.Atoi(g.Config.Values["cores"]); p.Have.CPUs > 0 && cores > p.Have.CPUs {
		p.note(&g.Object, "cores: %d are more than %s has (%d)", cores, p.Have.Node, p.Have.CPUs)
	}
}

// storageMissing blocks a guest that is to be made on a storage that is not there, before
// anything is done that only prepares it: disks mounted, golden images made.
func storageMissing(p *planner, g *spec.Guest) bool {
	named := map[string]string{}
	for i, mp := range g.Config.Mounts {
		named[mp.Storage] = fmt.Sprintf("config.mp%d", i)
	}
	named[g.Storage] = "storage"
	delete(named, "")
	blocked := false
	for _, storage := range text.Keys(named) {
		if p.Have.Storages[storage] != nil {
			continue
		}
		if ob := questions.TakesVolumes(p.Questions, storage); ob != nil {
			p.block(&g.Object, named[storage], ob.Reason, ob.Fix...)
			blocked = true
		}
	}
	return blocked
}

// oddGateways notes a gateway outside the network of its address. PVE gives it a route of its
// own, so it can work (PVE: LXC::Setup); where the prefix leaves room for a gateway, and the
// gateway is no link-local one, one of the two is more likely mistyped.
func oddGateways(p *planner, g *spec.Guest) {
	for _, i := range text.Keys(g.Config.Nets) {
		net := g.Config.Nets[i]
		for _, family := range [][2]string{{"ip", "gw"}, {"ip6", "gw6"}} {
			if net[family[1]] == "" {
				continue
			}
			address, err := netip.ParsePrefix(net[family[0]])
			if err != nil || address.IsSingleIP() {
				continue
			}
			if gateway, err := netip.ParseAddr(net[family[1]]); err == nil && !gateway.IsLinkLocalUnicast() && !address.Contains(gateway) {
				p.note(&g.Object, "net%d: the gateway %s is outside the network %s of its address", i, gateway, address.Masked())
			}
		}
	}
}
