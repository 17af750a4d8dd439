package planning

import (
	"slices"

	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// outside names what the plan does nothing about: objects that are no longer declared, guests
// that no backup covers, and guests that nobody declares.
func outside(q questions.Questions, pl *plan.Plan) {
	for _, d := range questions.Left(q, q.Have.Stored.Known) {
		pl.Notes = append(pl.Notes, plan.Note{Object: d.Object, Text: d.Text})
	}
	pl.Uncovered = questions.Uncovered(q, pl.Guests)
	pl.Unmanaged = questions.Unmanaged(q)
}

// oddities notes what is probably a mistake in the YAML and blocks nothing.
func oddities(q questions.Questions, b *builder) {
	unlisted := questions.UnlistedBridges(q, b.plan.Objects)
	for _, ref := range b.plan.Objects {
		o := q.Want.Object(ref)
		if text := questions.Unpruned(q, ref); text != "" {
			b.note(o, "%s", text)
		}
		for _, text := range unlisted[ref] {
			b.note(o, "%s", text)
		}
		if ref.Kind != spec.KindRestore && ref.Kind != spec.KindGuest {
			continue
		}
		ob := questions.TooLittleMemory(q.Want.Guest(ref.Name).Config)
		if ob != nil && !slices.ContainsFunc(b.plan.Blocked, func(have plan.Blocked) bool { return have.Object == ref && have.Reason == ob.Reason }) {
			b.note(o, "%s", ob.Reason)
		}
	}
}

// unfit blocks a guest that is to be made from a golden image and could not live: with too
// little memory, or a smaller rootfs than the image has.
func unfit(p *planner, g *spec.Guest, golden *spec.Golden) bool {
	few, small := questions.TooLittleMemory(g.Config), questions.SmallerThanImage(p.Questions, g, golden)
	if few != nil {
		p.block(&g.Object, "config.memory", few.Reason, few.Fix...)
	}
	if small != nil {
		p.block(&g.Object, "rootfs", small.Reason, small.Fix...)
	}
	return few != nil || small != nil
}
