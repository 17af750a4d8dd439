package questions

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// Ejecting says that the mounted disk of a mount is about to be unplugged, or nil:
// nothing new is begun on it.
func Ejecting(q Questions, m *spec.Mount) *plan.Blocker {
	disk, mounted := q.Have.MountedDisk(m)
	if !mounted {
		return nil
	}
	h, ok := node.Ejected(q.Have, disk)
	if !ok {
		return nil
	}
	return &plan.Blocker{Reason: fmt.Sprintf("%s of %s is being ejected by %s since %s", Name(disk), m.Ref, h.By, q.Have.Date(h.Since)),
		Fix: []string{"disconnect it when --eject says so", "to keep it: felhom-agent --release " + m.Ref.String()}}
}

// ReadOnly says that a mounted disk can only be read though its options do not say so, or nil: the kernel does that when it meets errors.
func ReadOnly(q Questions, m *spec.Mount) *plan.Blocker {
	if _, mounted := q.Have.MountedDisk(m); !mounted || slices.Contains(m.Options, "ro") {
		return nil
	}
	at := slices.IndexFunc(q.Have.Host.Mounts, func(have privileged.Mount) bool { return have.Path == m.Path && have.Mounted })
	have := q.Have.Host.Mounts[at]
	switch {
	case !slices.Contains(have.Options, "ro"):
		return nil
	case have.FSType == "ntfs":
		return &plan.Blocker{Reason: fmt.Sprintf("%s is mounted read-only: the driver ntfs does not write", m.Path), Fix: []string{"as root: umount " + m.Path + "; the agent mounts it with ntfs3"}}
	}
	return &plan.Blocker{Reason: fmt.Sprintf("%s (%s) is mounted read-only at %s, which its options do not ask for: the kernel may have met errors on it", disks(m), have.Source, m.Path),
		Fix: []string{fmt.Sprintf("see dmesg. As root: umount %s && fsck %s; the agent mounts it again", m.Path, have.Source), "to keep it so: options: [ro]"}}
}

// Mixed says that what is mounted at a path is on a disk with the signatures of several file systems, so that nobody can say which disk it is; nil otherwise.
func Mixed(q Questions, have privileged.Mount) *plan.Blocker {
	for _, d := range q.Have.Host.Disks {
		if d.Device == have.Source && len(d.Kinds) > 0 {
			return &plan.Blocker{Reason: fmt.Sprintf("%s, which is mounted at %s, has the signatures of several file systems: %s", d.Device, have.Path, strings.Join(d.Kinds, ", ")),
				Fix: []string{fmt.Sprintf("as root: umount %s; wipefs %s lists them, wipefs -o OFFSET %s removes an old one", have.Path, d.Device, d.Device)}}
		}
	}
	return nil
}

// EjectedOf says which disk of a mount was ejected and is still connected; "" for none.
func EjectedOf(q Questions, m *spec.Mount) (why string, fix []string) {
	for _, disk := range m.UUIDs {
		if h, ok := node.Ejected(q.Have, disk); ok && node.Connected(q.Have, h) {
			return fmt.Sprintf("%s was ejected by %s on %s and is still connected", Name(disk), h.By, q.Have.Date(h.Since)),
				[]string{"disconnect it; when it or another disk of this mount is connected, it is mounted by itself", "to mount it as it is: felhom-agent --release " + m.Ref.String()}
		}
	}
	return "", nil
}

// Disconnected says, for what needs a mount, why none of its disks is mounted where that is not
// simply that none is plugged in, and what to do.
func Disconnected(q Questions, m *spec.Mount) (why string, fix []string) {
	if why, fix = EjectedOf(q, m); why != "" {
		why = " (" + why + ")"
	}
	if TellsItself(q, m) {
		return why, []string{"as " + m.Ref.String()}
	}
	if why != "" {
		return why, fix
	}
	if q.Have.Host != nil {
		taken := slices.ContainsFunc(q.Have.Host.Mounts, func(have privileged.Mount) bool { return have.Path == m.Path && have.Mounted && !have.Gone })
		if taken || slices.ContainsFunc(m.UUIDs, func(d spec.Disk) bool { return len(DisksOf(q, d.UUID)) > 0 }) {
			return "", []string{"see " + m.Ref.String()}
		}
		if privileged.Unreadable(q.Have.Host.Disks) != "" { // it may be connected, and one of those
			return "", []string{"see " + m.Ref.String()}
		}
		return "", []string{"connect " + disks(m)}
	}
	return "", []string{MountYourself(q, m)}
}

// MountYourself is the fix where no runner is there to mount.
func MountYourself(q Questions, m *spec.Mount) string {
	return fmt.Sprintf("connect %s, and mount it on %s: this agent cannot", disks(m), q.Have.Node)
}

// TellsItself reports whether a plan says of a mount itself what is wrong with it, so that
// what it blocks only names it.
func TellsItself(q Questions, m *spec.Mount) bool {
	return !m.Absent && (q.Have.Scope == nil || q.Have.Scope[m.Ref]) && Elsewhere(q, m.Ref) == ""
}

