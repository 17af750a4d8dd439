package questions

import (
	"fmt"

	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// BindReady says why a bind of a declared disk cannot be used now, or nil. PVE mounts
// whatever stands at the path, so a guest that is started while the disk is away
// writes to the root disk.
func BindReady(q Questions, mounting Mounting, declared spec.MountPoint) *plan.Blocker {
	if declared.Mount == "" {
		return nil
	}
	m := q.Want.Mounts[declared.Mount]
	if mounting[declared.Mount] {
		return &plan.Blocker{Reason: fmt.Sprintf("mounts/%s is not mounted yet", declared.Mount), Mount: declared.Mount}
	}
	if q.Have.Host == nil {
		if state := q.Have.Storages[m.Storage]; m.Storage != "" && state != nil && state.Status != nil && state.Status.Active && state.Conf.IsMountpoint != "" {
			return nil
		}
		return NeedsHost(q)
	}
	if _, mounted := q.Have.MountedDisk(m); !mounted {
		why, fix := Disconnected(q, m)
		return &plan.Blocker{Reason: fmt.Sprintf("its %s is on mounts/%s, which is not mounted%s: started now, it would write to the root disk", declared.Path, declared.Mount, why), Fix: fix}
	}
	if ob := Ejecting(q, m); ob != nil {
		return ob
	}
	folder, path := declared.Mount+"/"+declared.Folder, BindSource(q, declared)
	if why := q.Have.Host.Barred[folder]; why != "" {
		return &plan.Blocker{Reason: fmt.Sprintf("the folder %s on mounts/%s cannot be bound: %s", declared.Folder, declared.Mount, why), Fix: []string{"inspect it as root: namei -l " + path}}
	}
	if there, looked := q.Have.Host.Folders[folder]; looked && !there {
		return &plan.Blocker{Reason: fmt.Sprintf("there is no folder %s on mounts/%s", declared.Folder, declared.Mount),
			Fix: []string{fmt.Sprintf("as root: mkdir -p %s && chown 100000:100000 %s", path, path)}}
	}
	return nil
}

// StaysDown says why a running guest could not be started again now.
func StaysDown(q Questions, mounting Mounting, g *spec.Guest) *plan.Blocker {
	if ob := StartsNot(q, q.Have.Guests[g.VMID]); ob != nil {
		return ob
	}
	for _, i := range text.Keys(g.Config.Mounts) {
		if ob := BindReady(q, mounting, g.Config.Mounts[i]); ob != nil {
			return ob
		}
	}
	for _, name := range g.Needs {
		if other := q.Want.Guest(name); other != nil && !Runs(q, other) && DownForBackup(q, other) == "" {
			return &plan.Blocker{Reason: fmt.Sprintf("it needs %s, which does not run", name), Fix: []string{"see " + other.Ref.String()}}
		}
	}
	return nil
}
