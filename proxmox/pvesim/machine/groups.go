package machine

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// What a host shows of the guests that run, in its cgroups, and of PVE's tasks, in their list.

// groupDir is the directory in which the kernel has the cgroups of containers, or of virtual machines.
func groupDir(g *world.Guest) (dir, name string) {
	if g.Qemu {
		return "/sys/fs/cgroup/qemu.slice", strconv.Itoa(g.VMID) + ".scope"
	}
	return "/sys/fs/cgroup/lxc", strconv.Itoa(g.VMID)
}

// Groups are the names in a directory of cgroups: of the guests that run, and what the kernel has in each.
func Groups(cl *cluster.Cluster, n *world.Node, dir string) (names []string) {
	for _, g := range cl.World.Guests {
		if at, name := groupDir(g); g.Running && g.Node == n.Name && at == dir {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		names = append(names, "cgroup.procs", "memory.stat")
	}
	return names
}

// Group is the number of a running guest's cgroup, which is another one after each start; false where nothing of that path runs.
func Group(cl *cluster.Cluster, n *world.Node, name string) (stamp string, ok bool) {
	vmid, err := strconv.Atoi(strings.TrimSuffix(path.Base(name), ".scope"))
	g := cl.Guests[vmid]
	if err != nil || g == nil || !g.Running || g.Node != n.Name {
		return "", false
	}
	dir, base := groupDir(g)
	return fmt.Sprint(g.PID), dir+"/"+base == name
}

// TaskList is the stamp of the list of tasks, or of the index of those that ended; false for any other path, and before the first task.
func TaskList(n *world.Node, name string) (stamp string, ok bool) {
	if path.Dir(name) != "/var/log/pve/tasks" || n.TaskWrites == 0 {
		return "", false
	}
	switch path.Base(name) {
	case "active":
		return fmt.Sprintf("%d %d", n.TaskWrites, n.TasksAt.UnixNano()), true
	case "index":
		return fmt.Sprint(len(n.Tasks) - running(n)), true
	}
	return "", false
}

func running(n *world.Node) (count int) {
	for _, t := range n.Tasks {
		if t.End == 0 {
			count++
		}
	}
	return count
}
