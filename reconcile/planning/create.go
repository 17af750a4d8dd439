package planning

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// planMissing plans the creation of a guest that is not on this node.
func planMissing(p *planner, g *spec.Guest) outcome {
	before := p.mark()
	out := create(p, g)
	out.down = "it does not exist yet"
	if len(p.blocked(before)) > 0 {
		out.down = "it is not here, and blocked"
	}
	return out
}

// create plans the creation of a guest from the first of its sources that exists, and never
// an empty guest where its data exists.
func create(p *planner, g *spec.Guest) outcome {
	if !mayCreate(p, &g.Object, g.VMID, g.Type) || goneBefore(p, g) || storageMissing(p, g) {
		return outcome{}
	}
	var passed []string
	for _, source := range g.From {
		if source.Golden != "" {
			return planFromGolden(p, g, source, passed)
		}
		take := fromNewest
		if source.Archive != "" {
			take = fromArchive
		}
		if out, why, taken := take(p, g, source); taken {
			return out
		} else {
			passed = append(passed, why...)
		}
	}
	reason := fmt.Sprintf("%d does not exist, and none of its sources does: %s", g.VMID, sources(g))
	p.block(&g.Object, "from", strings.Join(append([]string{reason}, passed...), "; "), "make one of them, or add another source to from")
	return outcome{}
}

// goneBefore blocks the creation of a guest that is to come from nowhere, and of one that
// was here already: what went away on purpose must not come back by itself.
func goneBefore(p *planner, g *spec.Guest) bool {
	if len(g.From) == 0 {
		p.block(&g.Object, "vmid", fmt.Sprintf("there is no %s %d here, and nothing says from what to make it", g.Type.Noun(), g.VMID),
			"correct the vmid, remove the object, or say where its backups lie: from: {newest: STORAGE}")
		return true
	}
	if destroyed(p, &g.Object, g.VMID) {
		return true
	}
	made := questions.Made(p.Questions, g)
	if made.IsZero() || p.Have.Named[g.Ref] {
		return false
	}
	serverFirst(p, g)
	p.block(&g.Object, "vmid", fmt.Sprintf("%d was made by this agent on %s and is not there any more", g.VMID, p.Have.Date(made)),
		fmt.Sprintf("to have it again: felhom-agent --once --only %s", g.Ref), "to let it go: remove it from the YAML")
	return true
}

// destroyed finds a guest that somebody else destroyed: a task that destroyed it and is newer than
// the last creation of that VMID. It waits for a person, for what was destroyed on
// purpose is not to come back by itself.
func destroyed(p *planner, o *spec.Object, vmid proxmox.VMID) bool {
	if p.Have.Named[o.Ref] {
		return false
	}
	by, at := "", time.Time{}
	for _, t := range p.Have.Tasks { // newest first
		if t.ID != vmid.String() || t.Running() || !t.OK() {
			continue
		}
		if proxmox.TaskAct(t.Type) == "destroy" {
			by, at = t.Owner(), t.EndTime
			break
		}
		if slices.Contains([]string{"create", "restore", "clone"}, proxmox.TaskAct(t.Type)) {
			break
		}
	}
	if h, ok := p.Have.Stored.Hold(o, state.HoldDestroyed, p.Have.Now); ok && at.IsZero() && h.Name != "all" {
		by, at = h.By, h.Since
	}
	if at.IsZero() {
		return false
	}
	p.seen(state.Hold{Name: o.Ref.String(), Kind: state.HoldDestroyed, By: by, Since: at})
	p.block(o, "vmid", fmt.Sprintf("%d was destroyed by %s on %s", vmid, by, p.Have.Date(at)),
		fmt.Sprintf("to have it again: felhom-agent --once --only %s", o.Ref), "to let it go: remove it from the YAML")
	return true
}

