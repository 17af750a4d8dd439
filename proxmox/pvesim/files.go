package pvesim

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

func (s *Sim) readFile(n *node, name string) ([]byte, error) {
	switch name {
	case "/etc/fstab":
		return []byte(n.Fstab), nil
	case "/etc/pve/.vmlist":
		type entry struct {
			Node    string `json:"node"`
			Type    string `json:"type"`
			Version int    `json:"version"`
		}
		ids := make(map[string]entry)
		for _, g := range s.w.Guests {
			kind := "lxc"
			if g.Qemu {
				kind = "qemu"
			}
			ids[itoa(g.VMID)] = entry{g.Node, kind, 1}
		}
		return json.Marshal(map[string]any{"version": 1, "ids": ids})
	}
	if text, ok := n.Files[name]; ok {
		return []byte(text), nil
	}
	if text, ok := n.plainFile(name); ok {
		return []byte(text), nil
	}
	if dir, file := path.Split(name); strings.HasPrefix(dir, "/etc/pve/") && strings.HasSuffix(dir, "/lxc/") {
		node := strings.TrimSuffix(strings.TrimPrefix(dir, "/etc/pve/"), "lxc/")
		node = strings.Trim(strings.TrimPrefix(node, "nodes/"), "/")
		if node == "" || node == "local" {
			node = n.Name
		}
		if g := s.guests[atoi(strings.TrimSuffix(file, ".conf"))]; g != nil && !g.Qemu && g.Node == node {
			return []byte(g.conf.text()), nil
		}
	}
	if rest, ok := strings.CutPrefix(name, "/sys/fs/cgroup/lxc/"); ok {
		id, file, _ := strings.Cut(rest, "/")
		if g := s.guests[atoi(id)]; g != nil && g.Running && !g.Qemu && g.Node == n.Name && itoa(g.VMID) == id {
			if text := s.memoryFile(g, file); text != "" {
				return []byte(text), nil
			}
		}
	}
	for i, d := range n.Disks {
		if !d.Absent && name == "/sys/class/block/"+path.Base(wholeDisk(d.Device))+"/diskseq" { // never the same for two disks
			return []byte(fmt.Sprintf("%d\n", d.Instance*len(n.Disks)+i+1)), nil
		}
		if d.Absent || !strings.HasPrefix(name, "/sys/class/block/"+path.Base(d.Device)+"/") {
			if !d.Absent && name == "/run/udev/data/b"+deviceNumber(d.Device) && d.Transport == "usb" {
				return []byte("E:ID_BUS=usb\n"), nil
			}
			continue
		}
		switch path.Base(name) {
		case "size":
			return []byte(fmt.Sprintf("%d\n", d.Size/512)), nil
		case "dev":
			return []byte(deviceNumber(d.Device) + "\n"), nil
		}
	}
	return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
}

// inside is the disk that a path lies on and the path in its file system.
func (n *node) inside(p string) (*disk, string) {
	m := n.mountAt(p)
	return n.diskOf(m), "/" + strings.Trim(strings.TrimPrefix(p, m.Target), "/")
}

// exists reports whether there is a directory.
func (n *node) exists(p string) bool {
	p = path.Clean(p)
	for _, m := range n.Mounts {
		if m.Target == p {
			return true
		}
	}
	if m := n.mountAt(p); m.Ghost != nil {
		return false
	}
	d, rel := n.inside(p)
	if d == nil {
		return false
	}
	if rel == "/" {
		return true
	}
	if d == n.rootDisk() {
		for _, sys := range []string{"/etc", "/usr", "/usr/bin", "/var", "/var/lib", "/run", "/run/systemd/system", "/tmp", "/dev", "/proc", "/sys", "/boot", "/home", "/mnt", "/media", "/srv", "/opt"} {
			if rel == sys {
				return true
			}
		}
	}
	for _, f := range d.Folders {
		if under(f, rel) {
			return true
		}
	}
	for f := range d.Files {
		if f != rel && under(f, rel) {
			return true
		}
	}
	for dir := range d.Dirs {
		if dir != "/" && under(dir, rel) {
			return true
		}
		if base := strings.TrimSuffix(dir, "/"); len(d.Dirs[dir]) > 0 && (rel == base+"/dump" || rel == base+"/images") {
			return true
		}
	}
	return false
}

// hasDevice reports whether there is a device file.
func (n *node) hasDevice(p string) bool {
	switch p {
	case "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/fuse", "/dev/net/tun", "/dev/kvm":
		return true
	}
	for _, d := range n.Disks {
		if !d.Absent && (d.Device == p || wholeDisk(d.Device) == p) {
			return true
		}
	}
	return contains(n.Devices, p)
}

// immutable reports whether a path is a directory with chattr +i, or lies below one.
func (n *node) immutable(p string) bool {
	d, rel := n.inside(p)
	if d == nil {
		return false
	}
	for _, l := range d.Locked {
		if under(rel, l) {
			return true
		}
	}
	return false
}

// mkdir makes a directory and its parents.
func (n *node) mkdir(p string) {
	d, rel := n.inside(p)
	if d != nil && rel != "/" && !contains(d.Folders, rel) && !n.exists(p) {
		d.Folders = append(d.Folders, rel)
	}
}
