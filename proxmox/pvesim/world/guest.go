package world

import (
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
)

// A Guest is one container, or a virtual machine.
type Guest struct {
	VMID     int    `yaml:"vmid"`
	Node     string `yaml:"node"`
	Text     string `yaml:"config"`
	Running  bool   `yaml:"running,omitempty"`
	PID      int    `yaml:"pid,omitempty"`
	Since    int64  `yaml:"since,omitempty"` // when the run state last changed
	Born     int64  `yaml:"born,omitempty"`
	Filled   int64  `yaml:"filled,omitempty"`   // when its creation wrote the config; 0: it is being made, or was there
	Uses     int    `yaml:"uses,omitempty"`     // MiB of memory that it uses when it runs; 0: by its system
	Using    int    `yaml:"using,omitempty"`    // MiB that it took when it started
	Shmem    int    `yaml:"shmem,omitempty"`    // MiB in /dev/shm while it runs, which no list shows
	Cache    int    `yaml:"cache,omitempty"`    // MiB of clean file pages while it runs, which the kernel drops before it kills
	Stubborn bool   `yaml:"stubborn,omitempty"` // ignores a shutdown
	Holds    []Hold `yaml:"holds,omitempty"`
	Mounted  bool   `yaml:"mounted,omitempty"`       // pct mount
	Journal  bool   `yaml:"dirty-journal,omitempty"` // rolled back to a snapshot taken while running
	HA       string `yaml:"ha,omitempty"`
	Qemu     bool   `yaml:"qemu,omitempty"`

	Inside *Inside `yaml:"inside,omitempty"` // nil: a system without any service

	Conf *lxcconf.Config `yaml:"-"`
}

// A Hold is a file system that a running guest keeps mounted, as it was when the guest started.
type Hold struct {
	MP       string `yaml:"mp"`
	Path     string `yaml:"path"`   // inside the guest
	Source   string `yaml:"source"` // device
	UUID     string `yaml:"uuid,omitempty"`
	Instance int    `yaml:"instance,omitempty"`
	Root     string `yaml:"root"` // the folder of that file system
	FS       string `yaml:"fs"`
	Options  string `yaml:"options"`
}

// A Pool is a resource pool with its members.
type Pool struct {
	ID       string   `yaml:"id"`
	Comment  string   `yaml:"comment,omitempty"`
	VMs      []int    `yaml:"vms,omitempty"`
	Storages []string `yaml:"storages,omitempty"`
}

// Rewrite puts another config in place of a guest's, with one write.
func (g *Guest) Rewrite(conf *lxcconf.Config) {
	conf.Written += g.Conf.Written + 1
	g.Conf = conf
}

// Noun is what PVE calls it in its texts: CT or VM.
func (g *Guest) Noun() string {
	if g.Qemu {
		return "VM"
	}
	return "CT"
}

// Kind is lxc or qemu.
func (g *Guest) Kind() string {
	if g.Qemu {
		return "qemu"
	}
	return "lxc"
}

// Name is what lists call a guest.
func (g *Guest) Name() string {
	if g.Qemu {
		if n := g.Conf.Vals["name"]; n != "" {
			return n
		}
		return "VM " + strconv.Itoa(g.VMID)
	}
	if h := g.Conf.Vals["hostname"]; h != "" {
		return strings.ReplaceAll(h, " ", "")
	}
	return "CT" + strconv.Itoa(g.VMID)
}

// MemoryLimit is memory in bytes.
func (g *Guest) MemoryLimit() int64 {
	if m := notation.Atoi(strings.TrimPrefix(g.Conf.Vals["memory"], "current=")); m > 0 {
		return int64(m) << 20
	}
	return 512 << 20
}

// SwapLimit is swap in bytes; 512 MiB when unset.
func (g *Guest) SwapLimit() int64 {
	if g.Qemu {
		return 0
	}
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

// RootSize is the size of the root volume, of a virtual machine that of its first drive, in bytes.
func (g *Guest) RootSize() int64 {
	if g.Qemu {
		for _, m := range g.Conf.MountPoints() {
			return notation.ParseSize(m.Props["size"])
		}
		return 0
	}
	return notation.ParseSize(g.Conf.Rootfs().Props["size"])
}

// Pool is the pool of a name; nil when there is none.
func (w *World) Pool(id string) *Pool {
	for _, p := range w.Pools {
		if p.ID == id {
			return p
		}
	}
	return nil
}
