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
	type starting struct {
		*spec.Guest
		order int
	}
	guests := make([]starting, 0, len(objects))
	var before, after []spec.Ref
	needs := false // some guest needs another one
	for _, ref := range objects {
		switch ref.Kind {
		case spec.KindMount, spec.KindGolden:
			before = append(before, ref)
		case spec.KindRestore, spec.KindGuest:
			g := starting{q.Want.Guest(ref.Name), math.MaxInt}
			if n, ok := questions.StartOrderOf(q, g.Guest); ok {
				g.order = n
			}
			guests = append(guests, g)
			needs = needs || len(g.Needs) > 0
		default:
			after = append(after, ref)
		}
	}
	slices.SortStableFunc(guests, func(a, b starting) int { return cmp.Compare(a.order, b.order) })
	sorted := slices.Grow(before, len(objects))
	if !needs {
		for _, g := range guests {
			sorted = append(sorted, g.Ref)
		}
		return append(sorted, after...)
	}
	todo := make(map[*spec.Guest]bool, len(guests))
	for _, g := range guests {
		todo[g.Guest] = true
	}
	var visit func(g *spec.Guest)
	visit = func(g *spec.Guest) {
		if !todo[g] {
			return
		}
		delete(todo, g)
		for _, name := range g.Needs {
			if other := q.Want.Guest(name); other != nil {
				visit(other)
			}
		}
		sorted = append(sorted, g.Ref)
	}
	for _, g := range guests {
		visit(g.Guest)
	}
	return append(sorted, after...)
}

// A sequence is the order in which the objects of a plan are planned and made.
type sequence struct {
	at   map[spec.Ref]int // the place of an object among those that are planned
	rank map[spec.Ref]int // what is to be made first has the lowest
}

// sequenceOf is the order in which people wait for what makes guests, for only so many are made at once: guests in the order
// in which they start, a golden image before the first guest that waits for it, and golden images that nobody waits for at
// the end.
func sequenceOf(planned []spec.Ref, k known) sequence {
	s := sequence{at: make(map[spec.Ref]int, len(planned)), rank: make(map[spec.Ref]int, len(planned))}
	for i, ref := range planned {
		s.at[ref] = i
		if ref.Kind == spec.KindGolden {
			s.rank[ref] = math.MaxInt
			continue
		}
		s.rank[ref] = 2*i + 1
		if golden := k.of(ref).awaits; golden != (spec.Ref{}) {
			s.rank[golden] = min(s.rank[golden], 2*i)
		}
	}
	return s
}

func creates(a *plan.Action) bool { return strings.HasPrefix(a.Limit, "create ") }

// creationsInOrder puts what makes guests into that order. All other actions keep their places.
func (s sequence) creationsInOrder(actions []plan.Action) {
	sorted, last := true, 0
	for i := range actions {
		if creates(&actions[i]) {
			rank := s.rank[actions[i].Object]
			sorted, last = sorted && last <= rank, rank
		}
	}
	if sorted {
		return
	}
	var at []int
	var made []plan.Action
	for i := range actions {
		if creates(&actions[i]) {
			at, made = append(at, i), append(made, actions[i])
		}
	}
	slices.SortStableFunc(made, func(a, b plan.Action) int { return cmp.Compare(s.rank[a.Object], s.rank[b.Object]) })
	for n, i := range at {
		actions[i] = made[n]
	}
}
