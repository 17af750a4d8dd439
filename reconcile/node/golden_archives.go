package node

import (
	"fmt"
	"strconv"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// GoldenBlocker says why the archives of a golden image do not tell which of them is its newest:
// the storage contradicts itself, they are of two hosts, or one is dated in the future.
func GoldenBlocker(o *Observed, golden *spec.Golden) *plan.Blocker {
	storage := golden.Publish.Storage
	if ob := AmbiguousArchive(o, storage, golden.VMID); ob != nil {
		return ob
	}
	mine := func(m marker.Marker) bool { return Owns(o, m, &golden.Object, golden.VMID) }
	if rivals := Rivals(o, storage, golden.VMID, proxmox.LXC, mine); rivals != nil {
		return RivalBlocker(o, rivals, false)
	}
	for _, v := range FutureArchives(o, storage, golden.VMID, proxmox.LXC) {
		if m, ok := o.MarkerOf(v.Notes); ok && mine(m) && WholenessOf(o, v) != Damaged {
			return futureGolden(o, v)
		}
	}
	return nil
}

func futureGolden(o *Observed, v proxmox.StorageContent) *plan.Blocker {
	return &plan.Blocker{
		Reason: fmt.Sprintf("the archive %s is dated %s, which is in the future: the node's clock says %s (%s)", v.VolID, o.Date(v.CTime), o.Now.Format("2 Jan 2006"), o.Now.Location()),
		Fix:    []string{"correct the node's clock or time zone: timedatectl", "or delete the archive: pvesm free " + v.VolID}}
}

// Published returns the newest whole archive of the golden's declared revision and
// digest, the one that restores are made from.
func Published(o *Observed, golden *spec.Golden) *proxmox.StorageContent {
	if golden.Publish == nil {
		return nil
	}
	for _, v := range GoldenArchives(o, golden) {
		m, _ := o.MarkerOf(v.Notes)
		if m.Facts["revision"] == strconv.Itoa(golden.Publish.Revision) && m.Facts["digest"] == GoldenDigest(golden) && WholenessOf(o, v) == Whole {
			return &v
		}
	}
	return nil
}

// NewestGolden returns the newest whole archive of the golden, of any revision:
// what a golden that is gone comes back from.
func NewestGolden(o *Observed, golden *spec.Golden) *proxmox.StorageContent {
	for _, v := range GoldenArchives(o, golden) {
		if WholenessOf(o, v) == Whole {
			return &v
		}
	}
	return nil
}

// GoldenArchives returns the archives that bear this golden's marker, newest first.
func GoldenArchives(o *Observed, golden *spec.Golden) []proxmox.StorageContent {
	if golden.Publish == nil {
		return nil
	}
	var ours []proxmox.StorageContent
	for _, v := range ArchivesOf(o, golden.Publish.Storage, golden.VMID, proxmox.LXC) {
		if m, ok := o.MarkerOf(v.Notes); ok && Owns(o, m, &golden.Object, golden.VMID) {
			ours = append(ours, v)
		}
	}
	return ours
}
