package questions

import (
	"fmt"
	"maps"
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/compare"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// OwnsSeries reports whether a marker of a snapshot or an archive is of this object,
// this guest and this owner.
func OwnsSeries(q Questions, m marker.Marker, o *spec.Object, g *spec.Guest) bool {
	kind := o.Ref.Kind.String() + "/"
	return (m.Object == kind+o.Series() || o.Was != "" && m.Object == kind+o.Was) &&
		m.VMID == g.VMID && m.Owner == q.Have.Owner && (m.Facts["guest"] == g.Ref.Name || g.Was != "" && m.Facts["guest"] == g.Was)
}

// Series returns the object's own snapshots of a guest, oldest first, without those
// whose date is in the future or that are not complete.
func Series(q Questions, s *spec.Snapshot, g *spec.Guest, state *node.GuestState) []proxmox.Snapshot {
	var own []proxmox.Snapshot
	for _, have := range state.Snapshots.Snapshots {
		if m, ok := marker.OneMarker(have.Description); ok && OwnsSeries(q, m, &s.Object, g) && have.State == "" && !q.Have.Future(have.Time) {
			own = append(own, have)
		}
	}
	return own
}

// snapshotTypes are the types of storages on which a container's volume can have snapshots
// (PVE: Storage plugins, volume_has_feature; a dir only with images that a container cannot
// use).
var snapshotTypes = []string{"lvmthin", "zfspool", "btrfs", "rbd", "cephfs"}

// WithoutSnapshots names the volumes of a guest that keep PVE from taking a snapshot.
func WithoutSnapshots(q Questions, state *node.GuestState) string {
	if state.Config.Type.VM() {
		return vmWithoutSnapshots(q, state)
	}
	mounts := state.Config.MountPoints()
	all := map[string]proxmox.MountPoint{}
	for i, mp := range mounts {
		all[fmt.Sprintf("mp%d %s", i, mp.Path())] = mp
	}
	if root, ok := state.Config.RootFS(); ok {
		all["rootfs"] = root
	}
	var why []string
	for _, key := range slices.SortedFunc(maps.Keys(all), compare.CompareKeys) {
		mp := all[key]
		if mp.Kind() != proxmox.VolumeMount {
			why = append(why, fmt.Sprintf("%s is a folder or device of the host (%s)", key, mp.Volume()))
			continue
		}
		storage := q.Have.Storages[text.ProxmoxStorage(mp.Volume())]
		if storage != nil && !slices.Contains(snapshotTypes, storage.Conf.Type) {
			why = append(why, fmt.Sprintf("%s (%s) is on %s, a storage of type %s without snapshots", key, mp.Volume(), storage.Conf.ID, storage.Conf.Type))
		}
	}
	if len(why) == 0 {
		return "one of its volumes is on a storage without snapshots"
	}
	return text.List(why)
}
