package machine

import (
	"strconv"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Uptime is how long a node has been running, in seconds.
func Uptime(cl *cluster.Cluster, n *world.Node) int64 { return max(0, cl.Now.Unix()-n.Boot) }

// MemoryUsed is the host's: itself and its guests.
func MemoryUsed(cl *cluster.Cluster, n *world.Node) int64 {
	used := int64(1 << 30)
	for _, g := range cl.World.Guests {
		if g.Running && g.Node == n.Name {
			used += MemoryUse(g)
		}
	}
	return min(used, n.Memory)
}

// MemoryUse is what a running guest's processes take, in bytes, as PVE lists it: memory.current less the file pages, which shared memory is among.
func MemoryUse(g *world.Guest) int64 {
	if !g.Running {
		return 0
	}
	if g.Using == 0 {
		g.Using = g.Appetite()
	}
	return int64(g.Using) << 20
}

// pinned is what the kernel cannot drop of a running guest, in bytes.
func pinned(g *world.Guest) int64 {
	if !g.Running {
		return 0
	}
	return MemoryUse(g) + int64(g.Shmem)<<20
}

// Starves reports whether a guest needs more than its limits leave it: then the kernel kills it.
func Starves(g *world.Guest) bool {
	return g.Running && !g.Qemu && pinned(g) > g.MemoryLimit()+g.SwapLimit()
}

// CPUs is how many CPUs a guest has: its limit, or all of its node.
func CPUs(cl *cluster.Cluster, g *world.Guest) int {
	if g.Qemu {
		return max(1, g.Conf.Num("sockets")) * max(1, g.Conf.Num("cores"))
	}
	if n := g.Conf.Num("cores"); n > 0 {
		return n
	}
	if f, err := strconv.ParseFloat(g.Conf.Vals["cpulimit"], 64); err == nil && f > 0 {
		return int(f + 0.999)
	}
	return cl.World.Node(g.Node).CPUs
}
