package reconcile

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// goldenDigest stands for what the YAML declares of a golden. It is not PVE's digest
// of the config file, which every note changes.
func goldenDigest(golden *spec.Golden) string { return shortHash(golden.Canonical()) }

// planGolden plans a golden: built by root through the fence, sealed, and published
// as an archive from which restores are made.
func (p *planner) planGolden(golden *spec.Golden) {
	o := &golden.Object
	name := golden.Ref.Name
	if p.inFlux(o, golden.VMID) {
		return // it will be published: others wait for it
	}
	unmet := len(p.plan.Held)
	defer func() {
		if held := p.plan.Held[unmet:]; len(held) > 0 && !held[0].Passing {
			p.unmet[name] = held[0].Reason
		}
	}()
	state := p.have.Guests[golden.VMID]
	if state == nil {
		p.planMissingGolden(golden)
		return
	}
	if state.Err != nil {
		p.hold(o, "vmid", fmt.Sprintf("%d cannot be read: %v", golden.VMID, state.Err), cureOf(state.Err, "look: pct config "+golden.VMID.String())...)
		return
	}
	marker, ok := oneMarker(state.Config.Description())
	if !ok || !p.have.owns(marker, o, golden.VMID) {
		p.hold(o, "vmid", fmt.Sprintf("%d exists and is not this golden (hostname %s)", golden.VMID, state.Config.Hostname()), "choose another vmid, or destroy it yourself")
		return
	}
	if p.stale(o, state) {
		return
	}
	if p.holdUnreadable(o, state) {
		return
	}
	p.goldenNotes(golden, state, marker)
	marker.Object = name
	want := marker
	if golden.Publish != nil {
		want = marker.with("revision", strconv.Itoa(golden.Publish.Revision)).with("digest", goldenDigest(golden))
		if want.String() != marker.String() {
			want = want.with("sealed", "") // somebody may have worked in it since
		}
	}
	if d := p.compareConfig(o, golden.Config, state, want, ""); !d.empty() {
		call := proxmox.On(p.have.Node).SetConfig(golden.VMID, proxmox.ConfigChange{Set: d.set, Delete: d.drop, Digest: state.Config.Digest})
		a := Action{ID: o.Ref.String() + "/config", Object: o.Ref, Verb: "set", Symbol: Change, Fields: d.fields, Lane: lane(golden.VMID), Timeout: timeout(o, shortTask), Call: &call}
		if len(d.fields) == 0 {
			a.Text = fmt.Sprintf("write revision %s into the marker of %d", want.Facts["revision"], golden.VMID)
		}
		if golden.Publish != nil && p.have.published(golden) == nil {
			a.Then = []string{"publish"}
		}
		p.act(a)
		return
	}
	actions, held := len(p.plan.Actions), len(p.plan.Held)
	p.planGoldenParts(golden, state)
	if golden.Publish != nil && len(p.plan.Actions) == actions && len(p.plan.Held) == held {
		p.planPublish(golden, state, marker)
	}
}

// planGoldenParts plans the volumes, devices and protection of a golden, one act at a
// time. They are a part of what is published.
func (p *planner) planGoldenParts(golden *spec.Golden, state *GuestState) {
	guest := goldenGuest(golden)
	guest.RootFS = spec.RootFS{} // fixed at birth
	before := len(p.plan.Actions)
	for _, plan := range []func(*spec.Guest, *GuestState){p.planVolumes, p.planDevices, p.planProtection} {
		if len(p.plan.Actions) == before {
			plan(guest, state)
		}
	}
}

// goldenGuest is a golden as a guest, which it is for the rules on blanks, archives and
// volumes.
func goldenGuest(golden *spec.Golden) *spec.Guest {
	return &spec.Guest{Object: golden.Object, VMID: golden.VMID, Storage: golden.RootFS.Storage, RootFS: spec.RootFS{Size: golden.RootFS.Size}, Config: golden.Config}
}

