package reconcile

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

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
			fmt.Sprintf("correct the vmid, remove the object, or say where its backups lie: from: {newest: STORAGE}"))
		return
	}
	if p.destroyed(&g.Object, g.VMID) {
		return
	}
	if made, ok := p.have.Memory.Made[g.Ref.String()]; ok && !p.have.Named[g.Ref] {
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
			missing := p.missing(fmt.Sprintf("/vms/%d", sourceVMID(g, source)), "VM.Backup")
			if missing == nil && p.have.Storages[source.Newest] != nil {
				missing = p.visible(source.Newest)
			}
			if missing != nil && !p.released(g) {
				p.hold(&g.Object, "from", missing.reason+": its backups cannot be seen", missing.cure...)
				return
			}
			found, why := p.have.newest(g, source)
			passed = append(passed, why...)
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
// cannot be seen.
func (p *planner) released(g *spec.Guest) bool {
	return !g.Despite.IsZero() && !p.have.future(g.Despite)
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
	if !p.releasedFrom(g, g.VMID) {
		return false
	}
	if p.released(g) {
		return true
	}
	ob := p.missing(fmt.Sprintf("/vms/%d", g.VMID), "VM.Backup", "VM.Config.Disk")
	if ob == nil {
		ob = p.allSeen()
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
	return true
}

// stamp is the node's time as `despite` and `requested` take it.
func (p *planner) stamp() string { return p.have.Now.UTC().Format("2006-01-02T15:04:05Z") }

// releasedFrom holds a blank while volumes or archives of the VMID, or archives with
// the object's marker, exist that are younger than `despite`.
func (p *planner) releasedFrom(g *spec.Guest, vmid proxmox.VMID) bool {
	volumes, archives := p.traces(&g.Object, vmid, g)
	if len(volumes)+len(archives) == 0 {
		return true
	}
	p.hold(&g.Object, "from", fmt.Sprintf("%d is gone, but %s. I make no empty one", vmid, p.tracesText(volumes, archives)),
		p.bringBack(g, volumes, archives), fmt.Sprintf("really start empty: despite: %s", p.stamp()))
	return false
}

func (p *planner) bringBack(g *spec.Guest, volumes, archives []proxmox.Volume) string {
	if len(archives) > 0 {
		storage, _, _ := strings.Cut(archives[0].VolID, ":")
		if archives[0].VMID == g.VMID && archives[0].Subtype == "lxc" && !slices.ContainsFunc(g.From, func(s spec.Source) bool { return s.Newest == storage }) {
			return fmt.Sprintf("bring it back: from: {newest: %s}", storage)
		}
		return fmt.Sprintf("bring it back: from: {archive: %s}", archives[0].VolID)
	}
	return fmt.Sprintf("bring the volumes back as root: pct rescan --vmid %d, after its config is restored", g.VMID)
}

// traces lists what exists of a guest's data: its volumes, and its archives, newest
// first. What `despite` releases is left out.
func (p *planner) traces(o *spec.Object, vmid proxmox.VMID, g *spec.Guest) (volumes, archives []proxmox.Volume) {
	for _, v := range p.have.byGuest[vmid] {
		if !o.Despite.IsZero() && !p.have.future(o.Despite) && !v.CTime.IsZero() && v.CTime.Before(o.Despite) {
			continue
		}
		switch v.Content {
		case "backup":
			archives = append(archives, *v)
		case "images", "rootdir":
			volumes = append(volumes, *v)
		}
	}
	named := p.have.byObject[o.Ref.Name]
	if o.Was != "" {
		named = append(slices.Clone(named), p.have.byObject[o.Was]...)
	}
	for _, v := range named { // archives of it under another number
		if v.VMID != vmid && !(!o.Despite.IsZero() && !p.have.future(o.Despite) && v.CTime.Before(o.Despite)) {
			archives = append(archives, *v)
		}
	}
	newestFirst(archives)
	return volumes, archives
}

func (p *planner) tracesText(volumes, archives []proxmox.Volume) string {
	var parts []string
	if n := len(archives); n > 0 {
		storage, _, _ := strings.Cut(archives[0].VolID, ":")
		parts = append(parts, fmt.Sprintf("%s of it exist%s (newest %s on %s)", count(n, "backup", "backups"), plural(n == 1, "s"), p.have.date(archives[0].CTime), storage))
	}
	if n := len(volumes); n > 0 {
		var names []string
		for _, v := range volumes {
			names = append(names, fmt.Sprintf("%s, %s", v.VolID, v.Size))
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", count(n, "volume", "volumes"), strings.Join(names, "; ")))
	}
	return strings.Join(parts, " and ")
}

func plural(yes bool, s string) string {
	if yes {
		return s
	}
	return ""
}

// planRestore plans the restore of one archive as this guest.
func (p *planner) planRestore(g *spec.Guest, source spec.Source, c *choice) {
	own := isOwn(g, source)
	volumes, _ := p.traces(&g.Object, g.VMID, g)
	if len(volumes) > 0 && (own || source.Archive != "") {
		p.hold(&g.Object, "from", fmt.Sprintf("%d has no config, but %s: it may be newer than the backup of %s", g.VMID, p.tracesText(volumes, nil), p.have.date(c.volume.CTime)),
			fmt.Sprintf("look at it as root: pvesm path %s", volumes[0].VolID),
			fmt.Sprintf("go ahead beside it: despite: %s", p.stamp()))
		return
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
	b, ob := p.birth(g, source, c)
	if ob != nil {
		p.hold(&g.Object, "storage", ob.reason, ob.cure...)
		return
	}
	call := proxmox.On(p.have.Node).RestoreLXC(b.spec)
	p.creating[g.Ref.Name] = true
	from := "golden/" + source.Golden
	switch {
	case own:
		from = fmt.Sprintf("its backup of %s (%s, %s, %s)", p.have.date(c.volume.CTime), p.where(source.Newest), p.have.age(c.volume.CTime), c.volume.Size.Human())
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

// A birth is the restore call of a guest, and what the plan says of it.
type birth struct {
	spec    proxmox.RestoreSpec
	storage string
	detail  []string
}

// birth builds the restore of an archive. Every net is sent, with a MAC: PVE keeps
// the archive's where none is sent (twins), and with unique=1 it overwrites what was
// sent. Volumes are sent only where they must be: with rootfs given, PVE makes
// exactly the mount points that are given and ignores the archive's own.
func (p *planner) birth(g *spec.Guest, source spec.Source, c *choice) (*birth, *obstacle) {
	own := isOwn(g, source)
	in := c.inside
	b := &birth{}
	root, _ := in.RootFS()
	rootStorage := ""
	if id, err := proxmox.ParseVolumeID(root.Volume()); err == nil {
		rootStorage = id.Storage
	}
	b.storage = orElse(g.Storage, rootStorage)
	if ob := p.takesVolumes(b.storage); ob != nil {
		return nil, ob
	}

	config := map[string]string{}
	for key, value := range g.Config.Values {
		if value != "" && key != "protection" {
			config[key] = value
		}
	}
	config["hostname"] = g.Hostname()
	if _, said := config["onboot"]; !said && !own {
		config["onboot"] = "0"
	}
	if in.Protection() || g.Config.Values["protection"] == "1" {
		config["protection"] = "0" // PVE refuses mount points of a protected guest; it is set at the end
	}
	if len(g.Config.Startup) > 0 {
		config["startup"] = g.Config.Startup.String()
	}
	tags := slices.Clone(g.Config.Tags)
	if own {
		tags = append(tags, in.Tags()...)
	}
	if len(tags) > 0 {
		config["tags"] = proxmox.FormatTags(normalTags(tags))
	}
	config["description"] = describe(birthText(g, in, own), p.birthMarker(g, source, in))
	nets := p.birthNets(g, own, in)
	for i, net := range nets {
		config[fmt.Sprintf("net%d", i)] = net.String()
	}

	b.spec = proxmox.RestoreSpec{VMID: g.VMID, Archive: c.volume.VolID, Storage: b.storage, Config: config}
	size, mounts, passed, ob := p.birthVolumes(g, b.storage, root, in)
	if ob != nil {
		return nil, ob
	}
	if passed {
		b.spec.RootFS = proxmox.NewVolume(b.storage, size)
		b.spec.MountPoints = map[int]string{}
		for i, mp := range mounts {
			b.spec.MountPoints[i] = mp.sent
		}
	}
	b.detail = p.birthDetail(g, own, size, b.storage, mounts, nets, in)
	return b, nil
}

// takesVolumes says why a storage cannot hold a container's volumes, or nil.
func (p *planner) takesVolumes(storage string) *obstacle {
	state := p.have.Storages[storage]
	switch {
	case storage == "":
		return &obstacle{reason: "nothing says on which storage the guest is to be made", cure: []string{"add storage: STORAGE"}}
	case state == nil:
		return &obstacle{reason: fmt.Sprintf("storage %s does not exist, or the token may not see it", storage), cure: []string{"look: pvesm status"}}
	case !slices.Contains(state.Conf.Content, "rootdir"):
		return &obstacle{reason: fmt.Sprintf("storage %s does not hold containers (content: %s)", storage, strings.Join(state.Conf.Content, ", ")),
			cure: []string{fmt.Sprintf("name another storage, or: pvesm set %s --content %s", storage, strings.Join(append(slices.Clone(state.Conf.Content), "rootdir"), ","))}}
	case state.Status == nil || !state.Status.Active:
		return &obstacle{reason: fmt.Sprintf("storage %s is not active", storage), cure: []string{"look: pvesm status"}}
	}
	return p.missing("/storage/"+storage, "Datastore.AllocateSpace")
}

// birthText is the description that people read: the declared one, else for a guest
// from its own backup the one it had.
func birthText(g *spec.Guest, in proxmox.GuestConfig, own bool) string {
	if g.Config.Description != nil {
		return *g.Config.Description
	}
	if own {
		return withoutMarker(in.Description())
	}
	return ""
}

// birthMarker is the marker of the new guest: one brought back from its own backup
// keeps its birth, everything else is born now.
func (p *planner) birthMarker(g *spec.Guest, source spec.Source, in proxmox.GuestConfig) Marker {
	m := Marker{Object: g.Ref.Name, VMID: g.VMID, Owner: p.have.Owner, Born: p.have.Now}
	if old, ok := oneMarker(in.Description()); ok && isOwn(g, source) && !old.Born.IsZero() {
		m.Born = old.Born
		if mark := old.Facts["rollback"]; mark != "" {
			m = m.with("rollback", mark) // a request that was carried out stays carried out
		}
	}
	return m
}

// birthNets are all nets of the archive and of the YAML, each with a MAC.
func (p *planner) birthNets(g *spec.Guest, own bool, in proxmox.GuestConfig) map[int]proxmox.Net {
	nets := map[int]proxmox.Net{}
	for i, net := range in.Nets() {
		nets[i] = maps.Clone(net)
		if !own {
			delete(nets[i], "hwaddr")
		}
	}
	for i, declared := range g.Config.Nets {
		if nets[i] == nil {
			nets[i] = proxmox.Net{"name": "eth" + strconv.Itoa(i)}
		}
		maps.Copy(nets[i], declared)
	}
	for i, net := range nets {
		if net["hwaddr"] == "" {
			net["hwaddr"] = mac(p.have.Owner, g.VMID, i)
		}
	}
	return nets
}

// mac is an address of our own: a hash of owner, VMID and N, locally administered,
// so that plans stay the same and two hosts with one household do not collide.
func mac(owner string, vmid proxmox.VMID, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/net%d", owner, vmid, n))
	return fmt.Sprintf("BE:24:11:%02X:%02X:%02X", sum[0], sum[1], sum[2])
}

// A birthVolume is one volume mount point that the restore makes.
type birthVolume struct {
	path  string
	size  proxmox.Size
	empty bool   // new, or not contained in the archive
	sent  string // the value of mpN
}

// birthVolumes decides the sizes of rootfs and volumes, and whether they must be
// passed: when the YAML wants other sizes or more volumes than the archive has, or
// when the archive has bind mounts, which a token cannot restore.
func (p *planner) birthVolumes(g *spec.Guest, storage string, root proxmox.MountPoint, in proxmox.GuestConfig) (size proxmox.Size, volumes map[int]birthVolume, passed bool, ob *obstacle) {
	size, _ = root.Size()
	if want := g.RootFS.Size; want > 0 && want != size {
		if want < size {
			return 0, nil, false, &obstacle{reason: fmt.Sprintf("rootfs is to be %s, but the archive's is %s, and what is in it must fit", want, size),
				cure: []string{fmt.Sprintf("write rootfs: {size: %s}", size)}}
		}
		size, passed = want, true
	}
	volumes = map[int]birthVolume{}
	for i, mp := range in.MountPoints() {
		if mp.Kind() != proxmox.VolumeMount {
			passed = true
			continue
		}
		had, known := mp.Size()
		if !known {
			return 0, nil, false, &obstacle{reason: fmt.Sprintf("the archive does not say how large its mp%d is", i), cure: []string{"restore it as root: pct restore"}}
		}
		keep := maps.Clone(mp)
		delete(keep, "size")
		at := storage
		if declared, ok := g.Config.Mounts[i]; ok && !declared.Bind() {
			if declared.Size > 0 && declared.Size < had {
				return 0, nil, false, &obstacle{reason: fmt.Sprintf("mp%d is to be %s, but the archive's is %s", i, declared.Size, had), cure: []string{fmt.Sprintf("write size: %s", had)}}
			}
			if declared.Size > had {
				had, passed = declared.Size, true
			}
			at = orElse(declared.Storage, storage)
			if at != storage {
				passed = true
			}
		}
		keep["volume"] = proxmox.NewVolume(at, had)
		volumes[i] = birthVolume{path: mp.Path(), size: had, empty: !mp.Backup(), sent: keep.String()}
	}
	for i, declared := range g.Config.Mounts {
		if _, there := volumes[i]; there || declared.Bind() || declared.Volume != "" {
			continue
		}
		passed = true
		volumes[i] = birthVolume{path: declared.Path, size: declared.Size, empty: true, sent: newVolume(declared).String()}
	}
	if passed && size == 0 {
		return 0, nil, false, &obstacle{reason: "the archive does not say how large its rootfs is", cure: []string{"say it: rootfs: {size: 8G}"}}
	}
	for _, i := range slices.Sorted(maps.Keys(volumes)) {
		id, err := proxmox.ParseVolumeID(mustMount(volumes[i].sent).Volume())
		if err != nil {
			continue
		}
		if ob := p.takesVolumes(id.Storage); ob != nil {
			return 0, nil, false, ob
		}
	}
	return size, volumes, passed, nil
}

// newVolume is the value of mpN that makes PVE allocate the declared volume.
func newVolume(declared spec.MountPoint) proxmox.MountPoint {
	mp := mountOptions(declared)
	mp["volume"] = proxmox.NewVolume(declared.Storage, declared.Size)
	return mp
}

// mountOptions are the declared sub-keys of a mount point, without the volume.
func mountOptions(declared spec.MountPoint) proxmox.MountPoint {
	mp := proxmox.MountPoint{"mp": declared.Path}
	maps.Copy(mp, declared.Options)
	if declared.Backup {
		mp["backup"] = "1"
	}
	if declared.ReadOnly {
		mp["ro"] = "1"
	}
	return mp
}

func mustMount(s string) proxmox.MountPoint {
	mp, err := proxmox.ParseMountPoint(s)
	if err != nil {
		panic("reconcile: we printed a mount point that does not parse: " + s)
	}
	return mp
}

// birthDetail is the line below a creation: what comes back, or what is made.
func (p *planner) birthDetail(g *spec.Guest, own bool, size proxmox.Size, storage string, volumes map[int]birthVolume, nets map[int]proxmox.Net, in proxmox.GuestConfig) []string {
	var lines, back, empty []string
	for _, i := range slices.Sorted(maps.Keys(volumes)) {
		text := fmt.Sprintf("mp%d %s %s", i, volumes[i].path, volumes[i].size)
		if volumes[i].empty {
			empty = append(empty, text)
		} else {
			back = append(back, text)
		}
	}
	if own {
		lines = append(lines, "brings back: "+strings.Join(append([]string{"rootfs " + size.String()}, back...), ", "))
	} else {
		parts := []string{fmt.Sprintf("%s on %s", size, storage)}
		if cores := orElse(g.Config.Values["cores"], in.Raw["cores"]); cores != "" {
			parts = append(parts, cores+" cores")
		}
		if memory := orElse(g.Config.Values["memory"], in.Raw["memory"]); memory != "" {
			parts = append(parts, memory+" MiB")
		}
		for _, i := range slices.Sorted(maps.Keys(nets)) {
			parts = append(parts, fmt.Sprintf("net%d %s %s %s", i, nets[i]["bridge"], orElse(nets[i]["ip"], "no address"), nets[i]["hwaddr"]))
		}
		lines = append(lines, strings.Join(append(parts, back...), ", "))
	}
	var folders []string
	for _, i := range slices.Sorted(maps.Keys(in.MountPoints())) {
		if mp := in.MountPoints()[i]; mp.Kind() != proxmox.VolumeMount && !g.Config.Mounts[i].Bind() {
			folders = append(folders, fmt.Sprintf("mp%d %s (%s on the host)", i, mp.Path(), mp.Volume()))
		}
	}
	if len(folders) > 0 {
		lines = append(lines, "not brought back, for the YAML does not declare it: "+strings.Join(folders, ", "))
	}
	if len(empty) > 0 {
		lines = append(lines, "new and empty: "+strings.Join(empty, ", "))
	}
	return lines
}

func orElse(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

// normalTags lower-cases, sorts and de-duplicates, as PVE does by default.
func normalTags(tags []string) []string { return proxmox.ParseTags(strings.Join(tags, ";")) }
