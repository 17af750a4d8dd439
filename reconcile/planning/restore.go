package planning

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// planMissing plans the creation of a guest that is not on this node: from the
// first of its sources that exists, and never a blank where its data exists.
func (p *Planner) planMissing(g *spec.Guest) {
	p.unmet[g.Ref.Name] = "it does not exist yet"
	if !p.mayCreate(&g.Object, g.VMID) {
		return
	}
	if len(g.From) == 0 {
		p.hold(&g.Object, "vmid", fmt.Sprintf("there is no container %d here, and nothing says from what to make it", g.VMID),
			"correct the vmid, remove the object, or say where its backups lie: from: {newest: STORAGE}")
		return
	}
	if p.destroyed(&g.Object, g.VMID) {
		return
	}
	if made := questions.Made(p.Questions, g); !made.IsZero() && !p.Have.Named[g.Ref] {
		p.hold(&g.Object, "vmid", fmt.Sprintf("%d was made by this agent on %s and is not there any more", g.VMID, p.Have.Date(made)),
			fmt.Sprintf("to have it again: felhom-agent --once --only %s", g.Ref), "to let it go: remove it from the YAML")
		return
	}
	if p.storageMissing(g) {
		return
	}
	var passed []string
	for _, source := range g.From {
		switch {
		case source.Newest != "":
			if ob := p.Seen(source.Newest); ob != nil && !questions.Released(p.Questions, g) {
				p.holdCreation(g, source, ob)
				return
			}
			if ob := questions.Twin(p.Questions, source.Newest); ob != nil && !questions.Released(p.Questions, g) {
				p.hold(&g.Object, "from", ob.Reason, ob.Fix...)
				return
			}
			missing := questions.Missing(p.Questions, fmt.Sprintf("/vms/%d", node.SourceVMID(g, source)), "VM.Backup")
			if missing == nil && p.Have.Storages[source.Newest] != nil {
				if missing = questions.ListsBackups(p.Questions, source.Newest); missing == nil {
					missing = questions.Visible(p.Questions, source.Newest)
				}
			}
			if missing != nil && !questions.Released(p.Questions, g) {
				p.hold(&g.Object, "from", missing.Reason+": its backups cannot be seen", missing.Fix...)
				return
			}
			if ob := p.Have.AmbiguousArchive(source.Newest, node.SourceVMID(g, source)); ob != nil {
				p.hold(&g.Object, "from", ob.Reason+"; nothing is restored from it", ob.Fix...)
				return
			}
			found, why, unread := p.Have.Newest(g, source)
			passed = append(passed, why...)
			if unread != nil {
				p.Plan.Blocked = append(p.Plan.Blocked, plan.Blocked{Object: g.Ref, Reason: unread.Reason, Fix: unread.Fix, Pos: g.At("from"), Passing: unread.Passes})
				return
			}
			if found != nil {
				p.planRestore(g, source, found)
				return
			}
		case source.Archive != "":
			storage, _, _ := strings.Cut(source.Archive, ":")
			if ob := p.Seen(storage); ob != nil {
				p.holdCreation(g, source, ob)
				return
			}
			v := p.Have.Volume(source.Archive)
			if v == nil {
				continue
			}
			if node.Ambiguous(*v) {
				p.hold(&g.Object, "from", fmt.Sprintf("storage %s lists the archive %s twice, with different values; it is not restored", storage, v.VolID), fmt.Sprintf("compare: pvesm list %s", storage))
				return
			}
			inside := p.Have.Inside[source.Archive]
			if inside.Err != nil {
				p.hold(&g.Object, "from", fmt.Sprintf("the config inside %s cannot be read: %v", source.Archive, inside.Err), FixOf(inside.Err, "name another archive")...)
				return
			}
			p.planRestore(g, source, &node.Choice{Volume: *v, Inside: inside.Config})
			return
		case source.Golden != "":
			p.planFromGolden(g, source, passed)
			return
		}
	}
	reason := fmt.Sprintf("%d does not exist, and none of its sources does: %s", g.VMID, sources(g))
	p.hold(&g.Object, "from", strings.Join(append([]string{reason}, passed...), "; "), "make one of them, or add another source to from")
}

