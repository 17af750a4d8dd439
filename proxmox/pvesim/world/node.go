package world

import (
	"slices"
	"strings"
)

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
