package planning

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/deliberate"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// ejecting says that the mounted disk of a mount is about to be unplugged, or nil:
// nothing new is begun on it.
func (p *Planner) ejecting(m *spec.Mount) *plan.Blocker {
	disk, mounted := p.Have.MountedDisk(m)
	if !mounted {
		return nil
	}
	h, ok := p.Have.Ejected(disk)
	if !ok {
		return nil
	}
	return &plan.Blocker{Reason: fmt.Sprintf("%s of %s is being ejected by %s since %s", Name(disk), m.Ref, h.By, p.Have.Date(h.Since)),
		Cure: []string{"unplug it when --eject says so", "to keep it: felhom-agent --release " + m.Ref.String()}}
}

// planMount plans one USB disk, or several that take turns, at its path.
func (p *Planner) planMount(m *spec.Mount) {
	o := &m.Object
	if p.Have.Host == nil {
		if _, mounted := p.Have.MountOf(p.Want, m.Storage); m.Storage == "" || !mounted || m.Absent {
			ob := p.needsHost()
			p.hold(o, "uuid", ob.Reason, ob.Cure...)
		}
		return
	}
	for _, op := range p.Have.Host.Running {
		if op.Lane == "mount/"+m.Ref.Name && p.Have.Memory.Flight(op.Lane) != nil { // our own
			p.mounting[m.Ref.Name] = true
			return
		}
		if op.Lane == "mount/"+m.Ref.Name {
			p.await(o, fmt.Sprintf("%s runs since %s", op.Name, p.Have.Clock(op.Since)), "wait for it")
			return
		}
	}
	at := slices.IndexFunc(p.Have.Host.Mounts, func(have privileged.Mount) bool { return have.Path == m.Path })
	var have privileged.Mount
	if at >= 0 {
		have = p.Have.Host.Mounts[at]
	}
	if m.Absent {
		p.planUnmount(m, have)
		return
	}
	if text := p.dying(m); text != "" {
		p.note(o, "%s", text)
	}
	if text := p.unsealed(m); text != "" {
		p.note(o, "%s", text)
	}
	if have.Mounted && !have.Gone {
		p.planMounted(m, have)
		return
	}
	if have.Fstab != nil && have.Fstab.Name == "" {
		p.hold(o, "path", fmt.Sprintf("%s belongs to another line of /etc/fstab: %s", have.Path, strings.Join(strings.Fields(have.Fstab.Text), " ")), "remove that line, or choose another path")
		return
	}
	for _, disk := range m.UUIDs {
		if _, ok := p.Have.Ejected(disk); ok {
			continue
		}
		found := p.disksOf(disk.UUID)
		if len(found) == 0 {
			continue
		}
		if !p.mountable(m, disk) {
			return
		}
		p.mounting[m.Ref.Name] = true
		p.mount(m, disk, fmt.Sprintf("mount %s (%s) at %s", Name(disk), found[0].Device, m.Path))
		return
	}
	if why, cure := p.ejectedOf(m); why != "" {
		p.hold(o, "uuid", why, cure...)
		return
	}
	p.hold(o, "uuid", NotPlugged(m)+privileged.Unreadable(p.Have.Host.Disks)+p.missedBy(m), "plug it in; the agent carries on by itself")
}

// mountable asks the root helper's own policy whether it mounts a disk, and blocks the mount with its reason where it does not.
func (p *Planner) mountable(m *spec.Mount, disk spec.Disk) bool {
	_, refused := privileged.Mountable(mountSpec(p.Have.Host, m, disk), p.Have.Host.Disks, p.Have.Host.Mounts)
	if refused != nil {
		p.hold(&m.Object, refused.Arg, refused.Reason, refused.Cure)
	}
	return refused == nil
}