// mayCreate holds an object whose VMID is taken, may be taken by something that the
// token cannot see, or whose marker stands on another guest.
func (p *Planner) mayCreate(o *spec.Object, vmid proxmox.VMID) bool {
	if r, ok := p.Have.Others[vmid]; ok && r.Type == "qemu" {
		p.hold(o, "vmid", fmt.Sprintf("%d is a VM (%s on %s), no container", vmid, r.Name, r.Node), "choose another vmid")
		return false
	}
	if missing := questions.Missing(p.Questions, fmt.Sprintf("/vms/%d", vmid), "VM.Audit", "VM.Allocate"); missing != nil {
		p.hold(o, "vmid", missing.Reason, missing.Fix...)
		return false
	}
	if p.Have.Taken[vmid] {
		p.hold(o, "vmid", fmt.Sprintf("PVE says that %d is taken, by something that the token %s does not see", vmid, p.Have.TokenID),
			fmt.Sprintf("look as root: grep -l . /etc/pve/nodes/*/*/%d.conf; then choose another vmid", vmid))
		return false
	}
	for _, other := range slices.Sorted(maps.Keys(p.Have.Guests)) {
		state := p.Have.Guests[other]
		if state.Config == nil || other == vmid {
			continue
		}
		if m, ok := marker.OneMarker(state.Config.Description()); ok && m.Object == o.Ref.Name && m.Owner == p.Have.Owner && m.VMID == other {
			p.hold(o, "vmid", fmt.Sprintf("%s exists as %d; the vmid is fixed at birth", o.Ref.Name, other), fmt.Sprintf("write vmid: %d", other))
			return false
		}
	}
	return true
}

// holdCreation holds a creation for what cannot be seen now, or lets it wait for the
// disk that this plan mounts.
func (p *Planner) holdCreation(g *spec.Guest, source spec.Source, ob *plan.Blocker) {
	if ob.Mount == "" {
		p.hold(&g.Object, "from", ob.Reason+fmt.Sprintf(": nothing after `%s` in from is taken", sourceText(source)), ob.Fix...)
		return
	}
	p.creating[g.Ref.Name] = true
	p.later(plan.Deferred{Object: g.Ref, Verb: "restore", Symbol: plan.Create,
		Text:  fmt.Sprintf("create %d from its newest backup, else %s", g.VMID, restOf(g, source)),
		Waits: fmt.Sprintf("when mounts/%s is mounted", ob.Mount)})
}

// restOf names the sources after one, in people's words.
func restOf(g *spec.Guest, source spec.Source) string {
	var rest []string
	for i, s := range g.From {
		if s == source {
			for _, after := range g.From[i+1:] {
				rest = append(rest, sourceText(after))
			}
		}
	}
	if len(rest) == 0 {
		return "not at all"
	}
	return strings.Join(rest, ", else ")
}

func sourceText(s spec.Source) string {
	switch {
	case s.Golden != "":
		return "golden/" + s.Golden
	case s.Archive != "":
		return s.Archive
	case s.VMID != 0:
		return fmt.Sprintf("newest of %d on %s", s.VMID, s.Newest)
	}
	return "newest: " + s.Newest
}

func sources(g *spec.Guest) string {
	var all []string
	for _, s := range g.From {
		all = append(all, sourceText(s))
	}
	return strings.Join(all, ", ")
}

