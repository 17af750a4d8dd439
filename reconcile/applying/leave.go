package applying

import (
	"fmt"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// leave names, once, the objects that have left the YAML and were managed. Nothing is ever
// destroyed because a line went missing, and of what was never managed nothing is said.
func leave(stored *state.Stored, want *spec.Desired, have *node.Observed) []Event {
	known := map[string]proxmox.VMID{}
	vmids := map[spec.Ref]proxmox.VMID{}
	for name, golden := range want.Golden {
		vmids[spec.Ref{Kind: spec.KindGolden, Name: name}] = golden.VMID
	}
	for _, g := range want.AllGuests() {
		vmids[g.Ref] = g.VMID
	}
	for _, ref := range want.Refs() {
		o := want.Object(ref)
		before, was := stored.Known[ref.String()]
		if vmid, managed := managed(o, vmids[ref], have, before, was); managed {
			known[ref.String()] = vmid
		}
	}
	var left []Event
	for _, d := range questions.Left(questions.Questions{Want: want, Have: have}, stored.Known) {
		text := d.Text
		if d.VMID != 0 {
			text += fmt.Sprintf(". To destroy it: pct destroy %d", d.VMID)
		}
		left = append(left, Event{Time: have.Now, Object: d.Object, Verb: "leave", State: "note", Text: text})
	}
	stored.Known = known
	return left
}

// managed reports whether something of an object was ever managed, and its VMID where the
// guest itself says by its ownership marker that it is: another guest has that VMID, or
// had it before us, and is nobody's to delete. What this refresh did not read stays as it
// was known before.
func managed(o *spec.Object, vmid proxmox.VMID, have *node.Observed, before proxmox.VMID, was bool) (proxmox.VMID, bool) {
	acted := have.Memory.Changed[o.Ref.String()]
	if vmid == 0 { // no guest
		return 0, acted || was
	}
	guest := have.Guests[vmid]
	switch {
	case guest == nil:
		return 0, acted || was
	case guest.Config == nil:
		return before, acted || was
	}
	m, ok := marker.OneMarker(guest.Config.Description())
	if ok && node.Owns(have, m, o, vmid) {
		return vmid, true
	}
	return 0, acted
}
