package questions

import (
	"crypto/sha256"
	"fmt"
	"maps"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// creationNets are all nets of the archive and of the YAML, each with a MAC.
func creationNets(q Questions, g *spec.Guest, own bool, in proxmox.GuestConfig) map[int]proxmox.Net {
	nets := map[int]proxmox.Net{}
	for i, net := range in.Nets() {
		nets[i] = maps.Clone(net)
		if !own {
			delete(nets[i], "hwaddr")
		}
	}
	for i, declared := range g.Config.Nets {
		if nets[i] == nil {
			nets[i] = newNet(g.Type, i)
		}
		maps.Copy(nets[i], declared)
	}
	for i, net := range nets {
		if net["hwaddr"] == "" {
			net["hwaddr"] = Mac(q.Have.Owner, g.VMID, i)
		}
	}
	return nets
}

// Mac is an address of our own: a hash of owner, VMID and N, locally administered,
// so that plans stay the same and two hosts with one household do not collide.
func Mac(owner string, vmid proxmox.VMID, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/net%d", owner, vmid, n))
	return fmt.Sprintf("BE:24:11:%02X:%02X:%02X", sum[0], sum[1], sum[2])
}