// planFromGolden makes a blank from the golden's published archive.
func (p *Planner) planFromGolden(g *spec.Guest, source spec.Source, passed []string) {
	golden := p.Want.Golden[source.Golden]
	if p.unfit(g, golden) {
		return
	}
	text := fmt.Sprintf("create %d from golden/%s", g.VMID, source.Golden)
	if !p.mayBeBlank(g, text) {
		return
	}
	wait := func(waits string) {
		p.creating[g.Ref.Name] = true
		p.awaits[g.Ref] = golden.Ref
		p.later(plan.Deferred{Object: g.Ref, Verb: "restore", Symbol: plan.Create, Waits: waits, Text: text, Detail: passed})
	}
	if ob := p.Seen(golden.Publish.Storage); ob != nil {
		if ob.Mount != "" {
			wait(fmt.Sprintf("when mounts/%s is mounted", ob.Mount))
			return
		}
		p.hold(&g.Object, "from", ob.Reason, ob.Fix...)
		return
	}
	if ob := p.Have.GoldenBlocker(golden); ob != nil {
		p.hold(&g.Object, "from", ob.Reason+"; nothing is restored from it", ob.Fix...)
		return
	}
	archive := p.Have.Published(golden)
	if archive == nil {
		if why, held := p.unmet[golden.Ref.Name]; held {
			p.hold(&g.Object, "from", fmt.Sprintf("golden/%s is not published: %s", source.Golden, why), fmt.Sprintf("see golden/%s", source.Golden))
			return
		}
		wait("when the golden is published")
		return
	}
	inside := p.Have.Inside[archive.VolID]
	if inside.Err != nil {
		p.hold(&g.Object, "from", fmt.Sprintf("the config inside %s cannot be read: %v", archive.VolID, inside.Err), FixOf(inside.Err, "publish the golden anew: raise its revision")...)
		return
	}
	p.planRestore(g, source, &node.Choice{Volume: *archive, Inside: inside.Config, Notes: passed})
}

// mayBeBlank applies the rule that a tool must never break: no blank guest where
// data of it exists, or may exist on a storage that cannot be seen.
func (p *Planner) mayBeBlank(g *spec.Guest, text string) bool {
	if !p.releasedFrom(g) {
		return false
	}
	if questions.Released(p.Questions, g) {
		return true
	}
	ob := questions.Missing(p.Questions, fmt.Sprintf("/vms/%d", g.VMID), "VM.Backup", "VM.Config.Disk")
	if ob == nil {
		ob = p.allSeen(g)
	}
	if ob != nil {
		if ob.Mount != "" {
			p.creating[g.Ref.Name] = true
			p.later(plan.Deferred{Object: g.Ref, Verb: "restore", Symbol: plan.Create, Waits: fmt.Sprintf("when mounts/%s is mounted", ob.Mount),
				Text: text})
			return false
		}
		p.hold(&g.Object, "from", ob.Reason+fmt.Sprintf(": it may hold data of %d, so no blank is made", g.VMID),
			ob.Fix...)
		return false
	}
	if last, ok := p.Have.Stored.Backups[g.Ref.Name]; ok && last.Time.After(g.Despite) {
		p.hold(&g.Object, "from", fmt.Sprintf("%s has a whole backup of %s on %s, which is not there now. I make no empty one", g.Ref.Name, p.Have.Date(last.Time), questions.LastPlace(p.Questions, last)),
			"plug in the disk, or let the storage show it: pvesm list "+last.Storage, "really start empty: "+despiteNow)
		return false
	}
	return true
}

// despiteNow is how `despite` is written. The time itself stands in no plan: a plan stays
// the same while it is blocked.
const despiteNow = "despite: TIME, with the time that this prints: date -u +%FT%TZ"

