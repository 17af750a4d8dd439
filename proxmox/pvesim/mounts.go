package pvesim

import (
	"fmt"
	"path"
	"strings"
)

// holdOf is what a guest that starts now gets for a mount point.
func (s *Sim) holdOf(n *node, m mountPoint) (hold, error) {
	options := "rw,relatime"
	if m.props["ro"] == "1" {
		options = "ro,relatime"
	}
	h := hold{MP: m.key, Path: m.path, Options: options, Root: "/", FS: "ext4"}
	switch m.kind() {
	case "volume":
		id, name, _ := strings.Cut(m.volid(), ":")
		st := s.storages[id]
		if st == nil {
			return h, fmt.Errorf("storage '%s' does not exist", id)
		}
		h.Source = st.path(name)
		if st.Type == "lvmthin" || st.Type == "lvm" {
			h.Source = "/dev/mapper/" + st.vg() + "-" + strings.ReplaceAll(name, "-", "--")
		}
	case "device":
		h.Source = m.volid()
	default:
		at := n.mountAt(m.volid())
		h.Source, h.UUID, h.Instance, h.FS = at.Device, at.UUID, at.Instance, at.FS
		h.Root = "/" + strings.Trim(strings.TrimPrefix(m.volid(), at.Target), "/")
		if !n.exists(m.volid()) {
			return h, fmt.Errorf("directory '%s' does not exist", m.volid())
		}
	}
	return h, nil
}

// mountDisk mounts a plugged disk; the text is mount's complaint.
func (s *Sim) mountDisk(n *node, device, target, options string) string {
	target = path.Clean(target)
	var d *disk
	for _, k := range n.Disks {
		if !k.Absent && (k.Device == device || "UUID="+k.UUID == device || k.Label != "" && "LABEL="+k.Label == device ||
			device == "/dev/disk/by-uuid/"+k.UUID) {
			d = k
		}
	}
	if d == nil {
		if uuid, ok := strings.CutPrefix(device, "UUID="); ok {
			return fmt.Sprintf("mount: %s: can't find UUID=%s.", target, uuid)
		}
		return fmt.Sprintf("mount: %s: special device %s does not exist.", target, device)
	}
	if !n.exists(target) {
		return fmt.Sprintf("mount: %s: mount point does not exist.", target)
	}
	for _, m := range n.Mounts {
		if m.Target == target && m.Device == d.Device && m.Ghost == nil {
			return fmt.Sprintf("mount: %s: %s already mounted on %s.", target, d.Device, target)
		}
	}
	n.Mounts = append(n.Mounts, &mount{Device: d.Device, UUID: d.UUID, Instance: d.Instance, Target: target, FS: d.FS, Options: mountOptions(options)})
	return ""
}

// mountOptions is what a mount table shows of the options of a mount.
func mountOptions(options string) string {
	opts := "rw,relatime"
	for _, o := range strings.Split(options, ",") {
		switch {
		case o == "ro":
			opts = strings.Replace(opts, "rw", "ro", 1)
		case o == "noatime" || o == "nodiratime" || o == "strictatime" || o == "lazytime":
			opts = strings.Replace(opts, "relatime", o, 1)
		case o == "nosuid" || o == "nodev" || o == "noexec" || o == "discard":
			opts += "," + o
		}
	}
	return opts
}

// unmount takes the last mount of a path or device away; the text is umount's complaint.
func (s *Sim) unmount(n *node, what string, lazy bool) string {
	what = strings.TrimSuffix(what, "/")
	for i := len(n.Mounts) - 1; i >= 0; i-- {
		m := n.Mounts[i]
		if m.Target == "/" || m.Target != what && m.Device != what {
			continue
		}
		for _, other := range n.Mounts {
			if !lazy && other != m && other.Target != m.Target && under(other.Target, m.Target) {
				return fmt.Sprintf("umount: %s: target is busy.", m.Target)
			}
		}
		for _, t := range s.running { // a worker that writes there
			if st := s.storages[t.Args["storage"]]; !lazy && t.node == n && t.Type == "vzdump" && t.Phase == 2 && st != nil && n.mountAt(st.Path) == m {
				return fmt.Sprintf("umount: %s: target is busy.", m.Target)
			}
		}
		if d := n.diskOf(m); d != nil && m.Ghost == nil {
			d.sync()
		}
		n.Mounts = append(n.Mounts[:i:i], n.Mounts[i+1:]...)
		return ""
	}
	return fmt.Sprintf("umount: %s: not mounted.", what)
}

// unmountAll leaves only the root file system mounted.
func (s *Sim) unmountAll(n *node) {
	var kept []*mount
	for _, m := range n.Mounts {
		if m.Target == "/" {
			kept = append(kept, m)
		} else if d := n.diskOf(m); d != nil && m.Ghost == nil {
			d.sync()
		}
	}
	n.Mounts = kept
}

// mntent decodes what getmntent(3) decodes, and nothing else.
var mntent = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\\`, `\`)

// fstabLines are the entries of the host's fstab.
func (n *node) fstabLines() [][]string {
	var lines [][]string
	for _, line := range strings.Split(n.Fstab, "\n") {
		if f := strings.Fields(line); len(f) >= 4 && !strings.HasPrefix(f[0], "#") { // elsewhere a # is a character as any other
			f[1] = mntent.Replace(f[1])
			lines = append(lines, f)
		}
	}
	return lines
}

// mountFstab mounts what the fstab says, as far as the disks are there.
func (s *Sim) mountFstab(n *node) {
	for _, f := range n.fstabLines() {
		target := f[1]
		if f[1] == "/" || !strings.HasPrefix(f[1], "/") || contains(strings.Split(f[3], ","), "noauto") || f[2] == "proc" {
			continue
		}
		if m := n.mountAt(target); m.Target == path.Clean(target) {
			continue
		}
		_ = s.mountDisk(n, strings.Trim(f[0], `"`), target, f[3])
	}
}

// mountpoint reports whether something is mounted at a path.
func (n *node) mountpoint(p string) bool {
	return n.mountAt(path.Clean(p)).Target == path.Clean(p)
}
