package planning

import (
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
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