// planMissingGolden brings a golden back from its own newest archive, in which
// somebody may have installed software; only without any is it built anew.
func (p *planner) planMissingGolden(golden *spec.Golden) {
	o := &golden.Object
	if !p.mayCreate(o, golden.VMID) {
		return
	}
	guest := goldenGuest(golden)
	if golden.Publish != nil {
		ob := p.seen(golden.Publish.Storage)
		if ob == nil {
			ob = p.listsBackups(golden.Publish.Storage)
		}
		if ob != nil {
			p.holdFor(o, "publish.storage", ob, Later{Verb: "create", Symbol: Create, Text: fmt.Sprintf("create %d from its newest archive, else from the template", golden.VMID)})
			return
		}
		if v := p.have.newestGolden(golden); v != nil {
			inside := p.have.Inside[v.VolID]
			if inside.Err != nil {
				p.hold(o, "publish", fmt.Sprintf("the config inside %s cannot be read: %v", v.VolID, inside.Err), cureOf(inside.Err, "delete the archive, or move it away")...)
				return
			}
			p.planRestore(guest, spec.Source{Newest: golden.Publish.Storage}, &choice{volume: *v, inside: inside.Config})
			return
		}
	}
	text := fmt.Sprintf("create %d: %s, %s on %s", golden.VMID, templateName(golden.Template), golden.RootFS.Size, golden.RootFS.Storage)
	for _, f := range sortedFlags(golden.Features) {
		text += ", " + f
	}
	if !p.mayBeBlank(guest, text) {
		return
	}
	if p.have.Host == nil {
		ob := p.needsHost()
		p.hold(o, "template", ob.reason, ob.cure...)
		return
	}
	storage := proxmoxStorage(golden.Template)
	state := p.have.Storages[storage]
	if state == nil || state.Looked && state.Err == nil && p.have.volume(golden.Template) == nil {
		p.hold(o, "template", fmt.Sprintf("the template %s is not there", golden.Template), "look: pveam available; then: pveam download "+storage+" TEMPLATE")
		return
	}
	if ob := p.takesVolumes(golden.RootFS.Storage); ob != nil {
		p.hold(o, "rootfs.storage", ob.reason, ob.cure...)
		return
	}
	op := privileged.CreateGoldenLXC(p.have.Node, p.goldenSpec(golden))
	then := []string(nil)
	if golden.Publish != nil {
		then = []string{fmt.Sprintf("seal and publish on %s", golden.Publish.Storage)}
	}
	p.act(Action{ID: o.Ref.String() + "/create", Object: o.Ref, Verb: "create", Symbol: Create, Then: then,
		Text: text, Lane: lane(golden.VMID), Budget: "create " + golden.RootFS.Storage, Timeout: timeout(o, longTask), Op: &op, facts: map[string]string{"makes": golden.VMID.String()}})
}

// goldenSpec is the act by which root builds the golden.
func (p *planner) goldenSpec(golden *spec.Golden) privileged.GoldenSpec {
	m := Marker{Object: golden.Ref.Name, VMID: golden.VMID, Owner: p.have.Owner, Born: p.have.Now}.with("template", golden.Template)
	if golden.Publish != nil {
		m = m.with("revision", strconv.Itoa(golden.Publish.Revision)).with("digest", goldenDigest(golden))
	}
	text := ""
	if golden.Config.Description != nil {
		text = *golden.Config.Description
	}
	s := privileged.GoldenSpec{
		VMID: int(golden.VMID), Object: golden.Ref.Name, Owner: p.have.Owner, Template: golden.Template,
		Storage: golden.RootFS.Storage, SizeGiB: int((golden.RootFS.Size + proxmox.GiB - 1) / proxmox.GiB),
		Hostname: golden.Ref.Name, Description: describe(text, m), Features: golden.Features,
		Nets: map[int]map[string]string{}, Config: map[string]string{},
	}
	for i, net := range golden.Config.Nets {
		n := proxmox.Net{"name": "eth" + strconv.Itoa(i), "hwaddr": mac(p.have.Owner, golden.VMID, i)}
		maps.Copy(n, net)
		s.Nets[i] = n
	}
	for key, value := range golden.Config.Values {
		if value != "" && key != "protection" {
			s.Config[key] = value
		}
	}
	if len(golden.Config.Startup) > 0 {
		s.Config["startup"] = golden.Config.Startup.String()
	}
	if len(golden.Config.Tags) > 0 {
		s.Config["tags"] = proxmox.FormatTags(golden.Config.Tags)
	}
	return s
}

