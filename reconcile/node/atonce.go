package node

import (
	"time"

	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/spec"
)

// AtOnce is what a person wants made now, whatever its schedule says: backups and periodic snapshots.
type AtOnce struct {
	Names map[string]bool // "backups/nightly", "backups/nightly/web", "snapshots/hourly"
	Since time.Time       // by the node's clock: what was made since is that
}

// Unscheduled is the fact in the marker of an archive that was made at once: the schedule does not count it.
const Unscheduled = "unscheduled"

// Wants reports whether an object is wanted at once, of that guest.
func (a AtOnce) Wants(object spec.Ref, guest string) bool {
	return a.Names[object.String()] || a.Names[object.String()+"/"+guest]
}

// Made reports whether what was made at a time is what is wanted at once.
func (a AtOnce) Made(at time.Time) bool { return !at.Before(a.Since.Truncate(time.Second)) }

// Objects are the objects of which something is wanted at once.
func (a AtOnce) Objects(ref spec.Ref) bool {
	if a.Names[ref.String()] {
		return true
	}
	for name := range a.Names {
		if len(name) > len(ref.String()) && name[:len(ref.String())+1] == ref.String()+"/" {
			return true
		}
	}
	return false
}

// ByHand reports whether an archive was made at once, beside its schedule.
func ByHand(m marker.Marker) bool { return m.Facts[Unscheduled] != "" }
