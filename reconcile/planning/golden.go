package planning

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// planGolden plans a golden: built by root through the fence, sealed, and published
// as an archive from which restores are made.
func (p *Planner) planGolden(golden *spec.Golden) {
	o := &golden.Object
	name := golden.Ref.Name
	if p.inFlux(o, golden.VMID) {
		return // it will be published: others wait for it
	}
	unmet := len(p.Plan.Blocked)
	defer func() {
		if held := p.Plan.Blocked[unmet:]; len(held) > 0 && !held[0].Passing {
			p.unmet[name] = held[0].Reason
		}
	}()
	state := p.Have.Guests[golden.VMID]
	if state == nil {
		p.planMissingGolden(golden)
		return
	}
	if state.Err != nil {
		p.holdUnread(o, golden.VMID, state.Err)
		return
	}
	if p.cutOff(o, state) {
		return
	}
	marker, ok := marker.OneMarker(state.Config.Description())
	if !ok || !p.Have.Owns(marker, o, golden.VMID) {
		if p.goldenLost(golden, state) {
			return
		}
		p.hold(o, "vmid", fmt.Sprintf("%d exists and is not this golden (hostname %s)", golden.VMID, state.Config.Hostname()), "choose another vmid, or destroy it yourself")
		return
	}
	if p.stale(o, state) {
		return
	}
	if p.holdUnreadable(o, state) {
		return
	}
	if have, err := strconv.Atoi(marker.Facts["revision"]); err == nil && golden.Publish != nil && golden.Publish.Revision < have {
		p.hold(o, "publish.revision", fmt.Sprintf("revision %d is declared, and %d has the higher revision %d", golden.Publish.Revision, golden.VMID, have),
			fmt.Sprintf("to publish what it is now: revision: %d", have+1), fmt.Sprintf("to leave it: revision: %d", have))
		return
	}
	p.goldenNotes(golden, state, marker)
	marker.Object = name
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
			a.Text = fmt.Sprintf("write revision %s into the marker of %d", want.Facts["revision"], golden.VMID)
		}
		p.act(a)
		return
	}
	actions, held := len(p.Plan.Actions), len(p.Plan.Blocked)
	p.planGoldenParts(golden, state)
	if golden.Publish != nil && len(p.Plan.Actions) == actions && len(p.Plan.Blocked) == held {
		p.planPublish(golden, state, marker)
	}
}

// planGoldenParts plans the volumes, devices and protection of a golden, one act at a
// time. They are a part of what is published.
func (p *Planner) planGoldenParts(golden *spec.Golden, state *node.GuestState) {
	guest := node.GoldenGuest(golden)
	guest.RootFS = spec.RootFS{} // fixed at birth
	before := len(p.Plan.Actions)
	for _, plan := range []func(*spec.Guest, *node.GuestState){p.planVolumes, p.planDevices, p.planProtection} {
		if len(p.Plan.Actions) == before {
			plan(guest, state)
		}
	}
}

