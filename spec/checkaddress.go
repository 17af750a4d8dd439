package spec

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/felhom/felhom-agent/proxmox"
)

// lan is where an address must be the only one: a VLAN of a bridge of a node.
type lan struct{ node, bridge, tag string }

// addresses looks at the addresses of all guests together: PVE takes any, and two guests of
// one address answer for each other, or neither does. A guest that is declared stopped may
// share one, as the predecessor of the guest that has it now; a golden image never runs.
func (c *checker) addresses() {
	type owner struct {
		guest *Guest
		field string
	}
	owners := map[lan]map[netip.Addr]owner{}
	for _, g := range sorted(c.Restores, c.Guests) {
		for _, i := range slices.Sorted(maps.Keys(g.Config.Nets)) {
			net := g.Config.Nets[i]
			for _, family := range [][2]string{{"ip", "gw"}, {"ip6", "gw6"}} {
				address, err := netip.ParsePrefix(net[family[0]])
				if err != nil || net["link_down"] == "1" {
					continue // dhcp, none, or not connected
				}
				field := "config.net" + strconv.Itoa(i) + "." + family[0]
				if gw, err := netip.ParseAddr(net[family[1]]); err == nil && gw == address.Addr() {
					c.fail(&g.Object, field, "Give the guest an address of its own.", "%s is the address of its gateway too", gw)
				}
				if g.State == Stopped || net["bridge"] == "" {
					continue
				}
				where := lanOf(g, net)
				if other, taken := owners[where][address.Addr()]; taken {
					c.fail(&g.Object, field, "Give each guest its own address.", "%s is the address of %s too (%s)", address.Addr(), other.guest.Ref, other.guest.At(other.field))
					continue
				}
				if owners[where] == nil {
					owners[where] = map[netip.Addr]owner{}
				}
				owners[where][address.Addr()] = owner{g, field}
			}
		}
	}
}

func lanOf(g *Guest, net proxmox.Net) lan { return lan{g.Node, net["bridge"], net["tag"]} }