// planRestore plans the restore of one archive as this guest.
func (p *Planner) planRestore(g *spec.Guest, source spec.Source, c *node.Choice) {
	own := p.Have.IsOwnBackup(g, source, c)
	volumes, _ := questions.Traces(p.Questions, g)
	if len(volumes) > 0 && (own || source.Archive != "") {
		p.hold(&g.Object, "from", fmt.Sprintf("%d has no config, but %s: it may be newer than the backup of %s", g.VMID, questions.TracesText(p.Questions, volumes, nil), p.Have.Date(c.Volume.CTime)),
			fmt.Sprintf("look at it as root: pvesm path %s", volumes[0].VolID),
			"go ahead beside it: "+despiteNow)
		return
	}
	if (own || source.Archive != "") && !questions.Released(p.Questions, g) {
		if ob := p.volumesHidden(g, c); ob != nil && ob.Mount != "" {
			p.holdCreation(g, source, ob)
			return
		} else if ob != nil {
			p.hold(&g.Object, "from", fmt.Sprintf("%s: a volume of %d may be there, newer than the backup of %s", ob.Reason, g.VMID, p.Have.Date(c.Volume.CTime)),
				ob.Fix...)
			return
		}
	}
	if !own && source.Golden == "" && source.Archive == "" && !p.mayBeBlank(g, fmt.Sprintf("create %d from %s", g.VMID, sourceText(source))) {
		return // another guest's archive is a blank too
	}
	if ob := questions.Missing(p.Questions, fmt.Sprintf("/vms/%d", g.VMID), "VM.Allocate"); ob != nil {
		p.hold(&g.Object, "vmid", ob.Reason, ob.Fix...)
		return
	}
	if !c.Inside.Unprivileged() {
		p.hold(&g.Object, "from", fmt.Sprintf("the archive %s is of a privileged container, which a token may not restore", c.Volume.VolID),
			fmt.Sprintf("restore it as root: pct restore %d %s --storage %s", g.VMID, c.Volume.VolID, text.OrElse(g.Storage, "STORAGE")))
		return
	}
	if c.Inside.Template() {
		p.hold(&g.Object, "from", fmt.Sprintf("the archive %s is of a template, and would become a template again, which nobody can start", c.Volume.VolID),
			"name an archive of a container", fmt.Sprintf("or make one, as root: pct clone %d NEW-VMID --full, and back that up", c.Volume.VMID))
		return
	}
	b, ob := questions.Birth(p.Questions, g, source, own, c)
	if ob != nil {
		p.hold(&g.Object, "storage", ob.Reason, ob.Fix...)
		return
	}
	if p.bornTwice(g, c, b) {
		return
	}
	if ob := questions.RoomFor(p.Questions, b.Storage, c.Volume); ob != nil {
		p.hold(&g.Object, "storage", ob.Reason, ob.Fix...)
		return
	}
	call := proxmox.On(p.Have.Node).RestoreLXC(b.Spec)
	p.creating[g.Ref.Name] = true
	from := "golden/" + source.Golden
	switch {
	case own:
		from = fmt.Sprintf("its backup of %s (%s, %s, %s)", p.Have.Date(c.Volume.CTime), questions.Where(p.Questions, text.ProxmoxStorage(c.Volume.VolID)), p.Have.Age(c.Volume.CTime), c.Volume.Size.Human())
	case source.Newest != "":
		from = fmt.Sprintf("the backup of %d of %s (%s, %s, %s)", source.VMID, p.Have.Date(c.Volume.CTime), questions.Where(p.Questions, source.Newest), p.Have.Age(c.Volume.CTime), c.Volume.Size.Human())
	case source.Archive != "":
		from = source.Archive + fmt.Sprintf(" (%s, %s)", p.Have.Age(c.Volume.CTime), c.Volume.Size.Human())
	}
	a := plan.Action{
		ID: g.Ref.String() + "/create", Object: g.Ref, Verb: "restore", Symbol: plan.Create,
		Text: fmt.Sprintf("create %d from %s", g.VMID, from), Detail: append(b.Detail, c.Notes...),
		Queue: Queue(g.VMID), Limit: "create " + b.Storage, Timeout: questions.Timeout(&g.Object, longTask), Call: &call,
		Facts: map[string]string{"reads": c.Volume.VolID, "makes": g.VMID.String()},
	}
	p.act(a)
}

// volumesHidden says why a storage on which the volumes of a guest lay, or are to lie, is
// not to be seen, where PVE knows it.
func (p *Planner) volumesHidden(g *spec.Guest, c *node.Choice) *plan.Blocker {
	storages := []string{g.Storage}
	root, _ := c.Inside.RootFS()
	storages = append(storages, text.ProxmoxStorage(root.Volume()))
	for _, mp := range c.Inside.MountPoints() {
		if mp.Kind() == proxmox.VolumeMount {
			storages = append(storages, text.ProxmoxStorage(mp.Volume()))
		}
	}
	slices.Sort(storages)
	for _, storage := range slices.Compact(storages) {
		if state := p.Have.Storages[storage]; state == nil || state.Conf.Disabled {
			continue
		}
		if ob := p.Seen(storage); ob != nil {
			return ob
		}
	}
	return nil
}
