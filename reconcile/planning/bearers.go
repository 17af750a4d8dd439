package planning

import (
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
)

// bearers are the guests of a node by the object whose ownership marker they bear. The plan of a part takes over what the plan
// before it knows: of a thousand configs one was read anew. What is taken over is only read.
type bearers struct {
	of   map[string][]proxmox.VMID             // by object
	read map[proxmox.VMID]*proxmox.GuestConfig // the configs that say so; nobody changes them
	anew map[proxmox.VMID]string               // guests of which another config was read since -> the object; "": they bear no marker
}

// markedAs are the guests of this node that bear the ownership marker of an object, by VMID.
func (b *builder) markedAs(object string) []proxmox.VMID {
	if !b.asked {
		b.bearers, b.asked = b.bearers.on(b.questions.Have), true
	}
	return b.bearers.find(object)
}

// on are the bearers of a node.
func (b bearers) on(have *node.Observed) bearers {
	if anew := b.changed(have); len(anew) <= len(b.read)/8 {
		b.anew = map[proxmox.VMID]string{}
		for _, vmid := range anew {
			b.anew[vmid] = markedFor(have, vmid)
		}
		return b
	}
	all := bearers{of: make(map[string][]proxmox.VMID, len(have.Guests)), read: make(map[proxmox.VMID]*proxmox.GuestConfig, len(have.Guests))}
	for vmid, state := range have.Guests {
		all.read[vmid] = state.Config
		if object := markedFor(have, vmid); object != "" {
			all.of[object] = append(all.of[object], vmid)
		}
	}
	return all
}

// changed are the guests that have another config than the one that was read, or are gone.
func (b bearers) changed(have *node.Observed) (changed []proxmox.VMID) {
	for vmid, state := range have.Guests {
		if state.Config != b.read[vmid] {
			changed = append(changed, vmid)
		}
	}
	for vmid := range b.read {
		if have.Guests[vmid] == nil {
			changed = append(changed, vmid)
		}
	}
	return changed
}

// markedFor is the object whose ownership marker a guest bears, "" for none.
func markedFor(have *node.Observed, vmid proxmox.VMID) string {
	if state := have.Guests[vmid]; state != nil && state.Config != nil {
		if m, ok := marker.OneMarker(state.Config.Description()); ok && m.Owner == have.Owner && m.VMID == vmid {
			return m.Object
		}
	}
	return ""
}

func (b bearers) find(object string) (found []proxmox.VMID) {
	for _, vmid := range b.of[object] {
		if _, other := b.anew[vmid]; !other {
			found = append(found, vmid)
		}
	}
	for vmid, now := range b.anew {
		if now == object {
			found = append(found, vmid)
		}
	}
	slices.Sort(found)
	return found
}
