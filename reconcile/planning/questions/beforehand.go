package questions

import (
	"fmt"
	"slices"
	"sync"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// leastMemory is what the smallest systems need to start. PVE takes 16 MiB too.
const leastMemory = 32 * proxmox.MiB

// TooLittleMemory says that no system starts with the memory that a config declares.
func TooLittleMemory(config spec.Config) *plan.Blocker {
	memory, ok := declaredMemory(config)
	if !ok || memory >= leastMemory {
		return nil
	}
	return &plan.Blocker{Reason: fmt.Sprintf("memory: %s is too little for a guest to start", memory.Human()), Fix: []string{fmt.Sprintf("write memory: %s or more", leastMemory.Human())}}
}

func declaredMemory(config spec.Config) (proxmox.Size, bool) {
	value, ok := config.Values["memory"]
	return proxmox.Size(node.Limit(value)) * proxmox.MiB, ok && value != ""
}

// SmallerThanImage says that a guest's rootfs cannot hold what its golden image has: as it is
// published, else as it is declared.
func SmallerThanImage(q Questions, g *spec.Guest, golden *spec.Golden) *plan.Blocker {
	if g.RootFS.Size == 0 {
		return nil
	}
	size := golden.RootFS.Size
	if v := node.Published(q.Have, golden); v != nil {
		config := q.Have.Inside[v.VolID].Config
		if root, ok := config.RootFS(); ok {
			size, _ = root.Size()
		}
	}
	if g.RootFS.Size >= size {
		return nil
	}
	return &plan.Blocker{Reason: fmt.Sprintf("rootfs: %s is declared, but the golden image's is %s, and what is in it must fit", g.RootFS.Size, size),
		Fix: []string{fmt.Sprintf("write rootfs: {size: %s}", size)}}
}

// UnlistedBridges are, by object, those declared interfaces of some objects whose bridge is probably not there:
// the node's network configuration has bridges, but not this one, and no running guest uses it.
// This is no proof. PVE lists what /etc/network/interfaces defines, and neither what a file
// beside it defines nor an SDN vnet; a recorded node lists none at all and has vmbr0.
func UnlistedBridges(q Questions, objects []spec.Ref) map[spec.Ref][]string {
	if len(q.Have.Bridges) == 0 {
		return nil
	}
	odd := map[spec.Ref][]string{}
	used := sync.OnceValue(func() map[string]bool { return node.BridgesInUse(q.Have) }) // few ask
	for _, ref := range objects {
		nets := node.NetsOf(q.Want, ref)
		for _, i := range text.Keys(nets) {
			if bridge := nets[i]["bridge"]; bridge != "" && !slices.Contains(q.Have.Bridges, bridge) && !used()[bridge] {
				odd[ref] = append(odd[ref], fmt.Sprintf("net%d: bridge %s is not in the network configuration of %s; unless it is an SDN vnet, the guest does not start", i, bridge, q.Have.Node))
			}
		}
	}
	return odd
}

// Unpruned says of a periodic snapshot or backup without `keep` that everything stays, unless
// a backup server decides that.
func Unpruned(q Questions, ref spec.Ref) string {
	switch ref.Kind {
	case spec.KindSnapshot:
		if s := q.Want.Snapshots[ref.Name]; s.Every > 0 && s.Keep.IsZero() {
			return "no keep: its snapshots are never deleted"
		}
	case spec.KindBackup:
		if b := q.Want.Backups[ref.Name]; b.Keep.IsZero() && !ServerKeeps(q, b) {
			return "no keep: its archives are never deleted"
		}
	}
	return ""
}
