package reconcile

import "github.com/felhom/felhom-agent/reconcile/needs"

// Need is one privilege that the token needs, on one path.
type Need = needs.Need

// NeedsOf are the privileges that a desired state needs on a node.
var NeedsOf = needs.Of
