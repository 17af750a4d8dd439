package session

import (
	"github.com/felhom/felhom-agent/reconcile"
)

// TestAccess is with what restore tests are sent; the zero value where there is no token of theirs.
func (n *Session) TestAccess() reconcile.TestAccess {
	if n.TestGuests == nil {
		return reconcile.TestAccess{}
	}
	return reconcile.TestAccess{TokenID: n.TestGuests.TokenID(), Pool: n.TestGuests.Pool()}
}
