package planning

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/compare"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// wrecked blocks a virtual machine that is what a restore which failed has left. PVE frees its
// disks and keeps an empty config; that of this agent is known by its journal or its task.
func wrecked(p *planner, g *spec.Guest, state *node.GuestState) (down string) {
	if !node.Wreck(state) {
		return ""
	}
	reason := fmt.Sprintf("VM %d is empty: it has neither disks nor a name", g.VMID)
	fix := fmt.Sprintf("find out whose it is: grep :%d: /var/log/pve/tasks/index; to remove it: qm destroy %d", g.VMID, g.VMID)
	if begun, ours := questions.OurCreation(p.Questions, g.VMID); ours {
		reason = fmt.Sprintf("VM %d is what the restore begun on %s has left when it failed: it has neither disks nor a name", g.VMID, p.Have.Date(begun))
		fix = fmt.Sprintf("as root: qm destroy %d; then restore it again: felhom-agent --once --only %s", g.VMID, g.Ref)
	}
	p.block(&g.Object, "vmid", reason, fix)
	return "it is empty"
}

// planDrives grows the disks of a virtual machine, one at a time. They are never made, detached or
// deleted.
func planDrives(p *planner, g *spec.Guest, state *node.GuestState) {
	live := state.Config.Drives()
	for _, key := range slices.SortedFunc(maps.Keys(g.Config.Drives), compare.CompareKeys) {
		drive, there := live[key]
		if !there {
			p.block(&g.Object, "config."+key, fmt.Sprintf("VM %d has no disk %s, and none is made", g.VMID, key), fmt.Sprintf("make it by hand: qm set %d --%s STORAGE:GIB; or remove the line", g.VMID, key))
			continue
		}
		if planResize(p, g, key, "config."+key+".size", proxmox.MountPoint{"size": drive["size"]}, g.Config.Drives[key]) {
			return
		}
	}
}

// vmNotes remarks what hurts one day: disks that no backup contains, and settings that a restore
// by a token does not bring back or not unasked.
func vmNotes(p *planner, g *spec.Guest, state *node.GuestState) {
	if outside := questions.Unbacked(state.Config); len(outside) > 0 {
		p.note(&g.Object, "in no backup: %s", strings.Join(outside, ", "))
	}
	if why := questions.NotRestorable(p.Questions, g, state.Config); why != "" {
		p.note(&g.Object, "%s", why)
	}
}

// firstVolume is the root volume of a container, or the first drive of a virtual machine.
func firstVolume(config *proxmox.GuestConfig) string {
	if root, ok := config.RootFS(); ok {
		return root.Volume()
	}
	live := config.Drives()
	for _, key := range slices.SortedFunc(maps.Keys(live), compare.CompareKeys) {
		return live[key].Volume()
	}
	return ""
}

// planVMRestore plans the restore of a virtual machine from one archive.
func planVMRestore(p *planner, g *spec.Guest, source spec.Source, own bool, c *node.Choice) outcome {
	b, ob := questions.VMCreation(p.Questions, g, source, own, c)
	if ob != nil {
		p.block(&g.Object, "from", ob.Reason, ob.Fix...)
		return outcome{}
	}
	if ob := questions.RoomFor(p.Questions, b.Storage, c.Volume); ob != nil {
		p.block(&g.Object, "from", ob.Reason, ob.Fix...)
		return outcome{}
	}
	return restoreFrom(p, g, source, own, c, b, proxmox.On(p.Have.Node).RestoreVM(b.Spec), fmt.Sprintf("create VM %d", g.VMID))
}
