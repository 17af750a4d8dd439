// Package machine is the computer under a node: disks that are plugged in and pulled out, the mount
// table and the fstab, memory, the files of /proc and /sys, and a new installation.
package machine

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// HoldOf is what a guest that starts now gets for a mount point.
func HoldOf(cl *cluster.Cluster, n *world.Node, m lxcconf.MountPoint) (world.Hold, error) {
	options := "rw,relatime"
	if m.Props["ro"] == "1" {
		options = "ro,relatime"
	}
	h := world.Hold{MP: m.Key, Path: m.Path, Options: options, Root: "/", FS: "ext4"}
	switch m.Kind() {
	case "volume":
		id, name, _ := strings.Cut(m.Volid(), ":")
		st := cl.Storages[id]
		if st == nil {
			return h, fmt.Errorf("storage '%s' does not exist", id)
		}
		h.Source = st.PathOf(name)
		if st.Type == "lvmthin" || st.Type == "lvm" {
			h.Source = "/dev/mapper/" + st.VolumeGroup() + "-" + strings.ReplaceAll(name, "-", "--")
		}
	case "device":
		h.Source = m.Volid()
	default:
		at := n.MountAt(m.Volid())
		h.Source, h.UUID, h.Instance, h.FS = at.Device, at.UUID, at.Instance, at.FS
		h.Root = "/" + strings.Trim(strings.TrimPrefix(m.Volid(), at.Target), "/")
		if !n.Exists(m.Volid()) {
			return h, fmt.Errorf("directory '%s' does not exist", m.Volid())
		}
	}
	return h, nil
}

// MountDisk mounts a plugged disk; the text is mount's complaint.
func MountDisk(n *world.Node, device, target, options string) string {
	target = path.Clean(target)
	var d *world.Disk
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
	if !n.Exists(target) {
		return fmt.Sprintf("mount: %s: mount point does not exist.", target)
	}
	for _, m := range n.Mounts {
		if m.Target == target && m.Device == d.Device && m.Ghost == nil {
			return fmt.Sprintf("mount: %s: %s already mounted on %s.", target, d.Device, target)
		}
	}
	n.Mounts = append(n.Mounts, &world.Mount{Device: d.Device, UUID: d.UUID, Instance: d.Instance, Target: target, FS: d.FS, Options: MountOptions(options)})
	return ""
}

// MountOptions is what a mount table shows of the options of a mount.
func MountOptions(options string) string {
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

// Unmount takes the last mount of a path or device away; the text is umount's complaint.
func Unmount(cl *cluster.Cluster, n *world.Node, what string, lazy bool) string {
	what = strings.TrimSuffix(what, "/")
	for i := len(n.Mounts) - 1; i >= 0; i-- {
		m := n.Mounts[i]
		if m.Target == "/" || m.Target != what && m.Device != what {
			continue
		}
		for _, other := range n.Mounts {
			if !lazy && other != m && other.Target != m.Target && world.Under(other.Target, m.Target) {
				return fmt.Sprintf("umount: %s: target is busy.", m.Target)
			}
		}
		for _, t := range cl.Running { // a worker that writes there
			if st := cl.Storages[t.Args["storage"]]; !lazy && t.Node == n && t.Type == "vzdump" && t.Phase == 2 && st != nil && n.MountAt(st.Path) == m {
				return fmt.Sprintf("umount: %s: target is busy.", m.Target)
			}
		}
		if d := n.DiskOf(m); d != nil && m.Ghost == nil {
			d.Sync()
		}
		n.Mounts = append(n.Mounts[:i:i], n.Mounts[i+1:]...)
		return ""
	}
	return fmt.Sprintf("umount: %s: not mounted.", what)
}

// UnmountAll leaves only the root file system mounted.
func UnmountAll(n *world.Node) {
	var kept []*world.Mount
	for _, m := range n.Mounts {
		if m.Target == "/" {
			kept = append(kept, m)
		} else if d := n.DiskOf(m); d != nil && m.Ghost == nil {
			d.Sync()
		}
	}
	n.Mounts = kept
}

// MountFstab mounts what the fstab says, as far as the disks are there.
func MountFstab(n *world.Node) {
	for _, f := range n.FstabLines() {
		target := f[1]
		if f[1] == "/" || !strings.HasPrefix(f[1], "/") || slices.Contains(strings.Split(f[3], ","), "noauto") || f[2] == "proc" {
			continue
		}
		if m := n.MountAt(target); m.Target == path.Clean(target) {
			continue
		}
		_ = MountDisk(n, strings.Trim(f[0], `"`), target, f[3])
	}
}

// HoldAll lets guests that run hold what they have mounted.
func HoldAll(cl *cluster.Cluster) {
	for _, g := range cl.World.Guests {
		for _, m := range g.Conf.MountPoints() {
			if h, err := HoldOf(cl, cl.World.Node(g.Node), m); err == nil {
				g.Holds = append(g.Holds, h)
			}
		}
	}
}
