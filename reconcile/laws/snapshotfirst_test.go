package laws

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// lawSnapshotFirst: what changes a guest is declared together with a named snapshot of it.
var lawSnapshotFirst = lawProfile{rounds: 3, faults: 1, lived: true, service: true, upgrades: true}

func TestLawSnapshotFirst(t *testing.T) { laws(t, lawSnapshotFirst, 15) }

func FuzzLawSnapshotFirst(f *testing.F) { fuzzLaw(f, lawSnapshotFirst) }

// upgrade declares a named snapshot of today and changes its guest in the same edit.
func (h *lawHousehold) upgrade(r *rand.Rand, now time.Time) string {
	g := h.guests[r.IntN(len(h.guests))]
	if g.bind { // of which no snapshot can be made
		return g.name + " by nobody"
	}
	s := &lawSnap{name: fmt.Sprintf("before%d", len(h.snapshots)), guest: g.name, taken: now.Format(time.DateOnly)}
	h.snapshots = append(h.snapshots, s)
	switch change := r.IntN(4); {
	case change == 0 && g.rootfs > 0:
		g.rootfs += 2
	case change == 1:
		g.cores = 1 + g.cores%4
	case change == 2:
		g.tty = !g.tty // waits for a restart
	default:
		g.memory += 256
	}
	return g.name + " after " + s.name
}

// snapshotFirst: a named snapshot of a running guest that is due is taken before the guest is
// changed or shut down: "before the upgrade" does not contain the upgrade. A line in the Notes
// changes nothing of the guest, and a rollback is asked for by its own time.
func (w *witness) snapshotFirst(wr *lawWrite, vmid int, what string) {
	g := wr.world.Guests[vmid]
	changes := strings.HasSuffix(what, "/resize") || strings.HasSuffix(what, "/status/shutdown") || strings.HasSuffix(what, "/status/stop")
	if wr.changesConfig(what) {
		for key := range wr.params {
			changes = changes || key != "description" && key != "digest"
		}
	}
	if !changes || !g.Running || w.excused[vmid] || w.hidden {
		return
	}
	name, _ := w.wish(vmid)
	for _, s := range w.want.Snapshots {
		if s.Guest != name || s.Absent || s.Taken.IsZero() || g.Snaps[s.Ref.Name] != nil {
			continue
		}
		from := s.Taken.In(wr.at.Location()).Add(settled)
		if to := from.AddDate(0, 0, 2).Add(-2 * settled); wr.at.After(from) && wr.at.Before(to) {
			w.s.fails("snapshot first", "%d is changed before its snapshot %s is taken: %s %s %v", vmid, s.Ref.Name, wr.method, wr.path, wr.params)
		}
	}
}

// settled is how far from its day's begin and end a snapshot is surely due: a plan may be as old.
const settled = 10 * time.Minute
