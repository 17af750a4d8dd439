package machine

import (
	"path"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Plug plugs the disk with a file system's UUID in. Where its old device name is still
// in use it gets the next free one.
func Plug(cl *cluster.Cluster, uuid string) {
	for _, n := range cl.World.Nodes {
		for _, d := range n.Disks {
			if d.UUID != uuid || !d.Absent {
				continue
			}
			d.Absent = false
			d.Instance++
			if d.Device == "" || inUse(cl, n, d.Device) {
				d.Device = freeDevice(cl, n)
			}
		}
	}
}

func inUse(cl *cluster.Cluster, n *world.Node, device string) bool {
	for _, m := range n.Mounts {
		if m.Device == device {
			return true
		}
	}
	for _, d := range n.Disks {
		if !d.Absent && d.Device == device {
			return true
		}
	}
	for _, g := range cl.World.Guests {
		for _, h := range g.Holds {
			if g.Running && h.Source == device {
				return true
			}
		}
	}
	return false
}

func freeDevice(cl *cluster.Cluster, n *world.Node) string {
	for c := 'b'; c <= 'z'; c++ {
		if dev := "/dev/sd" + string(c) + "1"; !inUse(cl, n, dev) {
			return dev
		}
	}
	return "/dev/sdaa1"
}

// Unplug pulls the disk with a file system's UUID out. What was mounted stays mounted
// and goes on showing what the page cache has; an archive that was written within the
// last seconds and not synced is gone from the disk, one that was written within half a
// minute is cut off. systemd unmounts what a line in the fstab describes, unless
// something is still writing there.
func Unplug(cl *cluster.Cluster, uuid string) {
	for _, n := range cl.World.Nodes {
		for _, d := range n.Disks {
			if d.UUID != uuid || d.Absent {
				continue
			}
			for _, m := range n.Mounts {
				if m.UUID == uuid && m.Ghost == nil {
					m.Ghost = d.Copy()
				}
			}
			d.Lose(cl.Now)
			d.Absent = true
			for _, f := range n.FstabLines() {
				if spec := strings.Trim(f[0], `"`); spec != "UUID="+uuid && (d.Label == "" || spec != "LABEL="+d.Label) {
					continue
				}
				if m := n.MountAt(f[1]); m.Target == path.Clean(f[1]) && m.UUID == uuid {
					_ = Unmount(cl, n, m.Target, false)
				}
			}
		}
	}
}

// Hang makes the disk with a file system's UUID answer no more, or again: a program that
// reads it hangs until it is killed. What is cached of a mounted one is still there.
func Hang(cl *cluster.Cluster, uuid string, hangs bool) {
	for _, n := range cl.World.Nodes {
		for _, d := range n.Disks {
			if d.UUID == uuid {
				d.Hangs = hangs
			}
		}
	}
}
