package planning

import (
	"slices"

	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// outside names what the plan does nothing about: objects that are no longer declared, guests
// that no backup covers, and guests that nobody declares.
func (p *Planner) outside() {
	for _, d := range questions.Left(p.Questions, p.Have.Stored.Known) {
		p.Plan.Notes = append(p.Plan.Notes, plan.Note{Object: d.Object, Text: d.Text})
	}
	p.Plan.Uncovered = questions.Uncovered(p.Questions, p.Plan.Guests)
	p.Plan.Unmanaged = questions.Unmanaged(p.Questions)
}

// oddities notes what is probably a mistake in the YAML and blocks nothing.
func (p *Planner) oddities() {
	unlisted := questions.UnlistedBridges(p.Questions)
	for _, ref := range p.Plan.Objects {
		o := p.Want.Object(ref)
		if text := questions.Unpruned(p.Questions, ref); text != "" {
			p.note(o, "%s", text)
		}
		for _, text := range unlisted[ref] {
			p.note(o, "%s", text)
		}
		if ref.Kind != spec.KindRestore && ref.Kind != spec.KindGuest {
			continue
		}
		ob := questions.TooLittleMemory(p.Want.Guest(ref.Name).Config)
		if ob != nil && !slices.ContainsFunc(p.Plan.Blocked, func(b plan.Blocked) bool { return b.Object == ref && b.Reason == ob.Reason }) {
			p.note(o, "%s", ob.Reason)
		}
	}
}

// unfit blocks a guest that is to be made from a golden image and could not live: with too
// little memory, or a smaller rootfs than the image has.
func (p *Planner) unfit(g *spec.Guest, golden *spec.Golden) bool {
	few, small := questions.TooLittleMemory(g.Config), questions.SmallerThanImage(p.Questions, g, golden)
	if few != nil {
		p.hold(&g.Object, "config.memory", few.Reason, few.Fix...)
	}
	if small != nil {
		p.hold(&g.Object, "rootfs", small.Reason, small.Fix...)
	}
	return few != nil || small != nil
}
