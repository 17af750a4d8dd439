package applying

import (
	"slices"

	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/state"
)

// awaitsDisk reports whether an ejected disk must be seen leaving or coming back.
func awaitsDisk(store *state.Store) bool {
	stored, err := store.Load()
	return err == nil && slices.ContainsFunc(stored.Holds, func(h state.Hold) bool { return h.Kind == state.HoldEjected })
}

// keepEjected notes that an ejected disk was unplugged, and ends the hold when it is
// plugged in again.
func keepEjected(stored *state.Stored, have *node.Observed) {
	if have.Host == nil {
		return
	}
	for i := range stored.Holds {
		h := &stored.Holds[i]
		if h.Kind == state.HoldEjected && h.Until.IsZero() && !node.Connected(have, *h) {
			h.Gone = true
		}
	}
	stored.Holds = slices.DeleteFunc(stored.Holds, func(h state.Hold) bool {
		return h.Kind == state.HoldEjected && h.Until.IsZero() && (h.Gone && node.Connected(have, h) || node.Reconnected(have, h))
	})
}
