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
	for _, need := range needs.Of(q.Want, q.Have.Node) {
		if !slices.Contains(p.Objects, need.Object) || !toBeMade(q, p, need.Object) || q.Have.Permissions.Has(need.Path, need.Privilege) {
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

// toBeMade reports whether a guest is not there and the plan makes it later.
func toBeMade(q questions.Questions, p *plan.Plan, ref spec.Ref) bool {
	if ref.Kind != spec.KindRestore && ref.Kind != spec.KindGuest {
		return false
	}
	g := q.Want.Guest(ref.Name)
	return g != nil && q.Have.Guests[g.VMID] == nil && slices.ContainsFunc(p.Deferred, func(d plan.Deferred) bool { return d.Object == ref })
}
