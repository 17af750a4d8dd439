package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// planMissing plans the creation of a guest that is not on this node: from the
// first of its sources that exists, and never a blank where its data exists.
func (p *planner) planMissing(g *spec.Guest) {
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
	if made := p.made(g); !made.IsZero() && !p.have.Named[g.Ref] {
		p.hold(&g.Object, "vmid", fmt.Sprintf("%d was made by this agent on %s and is not there any more", g.VMID, p.have.date(made)),
			fmt.Sprintf("to have it again: felhom-agent --once --only %s", g.Ref), "to let it go: remove it from the YAML")
		return
	}
	var passed []string
	for _, source := range g.From {
		switch {
		case source.Newest != "":
			if ob := p.seen(source.Newest); ob != nil && !p.released(g) {
				p.holdCreation(g, source, ob)
				return
			}
			if ob := p.twin(source.Newest); ob != nil && !p.released(g) {
				p.hold(&g.Object, "from", ob.reason, ob.cure...)
				return
			}
			missing := p.missing(fmt.Sprintf("/vms/%d", sourceVMID(g, source)), "VM.Backup")
			if missing == nil && p.have.Storages[source.Newest] != nil {
				if missing = p.listsBackups(source.Newest); missing == nil {
					missing = p.visible(source.Newest)
				}
			}
			if missing != nil && !p.released(g) {
				p.hold(&g.Object, "from", missing.reason+": its backups cannot be seen", missing.cure...)
				return
			}
			found, why, unread := p.have.newest(g, source)
			passed = append(passed, why...)
			if unread != nil {
				p.plan.Held = append(p.plan.Held, Held{Object: g.Ref, Reason: unread.reason, Cure: unread.cure, Pos: g.At("from"), Passing: unread.passes})
				return
			}
			if found != nil {
				p.planRestore(g, source, found)
				return
			}
		case source.Archive != "":
			storage, _, _ := strings.Cut(source.Archive, ":")
			if ob := p.seen(storage); ob != nil {
				p.holdCreation(g, source, ob)
				return
			}
			v := p.have.volume(source.Archive)
			if v == nil {
				continue
			}
			inside := p.have.Inside[source.Archive]
			if inside.Err != nil {
				p.hold(&g.Object, "from", fmt.Sprintf("the config inside %s cannot be read: %v", source.Archive, inside.Err), cureOf(inside.Err, "name another archive")...)
				return
			}
			p.planRestore(g, source, &choice{volume: *v, inside: inside.Config})
			return
		case source.Golden != "":
			p.planFromGolden(g, source, passed)
			return
		}
	}
	reason := fmt.Sprintf("%d does not exist, and none of its sources does: %s", g.VMID, sources(g))
	p.hold(&g.Object, "from", strings.Join(append([]string{reason}, passed...), "; "), "make one of them, or add another source to from")
}

// released reports whether `despite` lets a creation go ahead although storages
// cannot be seen. What they hold may be younger than that time, so it counts for a day
// only, and not where the agent itself has made the guest, or a backup of it, since.
func (p *planner) released(g *spec.Guest) bool {
	if g.Despite.IsZero() || p.have.future(g.Despite) || p.have.Now.Sub(g.Despite) > 24*time.Hour {
		return false
	}
	return !p.made(g).After(g.Despite) && !p.have.Stored.Backups[g.Ref.Name].Time.After(g.Despite)
}

// made is when this agent has made a guest, also under the name that it had; zero: never,
// as far as the journal tells.
func (p *planner) made(g *spec.Guest) (last time.Time) {
	for object, at := range p.have.Memory.Made {
		if called(&g.Object, object) && at.After(last) {
			last = at
		}
	}
	return last
}

