package world

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the zone of a node must be known on every machine
)

// A Node is one member of the cluster and the machine under it.
type Node struct {
	Name    string            `yaml:"name"`
	Zone    string            `yaml:"zone"`
	Boot    int64             `yaml:"boot"`
	IP      string            `yaml:"ip,omitempty"`
	Down    bool              `yaml:"down,omitempty"`
	Local   string            `yaml:"local,omitempty"` // where /etc/pve/local points, when not to this node
	CPUs    int               `yaml:"cpus"`
	Memory  int64             `yaml:"memory"`
	Bridges []string          `yaml:"bridges"`
	Kernel  string            `yaml:"kernel,omitempty"`
	Network []map[string]any  `yaml:"network,omitempty"` // what GET network answers, when not the nics and bridges
	Drives  []*drive          `yaml:"drives,omitempty"`
	NICs    []string          `yaml:"nics,omitempty"`
	Stats   int64             `yaml:"stats,omitempty"`   // since when rrddata has points; 0: since the boot
	Gaps    []int64           `yaml:"gaps,omitempty"`    // points of rrddata in between that were not measured
	Devices []string          `yaml:"devices,omitempty"` // character devices besides the usual ones
	Disks   []*Disk           `yaml:"disks"`
	Mounts  []*Mount          `yaml:"mounts"`
	Fstab   string            `yaml:"fstab"`
	Files   map[string]string `yaml:"files,omitempty"`
	Pools   map[string]Store  `yaml:"volumes,omitempty"` // what block storages hold, by storage
	PID     int               `yaml:"pid"`
	Tasks   []*Task           `yaml:"tasks,omitempty"`
	Outage  string            `yaml:"outage,omitempty"` // pvedaemon-down, pvedaemon-hung, pmxcfs-down

	Location *time.Location   `yaml:"-"`
	ByUPID   map[string]*Task `yaml:"-"`
	// TaskWrites is how often the list of tasks in /var/log/pve/tasks was written, TasksAt when it was last.
	TaskWrites int       `yaml:"-"`
	TasksAt    time.Time `yaml:"-"`
}

// Knows reports whether a node's hosts file has a name; nobody answers at its address,
// unless it is a node's.
func (n *Node) Knows(name string) bool {
	for _, line := range strings.Split(n.Files["/etc/hosts"], "\n") {
		if f := strings.Fields(line); len(f) > 1 && slices.Contains(f[1:], name) {
			return true
		}
	}
	return false
}

// RootDisk is the disk that is mounted at /.
func (n *Node) RootDisk() *Disk { return n.DiskOf(n.MountAt("/")) }

// KeepTasks is about what PVE's two index files hold.
const KeepTasks = 1000

// ForgetTasks forgets the oldest that have ended.
func (n *Node) ForgetTasks() {
	over := len(n.Tasks) - KeepTasks*9/10
	kept := n.Tasks[:0:0]
	for _, t := range n.Tasks {
		if over > 0 && t.End != 0 {
			delete(n.ByUPID, t.UPID())
			over--
			continue
		}
		kept = append(kept, t)
	}
	n.Tasks = kept
}

// complete fills in what the world file does not say of a node.
func (n *Node) complete() error {
	zone, err := time.LoadLocation(n.Zone)
	if err != nil {
		return fmt.Errorf("node %s: zone %q: %w", n.Name, n.Zone, err)
	}
	n.Location = zone
	n.ByUPID = make(map[string]*Task)
	if n.Pools == nil {
		n.Pools = make(map[string]Store)
	}
	if n.CPUs == 0 {
		n.CPUs = 4
	}
	if n.Memory == 0 {
		n.Memory = 16 << 30
	}
	if n.MountAt("/") == nil {
		return fmt.Errorf("node %s: nothing is mounted at /", n.Name)
	}
	if n.RootDisk() == nil {
		return fmt.Errorf("node %s: no disk of it has the device that is mounted at /", n.Name)
	}
	for _, t := range n.Tasks {
		t.Node = n
		n.ByUPID[t.UPID()] = t
	}
	return nil
}

// MountAt is the mount that a path lies on: the deepest, and of equal ones the last.
func (n *Node) MountAt(path string) *Mount {
	var best *Mount
	for _, m := range n.Mounts {
		if !Under(path, m.Target) {
			continue
		}
		if best == nil || len(m.Target) >= len(best.Target) {
			best = m
		}
	}
	return best
}

// DiskOf is the plugged or absent disk behind a mount; a ghost for one that was pulled.
func (n *Node) DiskOf(m *Mount) *Disk {
	if m.Ghost != nil {
		return m.Ghost
	}
	for _, d := range n.Disks {
		if d.UUID == m.UUID {
			return d
		}
	}
	return nil
}
