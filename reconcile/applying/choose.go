package applying

import (
	"time"

	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// choose finds what of a plan can be sent now: one operation per queue, within the budgets.
func (a *Agent) choose(want *spec.Desired, have *node.Observed, plan *plan.Plan) *passed {
	p := &passed{plan: plan, busy: make([]wait, 0, len(plan.Actions))}
	soon := func(at time.Time) {
		if !at.IsZero() && (p.soon.IsZero() || at.Before(p.soon)) {
			p.soon = at
		}
	}
	o := occupied(a.O.Journal, a.flights.waitedFor(), want, have, plan)
	for i := range plan.Actions {
		action := &plan.Actions[i]
		why, poll := o.keeps(action)
		if why != "" {
			p.poll = p.poll || poll
			soon(o.Frees[action.Limit])
		} else if at := a.failures.lockedOut[action.Queue]; soonAfter(have.Now, at, lockPause) {
			why = "a lock; tried again soon"
			soon(at)
		}
		if why != "" {
			p.busy = append(p.busy, wait{action, why})
			if poll {
				p.waits = append(p.waits, wait{action, why})
			}
			continue
		}
		p.ready = append(p.ready, action)
		o.take(action)
	}
	return p
}

// soonAfter reports whether a time is still to come, and comes within most. One that is
// further away was told by a clock that has been set back since.
func soonAfter(now, at time.Time, most time.Duration) bool {
	return at.After(now) && at.Sub(now) <= most
}