// readOnly says that a mounted disk can only be read though its options do not say so, or nil: the kernel does that when it meets errors.
func (p *Planner) readOnly(m *spec.Mount) *plan.Blocker {
	if _, mounted := p.Have.MountedDisk(m); !mounted || slices.Contains(m.Options, "ro") {
		return nil
	}
	at := slices.IndexFunc(p.Have.Host.Mounts, func(have privileged.Mount) bool { return have.Path == m.Path && have.Mounted })
	have := p.Have.Host.Mounts[at]
	switch {
	case !slices.Contains(have.Options, "ro"):
		return nil
	case have.FSType == "ntfs":
		return &plan.Blocker{Reason: fmt.Sprintf("%s is mounted read-only: the driver ntfs does not write", m.Path), Cure: []string{"as root: umount " + m.Path + "; the agent mounts it with ntfs3"}}
	}
	return &plan.Blocker{Reason: fmt.Sprintf("%s (%s) is mounted read-only at %s, which its options do not ask for: the kernel may have met errors on it", disks(m), have.Source, m.Path),
		Cure: []string{fmt.Sprintf("see dmesg; as root: umount %s && fsck %s; the agent mounts it again", m.Path, have.Source), "to keep it so: options: [ro]"}}
}

// planMounted looks at what is mounted at the path of a mount: a declared disk stays, and
// has its line in /etc/fstab.
func (p *Planner) planMounted(m *spec.Mount, have privileged.Mount) {
	o := &m.Object
	disk, ours := p.Have.MountedDisk(m)
	if have.Silent {
		p.hold(o, "uuid", fmt.Sprintf("%s, which is mounted at %s, does not answer: it or its cable may be failing", have.Source, m.Path), "look: dmesg; then plug it in anew, or exchange it")
		return
	}
	if !ours {
		label := ""
		if have.Label != "" {
			label = fmt.Sprintf(" (label %s)", have.Label)
		}
		p.hold(o, "uuid", fmt.Sprintf("%s shows UUID %s%s, which is not declared. I leave it alone", m.Path, text.OrElse(have.UUID, "unknown"), label),
			fmt.Sprintf("unmount it yourself: umount %s, or declare its uuid", m.Path))
		return
	}
	if ob := p.ejecting(m); ob != nil {
		p.hold(o, "uuid", ob.Reason, ob.Cure...)
		return
	}
	for _, other := range m.UUIDs {
		if other.UUID != disk.UUID && len(p.disksOf(other.UUID)) > 0 {
			p.note(o, "%s is mounted and %s is plugged in too: the mounted one stays", Name(disk), Name(other))
		}
	}
	if ob := p.readOnly(m); ob != nil {
		p.hold(o, "options", ob.Reason, ob.Cure...)
		return
	}
	line, wanted := "", privileged.FstabEntry(mountSpec(p.Have.Host, m, disk))
	if have.Fstab != nil && have.Fstab.Name == m.Ref.Name {
		line = have.Fstab.Text
	}
	var changes []string
	if !privileged.Hardened(have) {
		changes = append(changes, "remount it with nosuid,nodev")
	}
	switch {
	case line == wanted:
	case line == "":
		changes = append(changes, "write its line into /etc/fstab")
	case wanted == "":
		changes = append(changes, "take its line out of /etc/fstab, for its disks take turns")
	default:
		changes = append(changes, "change its line in /etc/fstab, which counts when it is mounted the next time")
	}
	if len(changes) > 0 && p.mountable(m, disk) {
		p.mount(m, disk, strings.Join(changes, "; "))
	}
}

// ejectedOf says which disk of a mount was ejected and is still plugged in; "" for none.
func (p *Planner) ejectedOf(m *spec.Mount) (why string, cure []string) {
	for _, disk := range m.UUIDs {
		if h, ok := p.Have.Ejected(disk); ok && p.Have.Plugged(h) {
			return fmt.Sprintf("%s was ejected by %s on %s and is still plugged in", Name(disk), h.By, p.Have.Date(h.Since)),
				[]string{"unplug it; plugged in again, or another disk of this mount, it is mounted by itself", "to mount it as it is: felhom-agent --release " + m.Ref.String()}
		}
	}
	return "", nil
}