// mayCreate holds an object whose VMID is taken, may be taken by something that the
// token cannot see, or whose marker stands on another guest.
func (p *planner) mayCreate(o *spec.Object, vmid proxmox.VMID) bool {
	if r, ok := p.have.Others[vmid]; ok && r.Type == "qemu" {
		p.hold(o, "vmid", fmt.Sprintf("%d is a VM (%s on %s), no container", vmid, r.Name, r.Node), "choose another vmid")
		return false
	}
	if missing := p.missing(fmt.Sprintf("/vms/%d", vmid), "VM.Audit", "VM.Allocate"); missing != nil {
		p.hold(o, "vmid", missing.reason, missing.cure...)
		return false
	}
	if p.have.Taken[vmid] {
		p.hold(o, "vmid", fmt.Sprintf("PVE says that %d is taken, by something that the token %s does not see", vmid, p.have.TokenID),
			fmt.Sprintf("look as root: grep -l . /etc/pve/nodes/*/*/%d.conf; then choose another vmid", vmid))
		return false
	}
	for _, other := range slices.Sorted(maps.Keys(p.have.Guests)) {
		state := p.have.Guests[other]
		if state.Config == nil || other == vmid {
			continue
		}
		if m, ok := oneMarker(state.Config.Description()); ok && m.Object == o.Ref.Name && m.Owner == p.have.Owner && m.VMID == other {
			p.hold(o, "vmid", fmt.Sprintf("%s exists as %d; the vmid is fixed at birth", o.Ref.Name, other), fmt.Sprintf("write vmid: %d", other))
			return false
		}
	}
	return true
}

