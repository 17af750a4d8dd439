package world

import (
	"path"
	"slices"
	"sort"
	"strings"
)

// Inside is the disk that a path lies on and the path in its file system.
func (n *Node) Inside(p string) (*Disk, string) {
	m := n.MountAt(p)
	return n.DiskOf(m), "/" + strings.Trim(strings.TrimPrefix(p, m.Target), "/")
}

// Exists reports whether there is a directory.
func (n *Node) Exists(p string) bool {
	p = path.Clean(p)
	for _, m := range n.Mounts {
		if m.Target == p {
			return true
		}
	}
	if m := n.MountAt(p); m.Ghost != nil {
		return false
	}
	d, rel := n.Inside(p)
	if d == nil {
		return false
	}
	if rel == "/" {
		return true
	}
	if d == n.RootDisk() {
		for _, sys := range []string{"/etc", "/usr", "/usr/bin", "/var", "/var/lib", "/run", "/run/systemd/system", "/tmp", "/dev", "/proc", "/sys", "/boot", "/home", "/mnt", "/media", "/srv", "/opt"} {
			if rel == sys {
				return true
			}
		}
	}
	for _, f := range d.Folders {
		if Under(f, rel) {
			return true
		}
	}
	for f := range d.Files {
		if f != rel && Under(f, rel) {
			return true
		}
	}
	for dir := range d.Dirs {
		if dir != "/" && Under(dir, rel) {
			return true
		}
		if base := strings.TrimSuffix(dir, "/"); len(d.Dirs[dir]) > 0 && (rel == base+"/dump" || rel == base+"/images") {
			return true
		}
	}
	return false
}

// HasDevice reports whether there is a device file.
func (n *Node) HasDevice(p string) bool {
	switch p {
	case "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/fuse", "/dev/net/tun", "/dev/kvm":
		return true
	}
	for _, d := range n.Disks {
		if !d.Absent && (d.Device == p || WholeDisk(d.Device) == p) {
			return true
		}
	}
	return slices.Contains(n.Devices, p)
}

// Immutable reports whether a path is a directory with chattr +i, or lies below one.
func (n *Node) Immutable(p string) bool {
	d, rel := n.Inside(p)
	if d == nil {
		return false
	}
	for _, l := range d.Locked {
		if Under(rel, l) {
			return true
		}
	}
	return false
}

// Mkdir makes a directory and its parents.
func (n *Node) Mkdir(p string) {
	d, rel := n.Inside(p)
	if d != nil && rel != "/" && !slices.Contains(d.Folders, rel) && !n.Exists(p) {
		d.Folders = append(d.Folders, rel)
	}
}

// What stands on a disk besides archives: plain files, such as a recovery kit.

// PlainFile is a file of a disk that is mounted on the host.
func (n *Node) PlainFile(name string) (text string, ok bool) {
	if m := n.MountAt(name); m == nil || m.Ghost != nil {
		return "", false
	}
	d, rel := n.Inside(path.Clean(name))
	if d == nil {
		return "", false
	}
	text, ok = d.Files[rel]
	return text, ok
}

// PlainNames are the names in a folder of a disk that is mounted on the host.
func (n *Node) PlainNames(name string) (names []string) {
	if m := n.MountAt(name); m == nil || m.Ghost != nil {
		return nil
	}
	d, rel := n.Inside(path.Clean(name))
	if d == nil {
		return nil
	}
	for file := range d.Files {
		if rest, ok := strings.CutPrefix(file, strings.TrimSuffix(rel, "/")+"/"); ok {
			first, _, _ := strings.Cut(rest, "/")
			if !slices.Contains(names, first) {
				names = append(names, first)
			}
		}
	}
	sort.Strings(names)
	return names
}
