package planning

import (
	"fmt"
	"slices"

	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// tellNeeding says of each step that shuts a guest down which running guests need it. They are
// not restarted with it: `needs` orders starts only.
func tellNeeding(q questions.Questions, p *plan.Plan) {
	names := map[string][]string{} // the running guests that need one, by its name
	for _, ref := range p.Guests {
		g := q.Want.Guest(ref.Name)
		if state := q.Have.Guests[g.VMID]; state != nil && state.Status == "running" {
			for _, other := range g.Needs {
				names[other] = append(names[other], ref.Name)
			}
		}
	}
	needing := map[string]string{} // what is said, by queue
	for name, all := range names {
		if q.Want.Guest(name) == nil {
			continue
		}
		slices.Sort(all)
		verb, goes := "need", "run"
		if len(all) == 1 {
			verb, goes = "needs", "runs"
		}
		needing[Queue(q.Want.Guest(name).VMID)] = fmt.Sprintf("%s %s %s, and %s without it until it is back", text.List(all), verb, name, goes)
	}
	for i := range p.Actions {
		a := &p.Actions[i]
		a.Detail = needed(a.Detail, a.Verb, a.Effect, needing[a.Queue])
	}
	for i := range p.Deferred {
		d := &p.Deferred[i]
		d.Detail = needed(d.Detail, d.Verb, d.Effect, needing[d.Queue])
	}
}

// needed adds a line to the details of a step that shuts its guest down.
func needed(detail []string, verb string, effect plan.Effect, line string) []string {
	down := slices.Contains([]string{"restart", "stop", "roll back", journal.VerbBackUp, journal.VerbGuardBack}, verb)
	if line == "" || !down || effect != plan.Disruptive {
		return detail
	}
	return append(slices.Clone(detail), line)
}
