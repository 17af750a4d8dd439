package machine

import (
	"slices"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Reinstall is the node after a fire: guests, their volumes, mounts and the fstab are
// gone, Proxmox is set up again as before (storages, tokens, templates), and the disks
// are plugged in with what was on them, unmounted. The clock goes on.
func Reinstall(cl *cluster.Cluster) error {
	cl.World.Guests, cl.World.Events, cl.World.Faults = nil, nil, nil
	for _, p := range cl.World.Pools {
		p.VMs = nil
	}
	for _, n := range cl.World.Nodes {
		UnmountAll(n)
		root := n.DiskOf(n.MountAt("/"))
		n.Fstab = "# <file system> <mount point> <type> <options> <dump> <pass>\nUUID=" + root.UUID + " / " + root.FS + " errors=remount-ro 0 1\nproc /proc proc defaults 0 0\n"
		n.Files, n.Tasks, n.Outage, n.Down = nil, nil, "", false
		n.Boot = cl.Now.Unix()
		for id := range n.Pools {
			n.Pools[id] = make(world.Store)
		}
		for dir, items := range root.Dirs { // what stood on the machine's own disk
			kept := make(world.Store)
			for name, v := range items {
				if st := storageAt(cl, dir); st != nil {
					if kind, _, err := st.KindOf(name); err == nil && (kind == "vztmpl" || kind == "iso") {
						kept[name] = v
					}
				}
			}
			root.Dirs[dir] = kept
		}
		root.Folders, root.Locked = []string{"/mnt", "/root", "/srv", "/var/lib/vz"}, nil
	}
	cl.World.Clock = cl.Now
	return cl.Reset()
}

func storageAt(cl *cluster.Cluster, dir string) *world.Storage {
	for _, st := range cl.World.Storages {
		if st.IsDir() && st.Path == dir {
			return st
		}
	}
	return nil
}

// Strip is a node on which Proxmox has just been installed: of storages local and local-lvm, of users
// root@pam, no template.
func Strip(cl *cluster.Cluster) error {
	cl.World.Storages = slices.DeleteFunc(cl.World.Storages, func(st *world.Storage) bool { return st.ID != "local" && st.ID != "local-lvm" })
	cl.World.Access = world.Access{Users: []*world.User{{ID: "root@pam", Password: "pvesim"}}}
	cl.World.Pools, cl.World.Jobs, cl.World.Tags = nil, nil, nil
	for _, n := range cl.World.Nodes {
		root := n.DiskOf(n.MountAt("/"))
		root.Files = nil
		for dir := range root.Dirs {
			root.Dirs[dir] = make(world.Store)
		}
		for id := range n.Pools {
			if id != "local-lvm" {
				delete(n.Pools, id)
			}
		}
	}
	return cl.Reset()
}
