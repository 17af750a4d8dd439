package spec

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/proxmox"
)

// MountPoint is a declared mpN: a volume to allocate (Storage, Size), a volume
// to attach (Volume), or a bind of a folder of a declared disk (Mount, Folder)
// or of the host (Host).
type MountPoint struct {
	Pos      Pos
	Storage  string
	Size     proxmox.Size
	Volume   string // volume id
	Mount    string // name of an object under mounts
	Folder   string // relative to the mount's path, clean
	Host     string // absolute path on the host, clean
	Path     string // mp: the path inside the guest
	Backup   bool
	ReadOnly bool
	Options  map[string]string // acl, quota, replicate, shared, mountoptions, …: the declared ones, canonical
}

// Bind reports whether the mount point binds a folder of the host.
func (m MountPoint) Bind() bool { return m.Mount != "" || m.Host != "" }

func option(key string, v value[string], doc string) field[MountPoint] {
	return of(key, NeedsRestart, v, func(m *MountPoint, got string) {
		if m.Options == nil {
			m.Options = map[string]string{}
		}
		m.Options[key] = got
	}, doc)
}

const fileSystemFlags = `(discard|lazytime|noatime|nodev|noexec|nosuid)`

var mountPointShape = shaped(map[string]string{"path": "PVE calls the path inside the guest mp: mp: /data.", "readonly": "PVE calls it ro: ro: true."},
	of("storage", BirthOnly, storage, func(m *MountPoint, v string) { m.Storage = v }, "A new volume on this storage."),
	of("size", Live, size(proxmox.GiB, proxmox.MiB), func(m *MountPoint, v proxmox.Size) { m.Size = v }, "Its size; larger later is a resize, smaller is refused."),
	of("volume", BirthOnly, volume, func(m *MountPoint, v string) { m.Volume = v }, "This volume of the guest, attached again."),
	of("mount", RootOnly, text, func(m *MountPoint, v string) { m.Mount = v }, "A folder of this declared disk."),
	of("folder", RootOnly, name("folder", checkFolder), func(m *MountPoint, v string) { m.Folder = v }, "With mount: which folder."),
	of("host", RootOnly, name("absolute path", checkPath), func(m *MountPoint, v string) { m.Host = v }, "A folder of the host that is on no declared disk."),
	of("mp", NeedsRestart, name("absolute path", checkPath), func(m *MountPoint, v string) { m.Path = v }, "Where the guest sees it.").
		must("Say where the guest sees it: mp: /data."),
	of("backup", NeedsRestart, boolean, func(m *MountPoint, v bool) { m.Backup = v }, "Whether backups contain the volume; must be said of every volume."),
	of("ro", NeedsRestart, boolean, func(m *MountPoint, v bool) { m.ReadOnly = v }, "Whether it is read-only."),
	option("acl", zeroOne, "Whether it has ACLs."),
	option("quota", zeroOne, "Whether it has quotas."),
	option("replicate", zeroOne, "Whether it is part of storage replication."),
	option("shared", zeroOne, "Whether it is there on all nodes."),
	option("keepattrs", zeroOne, "Whether owner and mode of the mount point are kept."),
	option("mountoptions", matching("list of mount options", `^`+fileSystemFlags+`(;`+fileSystemFlags+`)*$`, "expected some of discard, lazytime, noatime, nodev, noexec and nosuid, joined by ;"), "Such as noatime;nosuid."),
	option("idmap", matching("map of user ids", `^(passthrough|[ug]:[0-9]+:[0-9]+:[1-9][0-9]*(;[ug]:[0-9]+:[0-9]+:[1-9][0-9]*)*)$`, "expected passthrough, or for example u:0:100000:65536"), "How user ids map."),
)

var mountPoint = value[MountPoint]{
	name: "mount point (map or PVE's string)", schema: either(mountPointShape.schema(), typed("string")), below: mountPointShape.table(),
	read: func(a at, n *yaml.Node) (m MountPoint, ok bool) {
		m.Pos = a.pos()
		if n = resolve(n); n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
			ok = readMountText(a, n.Value, &m)
		} else {
			ok = mountPointShape.fill(a, n, &m)
		}
		return m, ok && checkMountPoint(a, &m)
	},
}

