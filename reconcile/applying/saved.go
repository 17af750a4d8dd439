package applying

import (
	"slices"

	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/saved"
	"github.com/felhom/felhom-agent/spec"
)

// limitToSaved leaves in a plan what the saved one has too, and blocks the rest. The first plan of a run must be the
// saved one, but for what this agent has done of it already.
func (a *Agent) limitToSaved(want *spec.Desired, p *plan.Plan) error {
	s := a.O.Saved
	if s == nil {
		return nil
	}
	if !a.reviewed {
		if lines := s.Differ(p, a.O.Version, a.O.Owner, a.since(s)); len(lines) > 0 {
			return &saved.DifferentError{Lines: lines}
		}
	}
	p.Actions = slices.DeleteFunc(p.Actions, func(action plan.Action) bool {
		_, back := p.Guards[action.Object.String()]
		if s.Allows(&action) || action.Verb == journal.VerbGuardBack || back && action.Verb == "start" { // what a guarded change may lead to was reviewed with it
			return false
		}
		p.Blocked = append(p.Blocked, plan.Blocked{Object: action.Object, Pos: want.Object(action.Object).Pos,
			Reason: "not in the saved plan: " + action.Said(), Fix: []string{"review a new plan: felhom-agent --plan --out FILE"}})
		return true
	})
	return nil
}

// since is what this agent has begun since a plan was made.
func (a *Agent) since(s *saved.Plan) (since saved.Since) {
	for _, act := range a.O.Journal.Since(s.Last, s.Made) {
		since.Did(act.Object, act.Verb, act.Queue)
	}
	return since
}
