package planning

import (
	"fmt"
	"strings"

	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// markerLost finds out whether a guest without an ownership marker is managed all the same:
// somebody edited its notes, but its snapshots or archives, the journal or the state know it.
func (p *Planner) markerLost(g *spec.Guest, have *node.GuestState) bool {
	if !strings.EqualFold(have.Config.Hostname(), g.Hostname()) {
		return false
	}
	witness, born, remembered := questions.Witness(p.Questions, g, have)
	if witness == "" {
		return false
	}
	m := marker.Marker{Object: g.Ref.Name, VMID: g.VMID, Owner: p.Have.Owner, Born: born}
	if !remembered { // it is backed up meanwhile; what is only remembered may be another guest now
		p.lost[g.Ref.Name] = m
	}
	p.holdLost(&g.Object, m, witness)
	return true
}

// holdLost gives the line that brings an ownership marker back.
func (p *Planner) holdLost(o *spec.Object, m marker.Marker, witness string) {
	p.unmet[o.Ref.Name] = "its ownership marker is missing"
	p.hold(o, "vmid", fmt.Sprintf("the ownership marker of %d is missing (its Notes were edited), but %s shows that it is managed; its configuration and run state are not changed until you restore it", m.VMID, witness),
		"paste this line into its Notes: <!-- "+m.String()+" -->")
}

// goldenLost is markerLost for a golden image, whose archives and whose making are remembered
// likewise.
func (p *Planner) goldenLost(golden *spec.Golden, have *node.GuestState) bool {
	if len(marker.FindMarkers(have.Config.Description())) > 0 {
		return false
	}
	witness, m := "", marker.Marker{}
	if archives := p.Have.GoldenArchives(golden); len(archives) > 0 {
		m, _ = marker.OneMarker(archives[0].Notes)
		witness = archives[0].VolID
	} else if known, ok := questions.Remembered(p.Questions, &golden.Object, golden.VMID); ok {
		witness, m = "the journal of this agent", known
	}
	if witness == "" || !strings.EqualFold(have.Config.Hostname(), golden.Ref.Name) {
		return false
	}
	p.holdLost(&golden.Object, marker.Marker{Object: golden.Ref.Name, VMID: golden.VMID, Owner: p.Have.Owner, Born: m.Born}, witness)
	return true
}
