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

// planPublish seals a stopped golden and makes the archive of its revision. A golden
// that runs is somebody working in it.
func planPublish(p *planner, golden *spec.Golden, state *node.GuestState, mark marker.Marker) {
	o := &golden.Object
	publish := golden.Publish
	if ob := questions.TakesBackups(p.Questions, p.mounting, publish.Storage); ob != nil {
		p.blockFor(o, "publish.storage", ob, plan.Deferred{Verb: "publish", Symbol: plan.Create, Text: fmt.Sprintf("publish revision %d", publish.Revision)})
		return
	}
	if ob := node.GoldenBlocker(p.Have, golden); ob != nil {
		p.block(o, "publish.storage", ob.Reason+"; nothing is published or deleted", ob.Fix...)
		return
	}
	planVerified(p, o, publish.Storage, func(m marker.Marker) bool { return m.Object == golden.Ref.Name })
	current := node.Published(p.Have, golden)
	if current != nil {
		pruneGolden(p, golden, *current)
		return
	}
	for _, v := range node.GoldenArchives(p.Have, golden) { // made, and its size not noted yet
		m, _ := p.Have.MarkerOf(v.Notes)
		if made, ok := p.Have.Memory.Archives[v.VolID]; ok && made.Whole && m.Facts["revision"] == mark.Facts["revision"] && m.Facts["digest"] == mark.Facts["digest"] && node.WholenessOf(p.Have, v) == node.Unproven {
			return
		}
	}
	if state.Status == "running" {
		if newest := node.NewestGolden(p.Have, golden); newest != nil {
			if m, _ := p.Have.MarkerOf(newest.Notes); m.Facts["revision"] == strconv.Itoa(publish.Revision) {
				p.note(o, "%d runs and its revision is unchanged: it is in use, so it is left alone", golden.VMID)
				return
			}
		}
		p.block(o, "publish.revision", fmt.Sprintf("%d runs, and only a stopped golden image is published", golden.VMID), fmt.Sprintf("pct stop %d", golden.VMID))
		return
	}
	revision := strconv.Itoa(publish.Revision)
	if mark.Facts["sealed"] != revision {
		planSeal(p, golden, state, mark, revision)
		return
	}
	m := marker.Marker{Object: golden.Ref.Name, VMID: golden.VMID, Owner: p.Have.Owner, Born: mark.Born,
		Facts: map[string]string{"revision": revision, "digest": node.GoldenDigest(golden), "host": p.Have.Node}}
	call := questions.Vzdump(p.Questions, golden.VMID, publish.Storage, "snapshot", "zstd", m)
	p.add(plan.Action{ID: o.Ref.String() + "/publish", Object: o.Ref, Verb: "publish", Symbol: plan.Create, Text: fmt.Sprintf("publish revision %s on %s", revision, publish.Storage),
		Queue: Queue(golden.VMID), Limit: "vzdump", Timeout: questions.Timeout(o, longTask), Call: &call, Facts: questions.DumpFacts(p.Questions, publish.Storage)})
}

// planSeal takes out of a stopped golden image what must differ between its copies, and then
// notes in its marker that this was done.
func planSeal(p *planner, golden *spec.Golden, state *node.GuestState, mark marker.Marker, revision string) {
	o := &golden.Object
	id := fmt.Sprintf("%s/seal/%s-%s", o.Ref, revision, mark.Facts["digest"])
	if p.Have.Memory.Done[id] {
		m := mark.With("sealed", revision)
		call := proxmox.On(p.Have.Node).SetConfig(golden.VMID, proxmox.ConfigChange{
			Set: map[string]string{"description": marker.Describe(marker.WithoutMarker(state.Config.Description()), m)}, Digest: state.Config.Digest})
		p.add(plan.Action{ID: o.Ref.String() + "/sealed", Object: o.Ref, Verb: "note", Symbol: plan.Change, Text: fmt.Sprintf("note that %d is sealed", golden.VMID),
			Queue: Queue(golden.VMID), Timeout: questions.Timeout(o, questions.ShortTask), Call: &call})
		return
	}
	if p.Have.Host == nil {
		ob := questions.NeedsHost(p.Questions)
		p.block(o, "publish", ob.Reason, ob.Fix...)
		return
	}
	op := privileged.SealGolden(p.Have.Node, privileged.SealSpec{VMID: int(golden.VMID), Object: golden.Ref.Name, Owner: p.Have.Owner})
	p.add(plan.Action{ID: id, Object: o.Ref, Verb: "seal", Symbol: plan.Change, Text: fmt.Sprintf("seal %d: take out its machine-id and SSH host keys, else all copies are twins", golden.VMID),
		Queue: Queue(golden.VMID), Timeout: questions.Timeout(o, questions.ShortTask), Op: &op})
}

// pruneGolden deletes the archives of earlier revisions when nothing reads them.
func pruneGolden(p *planner, golden *spec.Golden, current proxmox.StorageContent) {
	for _, v := range node.GoldenArchives(p.Have, golden) {
		if v.VolID == current.VolID || v.Protected || node.WholenessOf(p.Have, v) == node.Damaged || !v.CTime.Before(current.CTime) || read(p, v.VolID) {
			continue
		}
		if m, _ := p.Have.MarkerOf(v.Notes); node.WholenessOf(p.Have, v) == node.Unproven && m.Facts["revision"] == strconv.Itoa(golden.Publish.Revision) {
			continue // unproven: a person decides
		}
		deleteArchive(p, &golden.Object, golden.Ref.Name, v, "earlier revision", fmt.Sprintf("of an earlier revision, replaced by that of %s", p.Have.Date(current.CTime)))
	}
}

// goldenNotes remarks what differs and is fixed at birth.
func goldenNotes(p *planner, golden *spec.Golden, state *node.GuestState, marker marker.Marker) {
	if made := marker.Facts["template"]; made != "" && made != golden.Template {
		p.note(&golden.Object, "it was built from %s, the YAML says %s: fixed at creation. Upgrade it inside (pct enter %d) and raise its revision, or declare another golden image", made, golden.Template, golden.VMID)
	}
	live := state.Config.Features()
	for _, f := range text.SortedFlags(golden.Features) {
		key := f
		if i := strings.IndexByte(f, '='); i >= 0 {
			key = f[:i]
		}
		if golden.Features[key] != live[key] {
			p.note(&golden.Object, "feature %s is fixed at creation and differs. To change it, as root: pct set %d --features %s", key, golden.VMID, golden.Features)
			break
		}
	}
	if root, ok := state.Config.RootFS(); ok {
		moved(p, &golden.Object, golden.VMID, "rootfs", root.Volume(), golden.RootFS.Storage)
		if size, known := root.Size(); known && size != golden.RootFS.Size && golden.RootFS.Size > 0 {
			p.note(&golden.Object, "its rootfs is %s, the YAML says %s: fixed at creation. To change it: pct resize %d rootfs %s", size, golden.RootFS.Size, golden.VMID, golden.RootFS.Size)
		}
	}
}