// Misplaced says that the storage of a mount lies elsewhere than the mount, or nil.
func Misplaced(q Questions, m *spec.Mount) *plan.Blocker {
	state := q.Have.Storages[m.Storage]
	if m.Storage == "" || state == nil || state.Conf.Path == "" || node.Within(m.Path, state.Conf.Path) {
		return nil
	}
	return &plan.Blocker{Reason: fmt.Sprintf("storage %s lies at %s, and %s at %s", m.Storage, state.Conf.Path, m.Ref, m.Path),
		Fix: []string{"path: " + state.Conf.Path, fmt.Sprintf("or make the storage again: pvesm remove %s; pvesm add dir %s --path %s --content backup --is_mountpoint yes --prune-backups keep-all=1", m.Storage, m.Storage, m.Path)}}
}

// Twin says that the newest backup may be on another disk than the mounted one: one of
// those that take turns with it is plugged in too, and what is on it cannot be seen.
func Twin(q Questions, storage string) *plan.Blocker {
	m, mounted := q.Have.MountOf(q.Want, storage)
	if m == nil || !mounted || q.Have.Host == nil {
		return nil
	}
	disk, ours := q.Have.MountedDisk(m)
	if !ours {
		return nil
	}
	for _, other := range m.UUIDs {
		if _, ejected := node.Ejected(q.Have, other); other.UUID == disk.UUID || ejected || len(DisksOf(q, other.UUID)) == 0 {
			continue
		}
		return &plan.Blocker{Reason: fmt.Sprintf("%s is connected too, and may hold a newer backup of it than %s, which is mounted", Name(other), Name(disk)),
			Fix: []string{fmt.Sprintf("to use %s: disconnect %s", Name(disk), Name(other)), fmt.Sprintf("to use %s: felhom-agent --eject %s", Name(other), m.Ref.Name)}}
	}
	return nil
}

// Unsealed says that nothing keeps the disk below a mount point from being filled while
// the mount's own disk is away, or "".
func Unsealed(q Questions, m *spec.Mount) string {
	below := slices.DeleteFunc(slices.Clone(q.Have.Host.Mounts), func(at privileged.Mount) bool { return at.Path == m.Path })
	under, ok := privileged.Under(below, m.Path)
	if !ok || privileged.SealsMountPoints(under.FSType) {
		return ""
	}
	return fmt.Sprintf("%s is on %s (%s), where an empty mount point cannot be made immutable: what is written there while the disk is disconnected fills that file system", m.Path, under.Path, text.OrElse(under.FSType, "of a kind unknown"))
}

// Dying says that the disk which is mounted tells of itself that it fails, or "". It
// is only a note: a backup to a dying disk is better than none.
func Dying(q Questions, m *spec.Mount) string {
	disk, mounted := q.Have.MountedDisk(m)
	if !mounted {
		return ""
	}
	what, failing := q.Have.Host.Failing[strings.ToLower(disk.UUID)]
	if !failing {
		return ""
	}
	return fmt.Sprintf("the disk %s of mounts/%s says that it fails (SMART): replace it, and copy what is on it first", what, m.Ref.Name)
}

// MissedBy names what is declared and uses a disk that is away: storages and folders on it
// are found by their paths.
func MissedBy(q Questions, m *spec.Mount) string {
	stores := func(storage string) bool {
		on, _ := q.Have.MountOf(q.Want, storage)
		return on == m
	}
	var users []string
	for _, ref := range q.Want.Refs() {
		uses := false
		switch ref.Kind {
		case spec.KindGolden:
			golden := q.Want.Golden[ref.Name]
			uses = golden.Publish != nil && stores(golden.Publish.Storage)
		case spec.KindBackup:
			uses = stores(q.Want.Backups[ref.Name].Storage)
		case spec.KindRestore, spec.KindGuest:
			for _, mp := range q.Want.Guest(ref.Name).Config.Mounts {
				uses = uses || mp.Bind() && node.Within(m.Path, BindSource(q, mp))
			}
		}
		if !uses || Elsewhere(q, ref) != "" {
			continue
		}
		text := ref.String()
		if vmid, ok := Vmid(q, ref); ok && ref.Kind != spec.KindGolden && q.Have.Guests[vmid] != nil && q.Have.Guests[vmid].Status == "running" {
			text += " (it runs, without the disk)"
		}
		users = append(users, text)
	}
	if len(users) == 0 {
		return ""
	}
	return "; it is needed by " + text.List(users)
}

func Name(d spec.Disk) string { return text.OrElse(d.Label, "the disk "+d.UUID) }

func DisksOf(q Questions, uuid string) []privileged.Disk {
	var found []privileged.Disk
	for _, d := range q.Have.Host.Disks {
		if strings.EqualFold(d.UUID, uuid) {
			found = append(found, d)
		}
	}
	return found
}

// Users names the running guests that bind a folder of a mount.
func Users(q Questions, m *spec.Mount) []string {
	var users []string
	for _, vmid := range text.Keys(q.Have.Guests) {
		state := q.Have.Guests[vmid]
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

// MountSpec is a disk of a mount as the root helper mounts it. Two lines in /etc/fstab with one
// path break systemd's generator, so disks that take turns have none.
func MountSpec(host *node.HostState, m *spec.Mount, disk spec.Disk) privileged.MountSpec {
	s := privileged.MountSpec{Name: m.Ref.Name, UUID: disk.UUID, Path: m.Path, FSType: m.FSType, Options: m.Options, Fstab: len(m.UUIDs) == 1}
	if i := slices.IndexFunc(host.Disks, func(d privileged.Disk) bool { return strings.EqualFold(d.UUID, disk.UUID) }); i >= 0 {
		s = s.On(host.Disks[i])
	}
	return s
}
