package applying

import (
	"slices"
	"time"

	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// keep stores what this look has seen and a later one could not look up: guests that
// somebody destroyed (task lists are short), the last whole backups (disks go away),
// since when a reported difference is there. Holds that ended are dropped.
func (a *Agent) keep(want *spec.Desired, p *plan.Plan, have *node.Observed) error {
	var left []Event
	err := a.O.Store.Change(func(stored *state.Stored) {
		left = leave(stored, want, have)
		for _, seen := range p.Seen {
			if !slices.ContainsFunc(stored.Holds, func(h state.Hold) bool { return h.Name == seen.Name && h.Kind == seen.Kind }) {
				stored.Holds = append(stored.Holds, seen)
			}
		}
		stored.Holds = slices.DeleteFunc(stored.Holds, func(h state.Hold) bool {
			if !h.Until.IsZero() && !have.Now.Before(h.Until) {
				return true
			}
			return h.Kind == state.HoldDestroyed && slices.ContainsFunc(want.AllGuests(), func(g *spec.Guest) bool {
				return slices.Contains(g.Names(), h.Name) && (have.Named[g.Ref] || have.Guests[g.VMID] != nil)
			})
		})
		keepEjected(stored, have)
		keepDeletions(stored, want, have)
		keepGuards(stored, p)
		for guest, last := range p.Backups {
			if stored.Backups == nil {
				stored.Backups = map[string]state.LastBackup{}
			}
			if old := stored.Backups[guest]; !last.Time.Before(old.Time) {
				stored.Backups[guest] = last
			}
		}
		for guest, last := range p.Tests {
			if stored.Tests == nil {
				stored.Tests = map[string]state.LastTest{}
			}
			stored.Tests[guest] = last
		}
		keepServers(stored, p.Servers)
		since := map[string]time.Time{}
		for _, n := range p.Notes {
			if !n.Drift {
				continue
			}
			key := plan.DriftKey(n)
			since[key] = have.Now
			if old, ok := stored.Drift[key]; ok {
				since[key] = old
			}
		}
		if stored.Drift = since; len(since) == 0 {
			stored.Drift = nil
		}
	})
	if err != nil {
		return err
	}
	for _, event := range left {
		a.O.Events(event)
	}
	return nil
}
