package questions

import (
	"fmt"
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// vmStorages are the storages on which the drives of an archive will be, each with the room that
// they need there, or why one cannot hold them.
func vmStorages(q Questions, g *spec.Guest, in *proxmox.GuestConfig) (map[string]proxmox.Size, *plan.Blocker) {
	room := map[string]proxmox.Size{}
	for _, key := range drives(in) {
		drive := in.Drives()[key]
		if !drive.Backup() {
			continue
		}
		size, known := drive.Size()
		if !known {
			return nil, &plan.Blocker{Reason: fmt.Sprintf("the archive does not say how large its %s is", key), Fix: []string{"restore it as root: qmrestore"}}
		}
		room[text.OrElse(g.Storage, text.ProxmoxStorage(drive.Volume()))] += size
	}
	if len(room) == 0 {
		return nil, &plan.Blocker{Reason: "the archive holds no drive", Fix: []string{"name another archive"}}
	}
	for _, storage := range text.Keys(room) {
		if ob := takes(q, storage, "images", "disks of VMs"); ob != nil {
			return nil, ob
		}
		if ob := vmRoom(q, g, storage, room[storage]); ob != nil {
			return nil, ob
		}
	}
	return room, nil
}

// vmRoom says that a storage has too little room for the drives of an archive, where it gives them
// their whole sizes at once. (That a thin one holds at least the archive, RoomFor looks at.)
func vmRoom(q Questions, g *spec.Guest, storage string, sizes proxmox.Size) *plan.Blocker {
	state := q.Have.Storages[storage]
	if thinStorage(state) || state.Status.Total == 0 || state.Status.Avail >= sizes {
		return nil
	}
	return &plan.Blocker{Reason: fmt.Sprintf("%s has %s left, and the disks of %d have %s", storage, state.Status.Avail.Human(), g.VMID, sizes.Human()),
		Fix: []string{"make room on " + storage, "or name another storage"}}
}

// thinStorage reports whether a storage gives its volumes room only when it is written.
func thinStorage(state *node.StorageState) bool {
	return slices.Contains([]string{"lvmthin", "zfspool", "zfs", "btrfs", "rbd"}, state.Conf.Type)
}

// overcommitted says that the disks of a restored virtual machine may outgrow a thin storage.
func overcommitted(q Questions, room map[string]proxmox.Size) (all []string) {
	for _, storage := range text.Keys(room) {
		if state := q.Have.Storages[storage]; thinStorage(state) && state.Status.Total > 0 && state.Status.Avail < room[storage] {
			all = append(all, fmt.Sprintf("its disks may grow to %s, and %s has %s left: it is thin", room[storage].Human(), storage, state.Status.Avail.Human()))
		}
	}
	return all
}