// readMountText reads what PVE prints ("local-lvm:vm-111-disk-1,mp=/data,size=8G",
// the size being information alone) or takes ("local-lvm:8,mp=/data").
func readMountText(a at, s string, m *MountPoint) bool {
	p, err := proxmox.ParseMountPoint(s)
	if err != nil {
		a.refuse(err)
		return false
	}
	source := p.Volume()
	if p.Path() == "" {
		a.fail("Add it: "+s+",mp=/data.", "says no path inside the guest")
		return false
	}
	delete(p, "volume")
	delete(p, "size")
	mountPointShape.fillText(a, p, m)
	switch {
	case source == "":
		a.fail("Write for example local-lvm:vm-111-disk-1,mp=/data,backup=1.", "says no volume")
		return false
	case strings.HasPrefix(source, "/"):
		if err := checkPath(source); err != nil {
			a.refuse(err)
			return false
		}
		m.Host = source
		return true
	}
	id, err := proxmox.ParseVolumeID(source)
	if err != nil {
		a.refuse(err)
		return false
	}
	if size, asked, err := newVolume(id); err != nil {
		a.refuse(err)
		return false
	} else if asked {
		m.Storage, m.Size = id.Storage, size
	} else {
		m.Volume = source
	}
	return true
}

// checkMountPoint looks at one mount point alone.
func checkMountPoint(a at, m *MountPoint) bool {
	said := func(key string) bool {
		_, ok := a.obj.lines[a.path+"."+key]
		return ok
	}
	var ways []string
	for _, w := range []struct {
		name string
		is   bool
	}{{"storage", m.Storage != ""}, {"volume", m.Volume != ""}, {"mount", m.Mount != ""}, {"host", m.Host != ""}} {
		if w.is {
			ways = append(ways, w.name)
		}
	}
	switch {
	case len(ways) == 0 && (said("storage") || said("volume") || said("mount") || said("host")):
		return false // a mistake that is named already
	case len(ways) == 0:
		a.fail("A volume: {storage: local-lvm, size: 8G, mp: /data, backup: true}; a folder of a disk: {mount: NAME, folder: NAME, mp: /media}.", "does not say what is mounted")
	case len(ways) > 1:
		a.fail("Keep one of them.", "mounts several things: %s", list(ways))
	case m.Storage != "" && m.Size == 0 && !said("size"):
		a.fail("Say how large: size: 8G.", "makes a volume without a size")
	case m.Bind() && m.Size != 0:
		a.fail("Leave size out.", "a folder of the host has no size")
	case m.Folder != "" && m.Mount == "":
		a.fail("Say of which disk: mount: NAME.", "names a folder, but no disk")
	case m.Mount != "" && m.Folder == "" && !said("folder"):
		a.fail("Give a folder: folder: library.", "binds the root of a disk; while it is disconnected, the guest starts with an empty %s", m.Path)
	case m.Bind() && said("backup"):
		a.fail("Leave backup out.", "a folder of the host is never in a backup")
	case !m.Bind() && !said("backup"):
		a.fail("Say backup: true, or backup: false where it may be lost.", "does not say whether backups contain %s; PVE leaves it out, and a restore makes it empty", cmp.Or(m.Path, "it"))
	default:
		return true
	}
	return false
}

// checkFolder wants a folder below the disk's root.
func checkFolder(s string) error {
	switch {
	case s == "" || s == "." || s == "/":
		return fmt.Errorf("%q is the root of the disk; while that is disconnected, the guest starts with an empty folder: name a folder below it, for example library", s)
	case strings.HasPrefix(s, "/"):
		return fmt.Errorf("invalid folder %q, it begins with a slash: expected a path from the disk's root, as %s", s, strings.TrimLeft(path.Clean(s), "/"))
	case path.Clean(s) != s || s == ".." || strings.HasPrefix(s, "../"):
		return fmt.Errorf("invalid folder %q, it leaves the disk or is not in its shortest form: expected for example library/films", s)
	}
	return checkPath("/" + s)
}