// away says, for what needs a mount, why none of its disks is mounted where that is not
// simply that none is plugged in, and what to do.
func (p *Planner) away(m *spec.Mount) (why string, cure []string) {
	if why, cure = p.ejectedOf(m); why != "" {
		return " (" + why + ")", cure
	}
	if p.Have.Host != nil {
		taken := slices.ContainsFunc(p.Have.Host.Mounts, func(have privileged.Mount) bool { return have.Path == m.Path && have.Mounted && !have.Gone })
		if taken || slices.ContainsFunc(m.UUIDs, func(d spec.Disk) bool { return len(p.disksOf(d.UUID)) > 0 }) {
			return "", []string{"see " + m.Ref.String()}
		}
		return "", []string{"plug in " + disks(m)}
	}
	return "", []string{fmt.Sprintf("plug in %s, and mount it on %s: this agent cannot", disks(m), p.Have.Node)}
}

// twin says that the newest backup may be on another disk than the mounted one: one of
// those that take turns with it is plugged in too, and what is on it cannot be seen.
func (p *Planner) twin(storage string) *plan.Blocker {
	m, mounted := p.Have.MountOf(p.Want, storage)
	if m == nil || !mounted || p.Have.Host == nil || deliberate.Deliberate.TrustUnseen {
		return nil
	}
	disk, ours := p.Have.MountedDisk(m)
	if !ours {
		return nil
	}
	for _, other := range m.UUIDs {
		if _, ejected := p.Have.Ejected(other); other.UUID == disk.UUID || ejected || len(p.disksOf(other.UUID)) == 0 {
			continue
		}
		return &plan.Blocker{Reason: fmt.Sprintf("%s is plugged in too, and may hold a newer backup of it than %s, which is mounted", Name(other), Name(disk)),
			Cure: []string{fmt.Sprintf("to use %s: unplug %s", Name(disk), Name(other)), fmt.Sprintf("to use %s: felhom-agent --eject %s", Name(other), m.Ref.Name)}}
	}
	return nil
}

// unsealed says that nothing keeps the disk below a mount point from being filled while
// the mount's own disk is away, or "".
func (p *Planner) unsealed(m *spec.Mount) string {
	below := slices.DeleteFunc(slices.Clone(p.Have.Host.Mounts), func(at privileged.Mount) bool { return at.Path == m.Path })
	under, ok := privileged.Under(below, m.Path)
	if !ok || privileged.SealsMountPoints(under.FSType) {
		return ""
	}
	return fmt.Sprintf("%s lies on %s (%s), where an empty mount point cannot be made immutable: what is written there while the disk is away fills that file system", m.Path, under.Path, text.OrElse(under.FSType, "of a kind unknown"))
}

// dying says that the disk which is mounted tells of itself that it fails, or "". It
// is only a note: a backup to a dying disk is better than none.
func (p *Planner) dying(m *spec.Mount) string {
	disk, mounted := p.Have.MountedDisk(m)
	if !mounted {
		return ""
	}
	what, failing := p.Have.Host.Failing[strings.ToLower(disk.UUID)]
	if !failing {
		return ""
	}
	return fmt.Sprintf("the disk %s of mounts/%s says that it fails (SMART): replace it, and copy what is on it first", what, m.Ref.Name)
}

// missedBy names what is declared and uses a disk that is away: storages and folders on it
// are found by their paths.
func (p *Planner) missedBy(m *spec.Mount) string {
	stores := func(storage string) bool {
		on, _ := p.Have.MountOf(p.Want, storage)
		return on == m
	}
	var users []string
	for _, ref := range p.Want.Refs() {
		uses := false
		switch ref.Kind {
		case spec.KindGolden:
			golden := p.Want.Golden[ref.Name]
			uses = golden.Publish != nil && stores(golden.Publish.Storage)
		case spec.KindBackup:
			uses = stores(p.Want.Backups[ref.Name].Storage)
		case spec.KindRestore, spec.KindGuest:
			for _, mp := range p.Want.Guest(ref.Name).Config.Mounts {
				uses = uses || mp.Bind() && node.Within(m.Path, p.bindSource(mp))
			}
		}
		if !uses || p.elsewhere(ref) != "" {
			continue
		}
		text := ref.String()
		if vmid, ok := p.vmid(ref); ok && ref.Kind != spec.KindGolden && p.Have.Guests[vmid] != nil && p.Have.Guests[vmid].Status == "running" {
			text += " (it runs, without the disk)"
		}
		users = append(users, text)
	}
	if len(users) == 0 {
		return ""
	}
	return "; it is needed by " + text.List(users)
}

