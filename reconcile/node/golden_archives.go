package node

import (
	"fmt"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// GoldenBlocker says why the archives of a golden image do not tell which of them is its newest:
// the storage contradicts itself, they are of two hosts, or one is dated in the future.
func (o *Observed) GoldenBlocker(golden *spec.Golden) *plan.Blocker {
	storage := golden.Publish.Storage
	if ob := o.AmbiguousArchive(storage, golden.VMID); ob != nil {
		return ob
	}
	mine := func(m marker.Marker) bool { return o.Owns(m, &golden.Object, golden.VMID) }
	if rivals := o.Rivals(storage, golden.VMID, mine); rivals != nil {
		return o.RivalBlocker(rivals, false)
	}
	for _, v := range o.FutureArchives(storage, golden.VMID) {
		if m, ok := o.MarkerOf(v.Notes); ok && mine(m) && o.Wholeness(v) != Damaged {
			return o.futureGolden(v)
		}
	}
	return nil
}

func (o *Observed) futureGolden(v proxmox.StorageContent) *plan.Blocker {
	return &plan.Blocker{
		Reason: fmt.Sprintf("the archive %s is dated %s, which is in the future: the node's clock says %s (%s)", v.VolID, o.Date(v.CTime), o.Now.Format("2 Jan 2006"), o.Now.Location()),
		Fix:    []string{"correct the node's clock or time zone: timedatectl", "or delete the archive: pvesm free " + v.VolID}}
}
