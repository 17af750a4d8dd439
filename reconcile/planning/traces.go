package planning

import (
	"fmt"

	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// releasedFrom holds a blank while volumes or archives of the VMID, or archives with
// the object's marker, exist that are younger than `despite`.
func (p *Planner) releasedFrom(g *spec.Guest) bool {
	volumes, archives := questions.Traces(p.Questions, g)
	if len(volumes)+len(archives) == 0 {
		return true
	}
	p.hold(&g.Object, "from", fmt.Sprintf("%d is gone, but %s. I make no empty one", g.VMID, questions.TracesText(p.Questions, volumes, archives)),
		questions.BringBack(p.Questions, g, archives), "really start empty: "+despiteNow)
	return false
}
