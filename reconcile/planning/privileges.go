package planning

import (
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/reconcile/needs"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// lackForCreation blocks guests that do not exist yet and will need a privilege that the token lacks. What is made of an
// archive that cannot be read yet has no requests that could be asked, and half a guest would be left.
func lackForCreation(q questions.Questions, p *plan.Plan) {
	coming := toBeMade(q, p)
	if len(coming) == 0 {
		return
	}
	for _, need := range needs.OfObjects(q.Want, q.Have.Node, coming) {
		if q.Have.Permissions.Has(need.Path, need.Privilege) {
			continue
		}
		if need.Privilege == "SDN.Use" && questions.HasOnBridge(q, need.Path) {
			continue
		}
		lacks := questions.Missing(q, need.Path, need.Privilege)
		if slices.ContainsFunc(p.Blocked, func(b plan.Blocked) bool { return strings.Contains(b.Reason, lacks.Reason) }) {
			continue
		}
		p.Blocked = append(p.Blocked, plan.Blocked{Object: need.Object, Pos: q.Want.Object(need.Object).Pos,
			Reason: fmt.Sprintf("%s, which it needs: %s", lacks.Reason, need.For), Fix: lacks.Fix})
	}
}

// toBeMade are the guests of a plan that are not there and that it makes later.
func toBeMade(q questions.Questions, p *plan.Plan) []spec.Ref {
	coming := map[spec.Ref]bool{}
	for i := range p.Deferred {
		ref := p.Deferred[i].Object
		if ref.Kind != spec.KindRestore && ref.Kind != spec.KindGuest {
			continue
		}
		if g := q.Want.Guest(ref.Name); g != nil && q.Have.Guests[g.VMID] == nil {
			coming[ref] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(p.Objects), func(ref spec.Ref) bool { return !coming[ref] })
}