func NotPlugged(m *spec.Mount) string {
	if len(m.UUIDs) == 1 {
		return fmt.Sprintf("%s is not plugged in", Name(m.UUIDs[0]))
	}
	var names []string
	for _, d := range m.UUIDs {
		names = append(names, Name(d))
	}
	return fmt.Sprintf("neither %s is plugged in", strings.Join(names, " nor "))
}

func Name(d spec.Disk) string { return text.OrElse(d.Label, "the disk "+d.UUID) }

// mountSpec is a disk of a mount as the fence mounts it. Two lines in /etc/fstab with one
// path break systemd's generator, so disks that take turns have none.
func mountSpec(host *node.HostState, m *spec.Mount, disk spec.Disk) privileged.MountSpec {
	s := privileged.MountSpec{Name: m.Ref.Name, UUID: disk.UUID, Path: m.Path, FSType: m.FSType, Options: m.Options, Fstab: len(m.UUIDs) == 1}
	if i := slices.IndexFunc(host.Disks, func(d privileged.Disk) bool { return strings.EqualFold(d.UUID, disk.UUID) }); i >= 0 {
		s = s.On(host.Disks[i])
	}
	return s
}

func (p *Planner) disksOf(uuid string) []privileged.Disk {
	var found []privileged.Disk
	for _, d := range p.Have.Host.Disks {
		if strings.EqualFold(d.UUID, uuid) {
			found = append(found, d)
		}
	}
	return found
}

func (p *Planner) mount(m *spec.Mount, disk spec.Disk, text string) {
	op := privileged.MountUSBByUUID(p.Have.Node, mountSpec(p.Have.Host, m, disk))
	p.act(plan.Action{ID: m.Ref.String() + "/mount/" + disk.UUID, Object: m.Ref, Verb: "mount", Symbol: plan.Create, Text: text,
		Lane: "mount/" + m.Ref.Name, Timeout: timeout(&m.Object, ShortTask), Op: &op})
}

// planUnmount carries out `ensure: absent`: nothing else but an eject unmounts.
func (p *Planner) planUnmount(m *spec.Mount, have privileged.Mount) {
	disk, ours := p.Have.MountedDisk(m)
	line := have.Fstab != nil && have.Fstab.Name == m.Ref.Name
	if !ours && !line {
		return
	}
	if users := p.users(m); len(users) > 0 {
		p.hold(&m.Object, "ensure", fmt.Sprintf("%s still uses %s", text.List(users), m.Path), "stop it first, or take its mount point away")
		return
	}
	op := privileged.UnmountUSB(p.Have.Node, privileged.UnmountSpec{Name: m.Ref.Name, UUID: disk.UUID, Path: m.Path, DropFstab: line})
	p.act(plan.Action{ID: m.Ref.String() + "/unmount", Object: m.Ref, Verb: "unmount", Symbol: plan.Delete, Text: fmt.Sprintf("unmount %s (ensure: absent)", m.Path),
		Effect: plan.Disruptive, Lane: "mount/" + m.Ref.Name, Timeout: timeout(&m.Object, ShortTask), Op: &op})
}

// users names the running guests that bind a folder of a mount.
func (p *Planner) users(m *spec.Mount) []string {
	var users []string
	for _, vmid := range slices.Sorted(maps.Keys(p.Have.Guests)) {
		state := p.Have.Guests[vmid]
		if state.Status != "running" || state.Config == nil {
			continue
		}
		for _, mp := range state.Config.MountPoints() {
			if mp.Kind() == proxmox.BindMount && node.Within(m.Path, path.Clean(mp.Volume())) {
				users = append(users, fmt.Sprintf("%d (%s)", vmid, state.Config.Hostname()))
				break
			}
		}
	}
	return users
}
