package planning

import (
	"fmt"
	"slices"

	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// limitDeletions holds every deletion of a plan in which too much is beyond what is kept:
// that is the sign of a wrong clock or a wrong keep, not of work to do. It counts what the
// whole plan deletes, beyond one of each object and guest; and every guest that it deletes.
func limitDeletions(b *builder) {
	most := b.questions.Have.MaxDeletions
	if most <= 0 {
		return
	}
	type series struct {
		object spec.Ref
		guest  string
	}
	guests := map[spec.Ref]bool{}
	first, wanted, beyond := map[series]bool{}, map[spec.Ref]int{}, 0
	see := func(object spec.Ref, guest string, effect plan.Effect) {
		if effect == plan.Destroying {
			guests[object] = true
			beyond++
		}
		if effect != plan.Deleting {
			return
		}
		wanted[object]++
		if s := (series{object, guest}); first[s] {
			beyond++
		} else {
			first[s] = true
		}
	}
	for _, a := range b.plan.Actions {
		see(a.Object, a.Guest, a.Effect)
	}
	for _, l := range b.plan.Deferred {
		see(l.Object, l.Guest, l.Effect)
	}
	if beyond <= most {
		return
	}
	goes := func(object spec.Ref, effect plan.Effect) bool { return effect == plan.Deleting || guests[object] } // with what leads to its deletion
	b.plan.Actions = slices.DeleteFunc(b.plan.Actions, func(a plan.Action) bool { return goes(a.Object, a.Effect) })
	b.plan.Deferred = slices.DeleteFunc(b.plan.Deferred, func(l plan.Deferred) bool { return goes(l.Object, l.Effect) })
	for _, ref := range b.plan.Objects {
		what, field := text.Count(wanted[ref], "snapshot or archive", "snapshots and archives"), "keep"
		if guests[ref] {
			what, field = "its guest", "ensure"
		}
		if wanted[ref] > 0 || guests[ref] {
			b.block(b.questions.Want.Object(ref), field, fmt.Sprintf("wants to delete %s; with the others that is %d beyond one per object and guest, and %d are allowed (max_destructive)", what, beyond, most),
				"check that the node's clock, `keep` and `ensure` are right", fmt.Sprintf("if they are: FELHOM_AGENT_MAX_DESTRUCTIVE=%d felhom-agent --once", beyond))
		}
	}
}
