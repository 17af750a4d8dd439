package session

import (
	"fmt"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile"
)

// TestAccess is with what restore tests are sent, or why they are not.
func (n *Session) TestAccess() reconcile.TestAccess {
	if n.TestGuests == nil {
		return reconcile.TestAccess{Missing: n.Config.TestsTokenMissing}
	}
	return reconcile.TestAccess{TokenID: n.TestGuests.TokenID(), Pool: n.TestGuests.Pool()}
}

// ConnectTests makes the client of restore tests beside the agent's own, where there is a token of theirs. o are the
// options of the agent's client.
func (n *Session) ConnectTests(o proxmox.Options) error {
	if n.Config.TestsToken.ID() == "" {
		return nil
	}
	var err error
	if n.TestGuests, err = proxmox.NewTestGuests(o, n.Config.TestsToken, proxmox.TestPool); err != nil {
		return fmt.Errorf("tests_token_id: %w", err)
	}
	n.Closers = append(n.Closers, func() error { n.TestGuests.Close(); return nil })
	return nil
}
