package planning

import (
	"fmt"
	"slices"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// timely reports whether a named snapshot that is not there may be taken now: from its date
// on, for a day. One of a later day would have a false name, and after a disaster the
// restored data would pass for that of before.
func timely(p *planner, s *spec.Snapshot) bool {
	from, to := takenBetween(s, p.Have.Now.Location())
	switch {
	case s.Taken.IsZero():
		return true
	case p.Have.Now.Before(from):
		p.due(from)
		p.note(&s.Object, "due on %s", from.Format("2 Jan"))
		return false
	case p.Have.Now.After(to):
		p.note(&s.Object, "not taken: a snapshot of today would have a false name (taken: %s); fix: remove it, or write taken: %s", s.Taken, p.Have.Now.Format(time.DateOnly))
		return false
	}
	return true
}

// takenBetween is when a named snapshot may be taken. A day lasts until its end, and what
// was missed then is made up within another one.
func takenBetween(s *spec.Snapshot, zone *time.Location) (from, to time.Time) {
	from = s.Taken.In(zone)
	if len(s.Taken.String()) == len(time.DateOnly) {
		return from, from.AddDate(0, 0, 2)
	}
	return from, from.Add(24 * time.Hour)
}

// namedFirst lets what changes a guest wait for a named snapshot of it that is due: one
// called "before the upgrade" must not contain the upgrade. Where that snapshot cannot be
// taken, the change is blocked too. A start changes nothing of what a snapshot holds, and a
// rollback is asked for by its own time.
func namedFirst(p *planner) {
	first := map[spec.Ref]*spec.Snapshot{}
	for _, ref := range p.plan.Objects {
		if ref.Kind == spec.KindSnapshot {
			if s := p.Want.Snapshots[ref.Name]; named(p, s) && first[p.Want.Guest(s.Guest).Ref] == nil {
				first[p.Want.Guest(s.Guest).Ref] = s
			}
		}
	}
	if len(first) == 0 {
		return
	}
	taken, held := map[spec.Ref]bool{}, map[spec.Ref]bool{}
	for _, a := range p.plan.Actions {
		taken[a.Object] = true
	}
	for _, f := range p.Have.Memory.Flights {
		taken[f.Object] = true
	}
	for _, h := range p.plan.Blocked {
		held[h.Object] = true
	}
	told := map[spec.Ref]bool{}
	p.plan.Actions = slices.DeleteFunc(p.plan.Actions, func(a plan.Action) bool {
		s := first[a.Object]
		if s == nil || a.Verb == "start" || a.Facts["rollback"] != "" || a.Facts["rollback-mark"] != "" {
			return false
		}
		switch {
		case taken[s.Ref]:
			p.later(plan.Defer(&a, "after the snapshot"))
		case held[s.Ref] && !told[a.Object]:
			told[a.Object] = true
			p.block(p.Want.Object(a.Object), "", fmt.Sprintf("%s must be taken before %s changes, and is blocked", s.Ref, a.Object), fmt.Sprintf("see %s; or remove it from the YAML", s.Ref))
		case !held[s.Ref]:
			return false
		}
		return true
	})
}

// named reports whether a named snapshot of a guest that is here is due and not whole yet.
func named(p *planner, s *spec.Snapshot) bool {
	if s.Taken.IsZero() || s.Absent {
		return false
	}
	g := p.Want.Guest(s.Guest)
	if from, to := takenBetween(s, p.Have.Now.Location()); g == nil || g.Absent || p.Have.Now.Before(from) || p.Have.Now.After(to) {
		return false
	}
	state := p.Have.Guests[g.VMID]
	return state != nil && state.Snapshots != nil && !slices.ContainsFunc(state.Snapshots.Snapshots, func(have proxmox.Snapshot) bool { return have.Name == s.Series() && have.State == "" }) && !neverUp(p, s, g, state)
}

// neverUp reports whether a guest is still to be started for the first time: a snapshot of it
// holds nothing yet. Of a named one the guest may have been here before its day.
func neverUp(p *planner, s *spec.Snapshot, g *spec.Guest, state *node.GuestState) bool {
	if g.State != spec.Running || state.Status == "running" || !p.of(g.Ref).coming {
		return false
	}
	if s.Taken.IsZero() {
		return true
	}
	from, _ := takenBetween(s, p.Have.Now.Location())
	return questions.Made(p.Questions, g).After(from) && !p.Have.Memory.Done[g.Ref.String()+"/start"]
}
