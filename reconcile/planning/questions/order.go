package questions

import (
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

// StartOrderOf is the place of a guest when the node starts: the declared one, that of its
// config, or, of one that is missing, that in the backup that it comes back from.
func StartOrderOf(q Questions, g *spec.Guest) (int, bool) {
	state := q.Have.Guests[g.VMID]
	if n, ok := StartOrder(g, state); ok || state != nil {
		return n, ok
	}
	for _, source := range g.From {
		if !node.IsOwn(g, source) {
			continue
		}
		if found, _, _ := node.NewestArchive(q.Have, g, source); found != nil {
			return found.Inside.Startup().Order()
		}
	}
	return 0, false
}
