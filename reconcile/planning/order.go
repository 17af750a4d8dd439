package planning

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// planningOrder is the order in which objects are planned: as they are listed, but
// guests as they start (what one needs and what starts before it come first), so that
// what is found out of one is known when those that wait for it are planned.
func planningOrder(q questions.Questions, objects []spec.Ref) []spec.Ref {
	var before, guests, after []spec.Ref
	for _, ref := range objects {
		switch ref.Kind {
		case spec.KindMount, spec.KindGolden:
			before = append(before, ref)
		case spec.KindRestore, spec.KindGuest:
			guests = append(guests, ref)
		default:
			after = append(after, ref)
		}
	}
	order := map[spec.Ref]int{}
	for _, ref := range guests {
		order[ref] = math.MaxInt
		g := q.Want.Guest(ref.Name)
		if n, ok := questions.StartOrderOf(q, g); ok {
			order[ref] = n
		}
	}
	slices.SortStableFunc(guests, func(a, b spec.Ref) int { return cmp.Compare(order[a], order[b]) })
	var sorted []spec.Ref
	todo := map[spec.Ref]bool{}
	for _, ref := range guests {
		todo[ref] = true
	}
	var visit func(ref spec.Ref)
	visit = func(ref spec.Ref) {
		if !todo[ref] {
			return
		}
		delete(todo, ref)
		for _, name := range q.Want.Guest(ref.Name).Needs {
			if other := q.Want.Guest(name); other != nil {
				visit(other.Ref)
			}
		}
		sorted = append(sorted, ref)
	}
	for _, ref := range guests {
		visit(ref)
	}
	return slices.Concat(before, sorted, after)
}

// creationsInOrder puts what makes guests into the order in which people wait for it, for only
// so many are made at once: guests in the order in which they start, a golden image before the
// first guest that waits for it, and golden images that nobody waits for at the end. All other
// actions keep their places.
func creationsInOrder(pl *plan.Plan, planned []spec.Ref, k known) {
	rank := map[spec.Ref]int{}
	for i, ref := range planned {
		if ref.Kind == spec.KindGolden {
			rank[ref] = math.MaxInt
			continue
		}
		rank[ref] = 2*i + 1
		if golden := k.of[ref].awaits; golden != (spec.Ref{}) {
			rank[golden] = min(rank[golden], 2*i)
		}
	}
	var at []int
	var made []plan.Action
	for i, a := range pl.Actions {
		if strings.HasPrefix(a.Limit, "create ") {
			at, made = append(at, i), append(made, a)
		}
	}
	slices.SortStableFunc(made, func(a, b plan.Action) int { return cmp.Compare(rank[a.Object], rank[b.Object]) })
	for n, i := range at {
		pl.Actions[i] = made[n]
	}
}
