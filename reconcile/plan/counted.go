package plan

import "slices"

// Steps are all steps of a plan, in order: those that are ready and those that follow.
func (p *Plan) Steps() []Deferred {
	all := make([]Deferred, 0, len(p.Actions)+len(p.Deferred))
	for i := range p.Actions {
		all = append(all, Defer(&p.Actions[i], ""))
	}
	return append(all, p.Deferred...)
}

// Deletions are how many snapshots, archives and guests a plan deletes, and why it does the first two.
type Deletions struct {
	Snapshots, Archives, Guests int
	Causes                      []string
}

// Deletions counts what all steps delete.
func (p *Plan) Deletions() (d Deletions) {
	for _, l := range p.Steps() {
		if l.Effect == Destroying {
			d.Guests++
		}
		if l.Effect != Deleting {
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