// planMissingGolden brings a golden back from its own newest archive, in which
// somebody may have installed software; only without any is it built anew.
func (p *Planner) planMissingGolden(golden *spec.Golden) {
	o := &golden.Object
	if !p.mayCreate(o, golden.VMID) {
		return
	}
	guest := node.GoldenGuest(golden)
	if golden.Publish != nil {
		ob := p.Seen(golden.Publish.Storage)
		if ob == nil {
			ob = questions.ListsBackups(p.Questions, golden.Publish.Storage)
		}
		if ob == nil {
			ob = p.Have.GoldenBlocker(golden)
		}
		if ob != nil {
			p.holdFor(o, "publish.storage", ob, plan.Deferred{Verb: "create", Symbol: plan.Create, Text: fmt.Sprintf("create %d from its newest archive, else from the template", golden.VMID)})
			return
		}
		if v := p.Have.NewestGolden(golden); v != nil {
			inside := p.Have.Inside[v.VolID]
			if inside.Err != nil {
				p.hold(o, "publish", fmt.Sprintf("the config inside %s cannot be read: %v", v.VolID, inside.Err), FixOf(inside.Err, "delete the archive, or move it away")...)
				return
			}
			p.planRestore(guest, spec.Source{Newest: golden.Publish.Storage}, &node.Choice{Volume: *v, Inside: inside.Config})
			return
		}
	}
	if ob := questions.TooLittleMemory(golden.Config); ob != nil {
		p.hold(o, "config.memory", ob.Reason, ob.Fix...)
		return
	}
	s := fmt.Sprintf("create %d: %s, %s on %s", golden.VMID, text.TemplateName(golden.Template), golden.RootFS.Size, golden.RootFS.Storage)
	for _, f := range text.SortedFlags(golden.Features) {
		s += ", " + f
	}
	if !p.mayBeBlank(guest, s) {
		return
	}
	if p.Have.Host == nil {
		ob := questions.NeedsHost(p.Questions)
		p.hold(o, "template", ob.Reason, ob.Fix...)
		return
	}
	storage := text.ProxmoxStorage(golden.Template)
	state := p.Have.Storages[storage]
	if state == nil || state.Read && state.Err == nil && p.Have.Volume(golden.Template) == nil {
		p.hold(o, "template", fmt.Sprintf("the template %s is not there", golden.Template), "look: pveam available; then: pveam download "+storage+" TEMPLATE")
		return
	}
	if ob := questions.TakesVolumes(p.Questions, golden.RootFS.Storage); ob != nil {
		p.hold(o, "rootfs.storage", ob.Reason, ob.Fix...)
		return
	}
	op := privileged.CreateGoldenLXC(p.Have.Node, questions.GoldenSpec(p.Questions, golden))
	p.act(plan.Action{ID: o.Ref.String() + "/create", Object: o.Ref, Verb: "create", Symbol: plan.Create,
		Text: s, Queue: Queue(golden.VMID), Limit: "create " + golden.RootFS.Storage, Timeout: questions.Timeout(o, longTask), Op: &op, Facts: map[string]string{"makes": golden.VMID.String()}})
}

// planPublish seals a stopped golden and makes the archive of its revision. A golden
// that runs is somebody working in it.
func (p *Planner) planPublish(golden *spec.Golden, state *node.GuestState, mark marker.Marker) {
	o := &golden.Object
	publish := golden.Publish
	if ob := p.takesBackups(publish.Storage); ob != nil {
		p.holdFor(o, "publish.storage", ob, plan.Deferred{Verb: "publish", Symbol: plan.Create, Text: fmt.Sprintf("publish revision %d", publish.Revision)})
		return
	}
	if ob := p.Have.GoldenBlocker(golden); ob != nil {
		p.hold(o, "publish.storage", ob.Reason+"; nothing is published or deleted", ob.Fix...)
		return
	}
	p.planRecords(o, publish.Storage, func(m marker.Marker) bool { return m.Object == golden.Ref.Name })
	current := p.Have.Published(golden)
	if current != nil {
		p.pruneGolden(golden, *current)
		return
	}
	for _, v := range p.Have.GoldenArchives(golden) { // made, and its size not noted yet
		m, _ := marker.OneMarker(v.Notes)
		if made, ok := p.Have.Memory.Archives[v.VolID]; ok && made.Whole && m.Facts["revision"] == mark.Facts["revision"] && m.Facts["digest"] == mark.Facts["digest"] && p.Have.Wholeness(v) == node.Unproven {
			return
		}
	}
	if state.Status == "running" {
		if newest := p.Have.NewestGolden(golden); newest != nil {
			if m, _ := marker.OneMarker(newest.Notes); m.Facts["revision"] == strconv.Itoa(publish.Revision) {
				p.note(o, "%d runs and its revision is unchanged: somebody works in it, so it is left alone", golden.VMID)
				return
			}
		}
		p.hold(o, "publish.revision", fmt.Sprintf("%d runs, and only a stopped golden is published", golden.VMID), fmt.Sprintf("pct stop %d", golden.VMID))
		return
	}
	revision := strconv.Itoa(publish.Revision)
	if mark.Facts["sealed"] != revision {
		id := fmt.Sprintf("%s/seal/%s-%s", o.Ref, revision, mark.Facts["digest"])
		if p.Have.Memory.Done[id] {
			m := mark.With("sealed", revision)
			call := proxmox.On(p.Have.Node).SetConfig(golden.VMID, proxmox.ConfigChange{
				Set: map[string]string{"description": marker.Describe(marker.WithoutMarker(state.Config.Description()), m)}, Digest: state.Config.Digest})
			p.act(plan.Action{ID: o.Ref.String() + "/sealed", Object: o.Ref, Verb: "note", Symbol: plan.Change, Text: fmt.Sprintf("note that %d is sealed", golden.VMID),
				Queue: Queue(golden.VMID), Timeout: questions.Timeout(o, questions.ShortTask), Call: &call})
			return
		}
		if p.Have.Host == nil {
			ob := questions.NeedsHost(p.Questions)
			p.hold(o, "publish", ob.Reason, ob.Fix...)
			return
		}
		op := privileged.SealGolden(p.Have.Node, privileged.SealSpec{VMID: int(golden.VMID), Object: golden.Ref.Name, Owner: p.Have.Owner})
		p.act(plan.Action{ID: id, Object: o.Ref, Verb: "seal", Symbol: plan.Change, Text: fmt.Sprintf("seal %d: take out its machine-id and SSH host keys, else all copies are twins", golden.VMID),
			Queue: Queue(golden.VMID), Timeout: questions.Timeout(o, questions.ShortTask), Op: &op})
		return
	}
	m := marker.Marker{Object: golden.Ref.Name, VMID: golden.VMID, Owner: p.Have.Owner, Born: mark.Born,
		Facts: map[string]string{"revision": revision, "digest": node.GoldenDigest(golden), "host": p.Have.Node}}
	call := questions.Vzdump(p.Questions, golden.VMID, publish.Storage, "snapshot", "zstd", m)
	p.act(plan.Action{ID: o.Ref.String() + "/publish", Object: o.Ref, Verb: "publish", Symbol: plan.Create, Text: fmt.Sprintf("publish revision %s on %s", revision, publish.Storage),
		Queue: Queue(golden.VMID), Limit: "vzdump", Timeout: questions.Timeout(o, longTask), Call: &call, Facts: questions.DumpFacts(p.Questions, publish.Storage)})
}

