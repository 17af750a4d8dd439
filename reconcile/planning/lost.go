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
func markerLost(p *planner, g *spec.Guest, have *node.GuestState) (out outcome) {
	if !strings.EqualFold(have.Config.Hostname(), g.Hostname()) {
		return out
	}
	witness, born, remembered := questions.Witness(p.Questions, g, have)
	if witness == "" {
		return out
	}
	m := marker.Marker{Object: g.Ref.Name, VMID: g.VMID, Owner: p.Have.Owner, Born: born}
	if !remembered { // it is backed up meanwhile; what is only remembered may be another guest now
		out.lost = &m
	}
	out.down = blockLost(p, &g.Object, m, witness)
	return out
}

// blockLost gives the line that brings an ownership marker back.
func blockLost(p *planner, o *spec.Object, m marker.Marker, witness string) (down string) {
	p.block(o, "vmid", fmt.Sprintf("the ownership marker of %d is missing (its Notes were edited), but %s shows that it is managed; its configuration and run state are not changed until you restore it", m.VMID, witness),
		"paste this line into its Notes: <!-- "+m.String()+" -->")
	return "its ownership marker is missing"
}

// goldenLost is markerLost for a golden image, whose archives and whose making are remembered
// likewise.
func goldenLost(p *planner, golden *spec.Golden, have *node.GuestState) (down string) {
	if len(marker.FindMarkers(have.Config.Description())) > 0 {
		return ""
	}
	witness, m := "", marker.Marker{}
	if archives := node.GoldenArchives(p.Have, golden); len(archives) > 0 {
		m, _ = p.Have.MarkerOf(archives[0].Notes)
		witness = archives[0].VolID
	} else if known, ok := questions.Remembered(p.Questions, &golden.Object, golden.VMID); ok {
		witness, m = "the journal of this agent", known
	}
	if witness == "" || !strings.EqualFold(have.Config.Hostname(), golden.Ref.Name) {
		return ""
	}
	return blockLost(p, &golden.Object, marker.Marker{Object: golden.Ref.Name, VMID: golden.VMID, Owner: p.Have.Owner, Born: m.Born}, witness)
}