// holdCreation holds a creation for what cannot be seen now, or lets it wait for the
// disk that this plan mounts.
func (p *planner) holdCreation(g *spec.Guest, source spec.Source, ob *obstacle) {
	if ob.mount == "" {
		p.hold(&g.Object, "from", ob.reason+fmt.Sprintf(": nothing after `%s` in from is taken", sourceText(source)), ob.cure...)
		return
	}
	p.creating[g.Ref.Name] = true
	p.later(Later{Object: g.Ref, Verb: "restore", Symbol: Create,
		Text:  fmt.Sprintf("create %d from its newest backup, else %s", g.VMID, restOf(g, source)),
		Waits: fmt.Sprintf("when mounts/%s is mounted", ob.mount)})
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
func (p *planner) planFromGolden(g *spec.Guest, source spec.Source, passed []string) {
	golden := p.want.Golden[source.Golden]
	text := fmt.Sprintf("create %d from golden/%s%s", g.VMID, source.Golden, p.thenText(g))
	if !p.mayBeBlank(g, text) {
		return
	}
	wait := func(waits string) {
		p.creating[g.Ref.Name] = true
		p.later(Later{Object: g.Ref, Verb: "restore", Symbol: Create, Waits: waits, Text: text, Detail: passed})
	}
	if ob := p.seen(golden.Publish.Storage); ob != nil {
		if ob.mount != "" {
			wait(fmt.Sprintf("when mounts/%s is mounted", ob.mount))
			return
		}
		p.hold(&g.Object, "from", ob.reason, ob.cure...)
		return
	}
	archive := p.have.published(golden)
	if archive == nil {
		if why, held := p.unmet[golden.Ref.Name]; held {
			p.hold(&g.Object, "from", fmt.Sprintf("golden/%s is not published: %s", source.Golden, why), fmt.Sprintf("see golden/%s", source.Golden))
			return
		}
		wait("when the golden is published")
		return
	}
	inside := p.have.Inside[archive.VolID]
	if inside.Err != nil {
		p.hold(&g.Object, "from", fmt.Sprintf("the config inside %s cannot be read: %v", archive.VolID, inside.Err), cureOf(inside.Err, "publish the golden anew: raise its revision")...)
		return
	}
	p.planRestore(g, source, &choice{volume: *archive, inside: inside.Config, notes: passed})
}

// mayBeBlank applies the rule that a tool must never break: no blank guest where
// data of it exists, or may exist on a storage that cannot be seen.
func (p *planner) mayBeBlank(g *spec.Guest, text string) bool {
	if deliberate.skipBlankRule {
		return true
	}
	if !p.releasedFrom(g) {
		return false
	}
	if p.released(g) {
		return true
	}
	ob := p.missing(fmt.Sprintf("/vms/%d", g.VMID), "VM.Backup", "VM.Config.Disk")
	if ob == nil {
		ob = p.allSeen(g)
	}
	if ob != nil {
		if ob.mount != "" {
			p.creating[g.Ref.Name] = true
			p.later(Later{Object: g.Ref, Verb: "restore", Symbol: Create, Waits: fmt.Sprintf("when mounts/%s is mounted", ob.mount),
				Text: text})
			return false
		}
		p.hold(&g.Object, "from", ob.reason+fmt.Sprintf(": it may hold data of %d, so no blank is made", g.VMID),
			append(ob.cure, fmt.Sprintf("really start empty: despite: %s", p.stamp()))...)
		return false
	}
	if last, ok := p.have.Stored.Backups[g.Ref.Name]; ok && last.Time.After(g.Despite) {
		p.hold(&g.Object, "from", fmt.Sprintf("%s has a whole backup of %s on %s, which is not there now. I make no empty one", g.Ref.Name, p.have.date(last.Time), p.lastPlace(last)),
			"plug in the disk, or let the storage show it: pvesm list "+last.Storage, fmt.Sprintf("really start empty: despite: %s", p.stamp()))
		return false
	}
	return true
}

// lastPlace names where a backup that was seen once lay.
func (p *planner) lastPlace(last LastBackup) string {
	if last.Disk != "" {
		return fmt.Sprintf("%s (%s)", last.Storage, last.Disk)
	}
	return last.Storage
}

// stamp is the node's time as `despite` and `requested` take it.
func (p *planner) stamp() string { return p.have.Now.UTC().Format("2006-01-02T15:04:05Z") }

// planRestore plans the restore of one archive as this guest.
func (p *planner) planRestore(g *spec.Guest, source spec.Source, c *choice) {
	own := p.have.isOwnBackup(g, source, c)
	volumes, _ := p.traces(g)
	if len(volumes) > 0 && (own || source.Archive != "") && !deliberate.restoreBeside {
		p.hold(&g.Object, "from", fmt.Sprintf("%d has no config, but %s: it may be newer than the backup of %s", g.VMID, p.tracesText(volumes, nil), p.have.date(c.volume.CTime)),
			fmt.Sprintf("look at it as root: pvesm path %s", volumes[0].VolID),
			fmt.Sprintf("go ahead beside it: despite: %s", p.stamp()))
		return
	}
	if (own || source.Archive != "") && !p.released(g) && !deliberate.restoreBeside {
		if ob := p.volumesHidden(g, c); ob != nil && ob.mount != "" {
			p.holdCreation(g, source, ob)
			return
		} else if ob != nil {
			p.hold(&g.Object, "from", fmt.Sprintf("%s: a volume of %d may be there, newer than the backup of %s", ob.reason, g.VMID, p.have.date(c.volume.CTime)),
				append(ob.cure, fmt.Sprintf("go ahead beside it: despite: %s", p.stamp()))...)
			return
		}
	}
	if !own && source.Golden == "" && source.Archive == "" && !p.mayBeBlank(g, fmt.Sprintf("create %d from %s", g.VMID, sourceText(source))) {
		return // another guest's archive is a blank too
	}
	if ob := p.missing(fmt.Sprintf("/vms/%d", g.VMID), "VM.Allocate"); ob != nil {
		p.hold(&g.Object, "vmid", ob.reason, ob.cure...)
		return
	}
	if !c.inside.Unprivileged() {
		p.hold(&g.Object, "from", fmt.Sprintf("the archive %s is of a privileged container, which a token may not restore", c.volume.VolID),
			fmt.Sprintf("restore it as root: pct restore %d %s --storage %s", g.VMID, c.volume.VolID, orElse(g.Storage, "STORAGE")))
		return
	}
	if c.inside.Template() {
		p.hold(&g.Object, "from", fmt.Sprintf("the archive %s is of a template, and would become a template again, which nobody can start", c.volume.VolID),
			"name an archive of a container", fmt.Sprintf("or make one, as root: pct clone %d NEW-VMID --full, and back that up", c.volume.VMID))
		return
	}
	b, ob := p.birth(g, source, own, c)
	if ob != nil {
		p.hold(&g.Object, "storage", ob.reason, ob.cure...)
		return
	}
	if p.bornTwice(g, c, b) {
		return
	}
	if ob := p.roomFor(b.storage, c.volume); ob != nil {
		p.hold(&g.Object, "storage", ob.reason, ob.cure...)
		return
	}
	call := proxmox.On(p.have.Node).RestoreLXC(b.spec)
	p.creating[g.Ref.Name] = true
	from := "golden/" + source.Golden
	switch {
	case own:
		from = fmt.Sprintf("its backup of %s (%s, %s, %s)", p.have.date(c.volume.CTime), p.where(proxmoxStorage(c.volume.VolID)), p.have.age(c.volume.CTime), c.volume.Size.Human())
	case source.Newest != "":
		from = fmt.Sprintf("the backup of %d of %s (%s, %s, %s)", source.VMID, p.have.date(c.volume.CTime), p.where(source.Newest), p.have.age(c.volume.CTime), c.volume.Size.Human())
	case source.Archive != "":
		from = source.Archive + fmt.Sprintf(" (%s, %s)", p.have.age(c.volume.CTime), c.volume.Size.Human())
	}
	a := Action{
		ID: g.Ref.String() + "/create", Object: g.Ref, Verb: "restore", Symbol: Create,
		Text: fmt.Sprintf("create %d from %s", g.VMID, from), Then: p.thenFor(g), Detail: append(b.detail, c.notes...),
		Lane: lane(g.VMID), Budget: "create " + b.storage, Timeout: timeout(&g.Object, longTask), Call: &call,
		facts: map[string]string{"reads": c.volume.VolID, "makes": g.VMID.String()},
	}
	p.act(a)
}

// volumesHidden says why a storage on which the volumes of a guest lay, or are to lie, is
// not to be seen, where PVE knows it.
func (p *planner) volumesHidden(g *spec.Guest, c *choice) *obstacle {
	storages := []string{g.Storage}
	root, _ := c.inside.RootFS()
	storages = append(storages, proxmoxStorage(root.Volume()))
	for _, mp := range c.inside.MountPoints() {
		if mp.Kind() == proxmox.VolumeMount {
			storages = append(storages, proxmoxStorage(mp.Volume()))
		}
	}
	slices.Sort(storages)
	for _, storage := range slices.Compact(storages) {
		if state := p.have.Storages[storage]; state == nil || state.Conf.Disabled {
			continue
		}
		if ob := p.seen(storage); ob != nil {
			return ob
		}
	}
	return nil
}

// roomFor says that a storage has less room than an archive has, packed as it is. A
// thin pool that runs full hurts every guest on it. What compresses by itself may hold
// it all the same.
func (p *planner) roomFor(storage string, archive proxmox.Volume) *obstacle {
	state := p.have.Storages[storage]
	if state.Status.Total == 0 || state.Status.Avail >= archive.Size || slices.Contains([]string{"zfspool", "btrfs", "zfs"}, state.Conf.Type) {
		return nil
	}
	return &obstacle{reason: fmt.Sprintf("%s has %s left, and %s alone has %s", storage, state.Status.Avail.Human(), archive.VolID, archive.Size.Human()),
		cure: []string{"make room on " + storage, "or name another storage"}}
}

// thenFor names what follows a creation.
func (p *planner) thenFor(g *spec.Guest) []string {
	var then []string
	for _, i := range slices.Sorted(maps.Keys(g.Config.Mounts)) {
		if mp := g.Config.Mounts[i]; mp.Bind() {
			then = append(then, "bind "+mp.Path)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(g.Config.Devices)) {
		then = append(then, fmt.Sprintf("pass dev%d", i))
	}
	if g.State == spec.Running {
		then = append(then, "start")
	}
	return then
}

func (p *planner) thenText(g *spec.Guest) string {
	if then := p.thenFor(g); len(then) > 0 {
		return ", then " + list(then)
	}
	return ""
}