// pruneGolden deletes the archives of earlier revisions when nothing reads them.
func (p *Planner) pruneGolden(golden *spec.Golden, current proxmox.StorageContent) {
	for _, v := range p.Have.GoldenArchives(golden) {
		if v.VolID == current.VolID || v.Protected || p.Have.Wholeness(v) == node.Damaged || !v.CTime.Before(current.CTime) || p.read(v.VolID) {
			continue
		}
		if m, _ := marker.OneMarker(v.Notes); p.Have.Wholeness(v) == node.Unproven && m.Facts["revision"] == strconv.Itoa(golden.Publish.Revision) {
			continue // unproven: a person decides
		}
		p.deleteArchive(&golden.Object, golden.Ref.Name, v, "earlier revision", fmt.Sprintf("of an earlier revision, replaced by that of %s", p.Have.Date(current.CTime)))
	}
}

// goldenNotes remarks what differs and is fixed at birth.
func (p *Planner) goldenNotes(golden *spec.Golden, state *node.GuestState, marker marker.Marker) {
	if made := marker.Facts["template"]; made != "" && made != golden.Template {
		p.note(&golden.Object, "it was built from %s, the YAML says %s: fixed at birth. A person upgrades it from inside (pct enter %d) and raises its revision, or declares another golden beside it", made, golden.Template, golden.VMID)
	}
	live := state.Config.Features()
	for _, f := range text.SortedFlags(golden.Features) {
		key := f
		if i := strings.IndexByte(f, '='); i >= 0 {
			key = f[:i]
		}
		if golden.Features[key] != live[key] {
			p.note(&golden.Object, "feature %s is fixed at birth and differs. A person changes it as root: pct set %d --features %s", key, golden.VMID, golden.Features)
			break
		}
	}
	if root, ok := state.Config.RootFS(); ok {
		p.moved(&golden.Object, golden.VMID, "rootfs", root, golden.RootFS.Storage)
		if size, known := root.Size(); known && size != golden.RootFS.Size && golden.RootFS.Size > 0 {
			p.note(&golden.Object, "its rootfs is %s, the YAML says %s: fixed at birth. A person changes it: pct resize %d rootfs %s", size, golden.RootFS.Size, golden.VMID, golden.RootFS.Size)
		}
	}
}
