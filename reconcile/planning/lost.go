package planning

import (
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// markerLost finds out whether a guest without an ownership marker is managed all the same:
// somebody edited its notes, but its snapshots or archives, the journal or the state know it.
func (p *Planner) markerLost(g *spec.Guest, have *node.GuestState) bool {
	if !strings.EqualFold(have.Config.Hostname(), g.Hostname()) {
		return false
	}
	witness, born := p.witness(g, have)
	if witness == "" {
		return false
	}
	m := marker.Marker{Object: g.Ref.Name, VMID: g.VMID, Owner: p.Have.Owner, Born: born}
	p.lost[g.Ref.Name] = m
	p.holdLost(&g.Object, m, witness)
	return true
}

// witness names what shows that a guest is managed, and since when. What lies on a storage or
// in the guest comes before what this agent remembers.
func (p *Planner) witness(g *spec.Guest, have *node.GuestState) (what string, born time.Time) {
	sees := func(text string) bool {
		m, ok := marker.OneMarker(text)
		born = m.Born
		return ok && m.Owner == p.Have.Owner && m.VMID == g.VMID && m.Facts["guest"] == g.Ref.Name
	}
	if have.Snapshots != nil {
		for _, s := range have.Snapshots.Snapshots {
			if sees(s.Description) {
				return "snapshot " + s.Name, born
			}
		}
	}
	for _, v := range p.Have.ByGuest[g.VMID] {
		if v.Content == "backup" && sees(v.Notes) {
			return v.VolID, born
		}
	}
	if m, ok := p.remembered(&g.Object, g.VMID); ok {
		return "the journal of this agent", m.Born
	}
	if last, ok := p.Have.Stored.Backups[g.Ref.Name]; ok && p.Have.Stored.Known[g.Ref.String()] == g.VMID {
		return fmt.Sprintf("the state of this agent (a backup of %s on %s)", p.Have.Date(last.Time), last.Storage), last.Time.UTC().Truncate(time.Second)
	}
	return "", time.Time{}
}

// remembered is the marker that this agent wrote last into the notes of an object's guest, as
// far as the journal reaches.
func (p *Planner) remembered(o *spec.Object, vmid proxmox.VMID) (marker.Marker, bool) {
	for object, notes := range p.Have.Memory.Notes {
		if m, ok := marker.OneMarker(notes); ok && state.Called(o, object) && p.Have.Owns(m, o, vmid) {
			return m, true
		}
	}
	return marker.Marker{}, false
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
	} else if known, ok := p.remembered(&golden.Object, golden.VMID); ok {
		witness, m = "the journal of this agent", known
	}
	if witness == "" || !strings.EqualFold(have.Config.Hostname(), golden.Ref.Name) {
		return false
	}
	p.holdLost(&golden.Object, marker.Marker{Object: golden.Ref.Name, VMID: golden.VMID, Owner: p.Have.Owner, Born: m.Born}, witness)
	return true
}
