package questions

import (
	"fmt"
	"slices"

	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// HoldTag is the tag by which anybody who may edit a guest in the web UI stops the
// agent on it.
const HoldTag = "felhom-hold"

// Frozen says why an object is to be left alone, and how it is let go: the YAML, a
// hold, or the tag on its guest. What is frozen is planned all the same, so that its
// line can say how much waits.
func Frozen(q Questions, ref spec.Ref) (why, fix string) {
	o := q.Want.Object(ref)
	if o.Paused {
		return "paused by the YAML", "remove `paused: true` when it may go on"
	}
	if h, ok := q.Have.Stored.Hold(o, state.HoldPerson, q.Have.Now); ok {
		return holdText(q, h), "felhom-agent --release " + h.Name
	}
	if vmid, ok := Vmid(q, ref); ok {
		if state := q.Have.Guests[vmid]; state != nil && slices.Contains(state.Tags, HoldTag) {
			return fmt.Sprintf("tag %s on %d", HoldTag, vmid), "remove it in the web UI"
		}
	}
	if ref.Kind == spec.KindSnapshot { // a hold on a guest stops its snapshots too
		if g := q.Want.Guest(q.Want.Snapshots[ref.Name].Guest); g != nil {
			if why, fix := Frozen(q, g.Ref); why != "" {
				return fmt.Sprintf("%s: %s", g.Ref, why), fix
			}
		}
	}
	return "", ""
}

func holdText(q Questions, h state.Hold) string {
	text := "on hold"
	if h.Name == "all" {
		text = "everything is on hold"
	}
	if h.By != "" {
		text += " by " + h.By
	}
	text += " since " + q.Have.Date(h.Since)
	if !h.Until.IsZero() {
		text += " until " + q.Have.Date(h.Until)
	}
	if h.Why != "" {
		text += fmt.Sprintf(" (%s)", h.Why)
	}
	return text
}

// WaitsForPerson says why an action waits for approval, in watch mode: you have not
// yet run the agent on this node, with this journal, under this major version of PVE.
func WaitsForPerson(q Questions, a *plan.Action) (why string, fix []string) {
	stored := q.Have.Stored
	if a.Facts[journal.FactDeletes] != "" && q.Have.Unreviewed && !Approved(q, a.Object) {
		return fmt.Sprintf("this deletion was in no plan that you have seen: %s", text.OrElse(a.Text, a.Verb)), []string{"review it: felhom-agent --plan", "then approve it: felhom-agent --once"}
	}
	here := stored.Trusted != "" && stored.TrustedOn == q.Have.Node
	if !q.Have.Watching || a.Effect == plan.Safe || here && stored.Trusted == state.Major(q.Have.Version) {
		return "", nil
	}
	why = "waiting for approval"
	if here {
		why = fmt.Sprintf("PVE has changed from version %s to %s since the last approval", stored.Trusted, state.Major(q.Have.Version))
	}
	return fmt.Sprintf("%s: %s", why, text.OrElse(a.Text, a.Verb)), []string{"review it: felhom-agent --plan", "then approve it: felhom-agent --once"}
}

// Approved reports whether the deletion of the guest that an object has now was in a plan that somebody has seen.
func Approved(q Questions, ref spec.Ref) bool {
	seen, ok := q.Have.Stored.Deletions[ref.String()]
	now, here := Doomed(q, ref)
	return ok && here && seen.VMID == now.VMID && seen.Born.Equal(now.Born)
}

// Doomed is the guest that an object with ensure: absent has now: its number, and since when it has lived.
func Doomed(q Questions, ref spec.Ref) (d state.Deletion, here bool) {
	g := q.Want.Guest(ref.Name)
	if g == nil || g.Ref != ref || !g.Absent {
		return d, false
	}
	s := q.Have.Guests[g.VMID]
	if s == nil || s.Config == nil {
		return d, false
	}
	m, ok := marker.OneMarker(s.Config.Description())
	return state.Deletion{VMID: g.VMID, Born: m.Born, Seen: q.Have.Now}, ok
}
