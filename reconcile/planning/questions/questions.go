// Package questions answers what planning asks of its two inputs, the desired state and the node as it was
// read: which backup of a guest is the newest complete one, whether a storage is visible, what a guest needs
// before it can start. Its functions are pure and cannot write a plan: they do not know the planner.
package questions

import (
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

// Questions are asked of the desired state and the node. Both are only read.
type Questions struct {
	Want *spec.Desired
	Have *node.Observed
}

// Calls builds the requests about a guest.
func Calls(q Questions, g *spec.Guest) proxmox.Builder { return proxmox.On(q.Have.Node).Of(g.Type) }