// planPublish seals a stopped golden and makes the archive of its revision. A golden
// that runs is somebody working in it.
func (p *planner) planPublish(golden *spec.Golden, state *GuestState, marker Marker) {
	o := &golden.Object
	publish := golden.Publish
	if ob := p.takesBackups(publish.Storage); ob != nil {
		p.holdFor(o, "publish.storage", ob, Later{Verb: "publish", Symbol: Create, Text: fmt.Sprintf("publish revision %d", publish.Revision)})
		return
	}
	p.planRecords(o, publish.Storage, func(m Marker) bool { return m.Object == golden.Ref.Name })
	current := p.have.published(golden)
	if current != nil {
		p.pruneGolden(golden, *current)
		return
	}
	for _, v := range p.have.goldenArchives(golden) { // made, and its size not noted yet
		m, _ := oneMarker(v.Notes)
		if made, ok := p.have.Memory.Archives[v.VolID]; ok && made.Whole && m.Facts["revision"] == marker.Facts["revision"] && m.Facts["digest"] == marker.Facts["digest"] && p.have.wholeness(v) == unproven {
			return
		}
	}
	if state.Status == "running" {
		if newest := p.have.newestGolden(golden); newest != nil {
			if m, _ := oneMarker(newest.Notes); m.Facts["revision"] == strconv.Itoa(publish.Revision) {
				p.note(o, "%d runs and its revision is unchanged: somebody works in it, so it is left alone", golden.VMID)
				return
			}
		}
		p.hold(o, "publish.revision", fmt.Sprintf("%d runs, and only a stopped golden is published", golden.VMID), fmt.Sprintf("pct stop %d", golden.VMID))
		return
	}
	revision := strconv.Itoa(publish.Revision)
	if marker.Facts["sealed"] != revision {
		id := fmt.Sprintf("%s/seal/%s-%s", o.Ref, revision, marker.Facts["digest"])
		if p.have.Memory.Done[id] {
			m := marker.with("sealed", revision)
			call := proxmox.On(p.have.Node).SetConfig(golden.VMID, proxmox.ConfigChange{
				Set: map[string]string{"description": describe(withoutMarker(state.Config.Description()), m)}, Digest: state.Config.Digest})
			p.act(Action{ID: o.Ref.String() + "/sealed", Object: o.Ref, Verb: "note", Symbol: Change, Text: fmt.Sprintf("note that %d is sealed", golden.VMID),
				Then: []string{"publish"}, Lane: lane(golden.VMID), Timeout: timeout(o, shortTask), Call: &call})
			return
		}
		if p.have.Host == nil {
			ob := p.needsHost()
			p.hold(o, "publish", ob.reason, ob.cure...)
			return
		}
		op := privileged.SealGolden(p.have.Node, privileged.SealSpec{VMID: int(golden.VMID), Object: golden.Ref.Name, Owner: p.have.Owner})
		p.act(Action{ID: id, Object: o.Ref, Verb: "seal", Symbol: Change, Text: fmt.Sprintf("seal %d: take out its machine-id and SSH host keys, else all copies are twins", golden.VMID),
			Then: []string{fmt.Sprintf("publish revision %s on %s", revision, publish.Storage)}, Lane: lane(golden.VMID), Timeout: timeout(o, shortTask), Op: &op})
		return
	}
	m := Marker{Object: golden.Ref.Name, VMID: golden.VMID, Owner: p.have.Owner, Born: marker.Born,
		Facts: map[string]string{"revision": revision, "digest": goldenDigest(golden)}}
	call := p.vzdump(golden.VMID, publish.Storage, "snapshot", "zstd", m)
	p.act(Action{ID: o.Ref.String() + "/publish", Object: o.Ref, Verb: "publish", Symbol: Create, Text: fmt.Sprintf("publish revision %s on %s", revision, publish.Storage),
		Lane: lane(golden.VMID), Budget: "vzdump", Timeout: timeout(o, longTask), Call: &call, facts: p.dumpFacts(publish.Storage)})
}

// pruneGolden deletes the archives of earlier revisions when nothing reads them.
func (p *planner) pruneGolden(golden *spec.Golden, current proxmox.Volume) {
	pruned := 0
	defer func() { p.surplus = append(p.surplus, surplus{golden.Ref, pruned}) }()
	for _, v := range p.have.goldenArchives(golden) {
		if v.VolID == current.VolID || v.Protected || p.have.wholeness(v) == damaged || !v.CTime.Before(current.CTime) || p.read(v.VolID) {
			continue
		}
		if m, _ := oneMarker(v.Notes); p.have.wholeness(v) == unproven && m.Facts["revision"] == strconv.Itoa(golden.Publish.Revision) {
			continue // unproven: a person decides
		}
		if pruned++; pruned > prunedAtMost {
			continue
		}
		p.deleteArchive(&golden.Object, golden.Ref.Name, v, fmt.Sprintf("of an earlier revision, replaced by that of %s", p.have.date(current.CTime)))
	}
}

// goldenNotes remarks what differs and is fixed at birth.
func (p *planner) goldenNotes(golden *spec.Golden, state *GuestState, marker Marker) {
	if made := marker.Facts["template"]; made != "" && made != golden.Template {
		p.note(&golden.Object, "it was built from %s, the YAML says %s: fixed at birth. A person upgrades it from inside (pct enter %d) and raises its revision, or declares another golden beside it", made, golden.Template, golden.VMID)
	}
	live := state.Config.Features()
	for _, f := range sortedFlags(golden.Features) {
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
