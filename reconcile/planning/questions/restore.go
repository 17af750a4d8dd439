package questions

import (
	"fmt"
	"slices"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// Released reports whether `despite` lets a creation go ahead although storages
// cannot be seen. What they hold may be younger than that time, so it counts for a day
// only, and not where the agent itself has made the guest, or a backup of it, since.
func Released(q Questions, g *spec.Guest) bool {
	if g.Despite.IsZero() || q.Have.Future(g.Despite) || q.Have.Now.Sub(g.Despite) > 24*time.Hour {
		return false
	}
	return !Made(q, g).After(g.Despite) && !q.Have.Stored.Backups[g.Ref.Name].Time.After(g.Despite)
}

// Made is when this agent has made a guest, also under the name that it had; zero: never,
// as far as the journal tells.
func Made(q Questions, g *spec.Guest) (last time.Time) {
	for _, name := range g.Names() {
		if at := q.Have.Memory.Made[name]; at.After(last) {
			last = at
		}
	}
	return last
}

// LastPlace names where a backup that was seen once lay.
func LastPlace(q Questions, last state.LastBackup) string {
	if last.Disk != "" {
		return fmt.Sprintf("%s (%s)", last.Storage, last.Disk)
	}
	return last.Storage
}

// Stamp is the node's time as `despite` and `requested` take it.
func Stamp(q Questions) string { return q.Have.Now.UTC().Format("2006-01-02T15:04:05Z") }

// RoomFor says that a storage has less room than an archive has, packed as it is. A
// thin pool that runs full hurts every guest on it. What compresses by itself may hold
// it all the same.
func RoomFor(q Questions, storage string, archive proxmox.StorageContent) *plan.Blocker {
	state := q.Have.Storages[storage]
	if state.Status.Total == 0 || state.Status.Avail >= archive.Size || slices.Contains([]string{"zfspool", "btrfs", "zfs"}, state.Conf.Type) {
		return nil
	}
	return &plan.Blocker{Reason: fmt.Sprintf("%s has %s left, and %s alone has %s", storage, state.Status.Avail.Human(), archive.VolID, archive.Size.Human()),
		Fix: []string{"make room on " + storage, "or name another storage"}}
}
