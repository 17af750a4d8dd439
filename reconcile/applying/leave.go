package applying

import (
	"fmt"
	"maps"
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// leave names, once, the objects that have left the YAML and were managed. Nothing is ever
// destroyed because a line went missing, and of what was never managed nothing is said.
func leave(stored *state.Stored, want *spec.Desired, have *node.Observed) []Event {
	known, declaredNow, renamed := map[string]proxmox.VMID{}, map[string]bool{}, map[string]bool{}
	vmids := map[spec.Ref]proxmox.VMID{}
	for name, golden := range want.Golden {
		vmids[spec.Ref{Kind: spec.KindGolden, Name: name}] = golden.VMID
	}
	for _, g := range node.GuestsOf(want) {
		vmids[g.Ref] = g.VMID
	}
	for _, ref := range want.Refs() {
		o := want.Object(ref)
		declaredNow[ref.String()] = true
		renamed[spec.Ref{Kind: ref.Kind, Name: o.Was}.String()] = true
		before, was := stored.Known[ref.String()]
		if vmid, managed := managed(o, vmids[ref], have, before, was); managed {
			known[ref.String()] = vmid
		}
	}
	declared := node.DeclaredVMIDs(want)
	var left []Event
	for _, name := range slices.Sorted(maps.Keys(stored.Known)) {
		if declaredNow[name] || renamed[name] {
			continue
		}
		ref, err := spec.ParseRef(name)
		if err != nil {
			continue
		}
		text := "no longer in the YAML, so no longer managed; what it has made stays"
		switch vmid := stored.Known[name]; {
		case vmid == 0 || have.Guests[vmid] == nil:
		case declared[vmid]:
			text = fmt.Sprintf("no longer in the YAML under this name; %d is declared under another", vmid)
		default:
			text = fmt.Sprintf("no longer in the YAML, so no longer managed; %d stays as it is. For those who want it gone: pct destroy %d", vmid, vmid)
		}
		left = append(left, Event{Time: have.Now, Object: ref, Verb: "leave", State: "note", Text: text})
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
	if ok && have.Owns(m, o, vmid) {
		return vmid, true
	}
	return 0, acted
}
