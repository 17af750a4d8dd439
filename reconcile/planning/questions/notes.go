package questions

import (
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// MadeOtherwise reports whether the YAML names other sources than the one that the marker
// says a guest was made from. The guest's own newest backup is no other one: it brings back
// what was there. Of a guest that was taken over nobody knows.
func MadeOtherwise(q Questions, g *spec.Guest, marker marker.Marker) bool {
	from := marker.Facts["from"]
	if from == "" {
		return false
	}
	archive, isArchive := proxmox.ParseArchive(from)
	births := 0
	for _, s := range g.From {
		own := node.IsOwn(g, s)
		if !own {
			births++
		}
		golden := q.Want.Golden[s.Golden]
		switch {
		case s.Archive != "" && from == s.Archive,
			s.Golden != "" && from == "golden/"+s.Golden,
			golden != nil && golden.Was != "" && from == "golden/"+golden.Was,
			s.Newest != "" && isArchive && archive.VMID == node.SourceVMID(g, s) && (own || text.ProxmoxStorage(from) == s.Newest):
			return false
		}
	}
	return births > 0
}
