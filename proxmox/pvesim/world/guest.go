package world

import (
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
)

// Name is what lists call a guest.
func (g *Guest) Name() string {
	if h := g.Conf.Vals["hostname"]; h != "" {
		return strings.ReplaceAll(h, " ", "")
	}
	return "CT" + strconv.Itoa(g.VMID)
}

// MemoryLimit is memory in bytes.
func (g *Guest) MemoryLimit() int64 {
	if m := g.Conf.Num("memory"); m > 0 {
		return int64(m) << 20
	}
	return 512 << 20
}

// SwapLimit is swap in bytes; 512 MiB when unset.
func (g *Guest) SwapLimit() int64 {
	if _, ok := g.Conf.Vals["swap"]; ok {
		return int64(g.Conf.Num("swap")) << 20
	}
	return 512 << 20
}

// Appetite is what a system takes after its start, in MiB.
func (g *Guest) Appetite() int {
	switch {
	case g.Uses > 0:
		return g.Uses
	case g.Conf.Vals["ostype"] == "alpine":
		return min(24, int(g.MemoryLimit()>>20)*8/10)
	}
	return min(152, int(g.MemoryLimit()>>20)*8/10)
}

// RootSize is the size of the root volume, in bytes.
func (g *Guest) RootSize() int64 {
	return notation.ParseSize(g.Conf.Rootfs().Props["size"])
}
