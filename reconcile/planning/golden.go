package planning

import (
	"fmt"
	"strconv"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// planGolden plans a golden image: built by root via the root helper, sealed, and published
// as an archive from which restores are made.
func planGolden(p *planner, golden *spec.Golden) outcome {
	if inFlux(p, &golden.Object, golden.VMID) {
		return outcome{} // it will be published: others wait for it
	}
	before := p.mark()
	out := planGoldenState(p, golden, p.Have.Guests[golden.VMID])
	if blocked := p.blocked(before); len(blocked) > 0 && !blocked[0].Passing {
		out.down = blocked[0].Reason
	}
	return out
}

func planGoldenState(p *planner, golden *spec.Golden, state *node.GuestState) outcome {
	o := &golden.Object
	if state == nil {
		planMissingGolden(p, golden)
		return outcome{}
	}
	if state.Err != nil {
		blockUnread(p, o, golden.VMID, proxmox.LXC, state.Err)
		return outcome{}
	}
	if down := cutOff(p, o, state); down != "" {
		return outcome{down: down}
	}
	marker, ok := marker.OneMarker(state.Config.Description())
	if !ok || !node.Owns(p.Have, marker, o, golden.VMID) {
		down := goldenLost(p, golden, state)
		if down == "" {
			p.block(o, "vmid", fmt.Sprintf("%d exists and is not this golden image (hostname %s)", golden.VMID, state.Config.Hostname()), "choose another vmid, or destroy it yourself")
		}
		return outcome{down: down}
	}
	if stale(p, o, state) {
		return outcome{down: isLocked, locked: true}
	}
	if down := blockUnreadable(p, o, state); down != "" {
		return outcome{down: down}
	}
	if have, err := strconv.Atoi(marker.Facts["revision"]); err == nil && golden.Publish != nil && golden.Publish.Revision < have {
		p.block(o, "publish.revision", fmt.Sprintf("revision %d is declared, and %d has the higher revision %d", golden.Publish.Revision, golden.VMID, have),
			fmt.Sprintf("to publish what it is now: revision: %d", have+1), fmt.Sprintf("to leave it: revision: %d", have))
		return outcome{}
	}
	planPresentGolden(p, golden, state, marker)
	return outcome{}
}

// planPresentGolden brings a golden image that is here to what is declared, and publishes it.
func planPresentGolden(p *planner, golden *spec.Golden, state *node.GuestState, marker marker.Marker) {
	o := &golden.Object
	goldenNotes(p, golden, state, marker)
	marker.Object = golden.Ref.Name
	want := marker
	if golden.Publish != nil {
		want = marker.With("revision", strconv.Itoa(golden.Publish.Revision)).With("digest", node.GoldenDigest(golden))
		if want.String() != marker.String() {
			want = want.With("sealed", "") // somebody may have worked in it since
		}
	}
	if d := questions.CompareConfig(p.Questions, o, golden.Config, state, want, ""); !d.Empty() {
		call := proxmox.On(p.Have.Node).SetConfig(golden.VMID, proxmox.ConfigChange{Set: d.Set, Delete: d.Drop, Digest: state.Config.Digest})
		a := plan.Action{ID: o.Ref.String() + "/config", Object: o.Ref, Verb: "set", Symbol: plan.Change, Fields: d.Fields, Queue: Queue(golden.VMID), Timeout: questions.Timeout(o, questions.ShortTask), Call: &call}
		if len(d.Fields) == 0 {
			a.Text = fmt.Sprintf("write revision %s into the ownership marker of %d", want.Facts["revision"], golden.VMID)
		}
		p.add(a)
		return
	}
	before := p.mark()
	planGoldenParts(p, golden, state)
	if golden.Publish != nil && !p.acted(before) && len(p.blocked(before)) == 0 {
		planPublish(p, golden, state, marker)
	}
}

// planGoldenParts plans the volumes, devices and protection of a golden image, one action at
// a time. They are a part of what is published.
func planGoldenParts(p *planner, golden *spec.Golden, state *node.GuestState) {
	guest := node.GoldenGuest(golden)
	guest.RootFS = spec.RootFS{} // fixed at birth
	before := p.mark()
	for _, part := range []func(*planner, *spec.Guest, *node.GuestState){planVolumes, planDevices, planProtection} {
		if !p.acted(before) {
			part(p, guest, state)
		}
	}
}

// planMissingGolden brings a golden back from its own newest archive, in which
// somebody may have installed software; only without any is it built anew.
func planMissingGolden(p *planner, golden *spec.Golden) {
	o := &golden.Object
	if !mayCreate(p, o, golden.VMID, proxmox.LXC) {
		return
	}
	guest := node.GoldenGuest(golden)
	if golden.Publish != nil {
		ob := questions.Seen(p.Questions, p.mounting, golden.Publish.Storage)
		if ob == nil {
			ob = questions.ListsBackups(p.Questions, golden.Publish.Storage)
		}
		if ob == nil {
			ob = node.GoldenBlocker(p.Have, golden)
		}
		if ob != nil {
			p.blockFor(o, "publish.storage", ob, plan.Deferred{Verb: "create", Symbol: plan.Create, Text: fmt.Sprintf("create %d from its newest archive, else from the template", golden.VMID)})
			return
		}
		if v := node.NewestGolden(p.Have, golden); v != nil {
			inside := p.Have.Inside[v.VolID]
			if inside.Err != nil {
				p.block(o, "publish", fmt.Sprintf("the config inside %s cannot be read: %v", v.VolID, inside.Err), questions.FixOf(inside.Err, "delete the archive, or move it away")...)
				return
			}
			planRestore(p, guest, spec.Source{Newest: golden.Publish.Storage}, &node.Choice{Volume: *v, Inside: inside.Config})
			return
		}
	}
	if ob := questions.TooLittleMemory(golden.Config); ob != nil {
		p.block(o, "config.memory", ob.Reason, ob.Fix...)
		return
	}
	s := fmt.Sprintf("create %d: %s, %s on %s", golden.VMID, text.TemplateName(golden.Template), golden.RootFS.Size, golden.RootFS.Storage)
	for _, f := range text.SortedFlags(golden.Features) {
		s += ", " + f
	}
	if _, ok := mayBeEmpty(p, guest, s); !ok {
		return
	}
	if p.Have.Host == nil {
		ob := questions.NeedsHost(p.Questions)
		p.block(o, "template", ob.Reason, ob.Fix...)
		return
	}
	storage := text.ProxmoxStorage(golden.Template)
	state := p.Have.Storages[storage]
	if state == nil || state.Read && state.Err == nil && p.Have.Volume(golden.Template) == nil {
		p.block(o, "template", fmt.Sprintf("the template %s is not there", golden.Template), "see: pveam available; then: pveam download "+storage+" TEMPLATE")
		return
	}
	if ob := questions.TakesVolumes(p.Questions, golden.RootFS.Storage); ob != nil {
		p.block(o, "rootfs.storage", ob.Reason, ob.Fix...)
		return
	}
	op := privileged.CreateGoldenLXC(p.Have.Node, questions.GoldenSpec(p.Questions, golden))
	p.add(plan.Action{ID: o.Ref.String() + "/create", Object: o.Ref, Verb: "create", Symbol: plan.Create,
		Text: s, Queue: Queue(golden.VMID), Limit: "create " + golden.RootFS.Storage, Timeout: questions.Timeout(o, longTask), Op: &op, Facts: map[string]string{"makes": golden.VMID.String()}})
}