// fromNewest takes the newest complete archive of a storage. It reports whether that
// decides what becomes of the guest, or else why the archives there were passed over.
func fromNewest(p *planner, g *spec.Guest, source spec.Source) (out outcome, passed []string, taken bool) {
	if !questions.Released(p.Questions, g) {
		if ob := questions.Seen(p.Questions, p.mounting, source.Newest); ob != nil {
			return blockCreation(p, g, source, ob), nil, true
		}
		if ob := questions.ServerHides(p.Questions, source.Newest, g); ob != nil {
			return blockCreation(p, g, source, ob), nil, true
		}
		if ob := questions.NeverListed(p.Questions, source.Newest, g); ob != nil {
			return blockCreation(p, g, source, ob), nil, true
		}
		if ob := questions.Twin(p.Questions, source.Newest); ob != nil {
			p.block(&g.Object, "from", ob.Reason, ob.Fix...)
			return out, nil, true
		}
		if ob := questions.BackupsHidden(p.Questions, g, source); ob != nil {
			p.block(&g.Object, "from", ob.Reason+": its backups cannot be seen", ob.Fix...)
			return out, nil, true
		}
	}
	if ob := node.AmbiguousArchive(p.Have, source.Newest, node.SourceVMID(g, source)); ob != nil {
		p.block(&g.Object, "from", ob.Reason+"; nothing is restored from it", ob.Fix...)
		return out, nil, true
	}
	found, passed, unread := node.NewestArchive(p.Have, g, source)
	if unread != nil {
		p.blockFor(&g.Object, "from", unread, plan.Deferred{})
		return out, nil, true
	}
	if found == nil {
		return out, passed, false
	}
	return planRestore(p, g, source, found), nil, true
}

// fromArchive takes the archive that the YAML names, where it is there.
func fromArchive(p *planner, g *spec.Guest, source spec.Source) (out outcome, passed []string, taken bool) {
	storage, _, _ := strings.Cut(source.Archive, ":")
	if ob := questions.Seen(p.Questions, p.mounting, storage); ob != nil {
		return blockCreation(p, g, source, ob), nil, true
	}
	v := p.Have.Volume(source.Archive)
	if v == nil {
		return out, nil, false
	}
	if node.Ambiguous(*v) {
		p.block(&g.Object, "from", fmt.Sprintf("storage %s lists the archive %s twice, with different values; it is not restored", storage, v.VolID), fmt.Sprintf("compare: pvesm list %s", storage))
		return out, nil, true
	}
	if ob := node.KeyMissing(p.Have, *v); ob != nil {
		p.block(&g.Object, "from", ob.Reason, ob.Fix...)
		return out, nil, true
	}
	inside := p.Have.Inside[source.Archive]
	if inside.Err != nil {
		p.block(&g.Object, "from", fmt.Sprintf("the config inside %s cannot be read: %v", source.Archive, inside.Err), questions.FixOf(inside.Err, "name another archive")...)
		return out, nil, true
	}
	return planRestore(p, g, source, &node.Choice{Volume: *v, Inside: inside.Config}), nil, true
}

// mayCreate holds an object whose VMID is taken, may be taken by something that the
// token cannot see, or whose marker stands on another guest.
func mayCreate(p *planner, o *spec.Object, vmid proxmox.VMID, t proxmox.GuestType) bool {
	if ob := questions.OtherType(p.Questions, t, vmid); ob != nil {
		p.block(o, "vmid", ob.Reason, ob.Fix...)
		return false
	}
	if missing := questions.Missing(p.Questions, fmt.Sprintf("/vms/%d", vmid), "VM.Audit", "VM.Allocate"); missing != nil {
		p.block(o, "vmid", missing.Reason, missing.Fix...)
		return false
	}
	if p.Have.Taken[vmid] {
		p.block(o, "vmid", fmt.Sprintf("PVE says that %d is taken, by something that the token %s does not see", vmid, p.Have.TokenID),
			fmt.Sprintf("see as root: grep -l . /etc/pve/nodes/*/*/%d.conf; then choose another vmid", vmid))
		return false
	}
	for _, other := range p.markedAs(o.Ref.Name) {
		if other != vmid {
			p.block(o, "vmid", fmt.Sprintf("%s exists as %d; a VMID is fixed at creation", o.Ref.Name, other), fmt.Sprintf("write vmid: %d", other))
			return false
		}
	}
	return true
}
