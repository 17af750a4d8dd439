package plan

import (
	"slices"

	"github.com/felhom/felhom-agent/reconcile/deliberate"
)

// Steps are all steps of a plan, in order: those that are ready and those that follow.
func (p *Plan) Steps() []Later {
	all := make([]Later, 0, len(p.Actions)+len(p.Laters))
	for i := range p.Actions {
		all = append(all, Deferred(&p.Actions[i], ""))
	}
	return append(all, p.Laters...)
}

// deletions are how many snapshots and archives a plan deletes, and why.
type deletions struct {
	Snapshots, Archives int
	Causes              []string
}

func (p *Plan) Deletions() (d deletions) {
	for i, l := range p.Steps() {
		if l.Effect != Deleting || deliberate.Deliberate.ForgetDeletions && i >= len(p.Actions) {
			continue
		}
		if l.VolID != "" {
			d.Archives++
		} else {
			d.Snapshots++
		}
		if l.Cause != "" && !slices.Contains(d.Causes, l.Cause) {
			d.Causes = append(d.Causes, l.Cause)
		}
	}
	return d
}
