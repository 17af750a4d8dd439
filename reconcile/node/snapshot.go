package node

import (
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// SlotName is the name of the snapshot of the running period. It comes from the
// period, not from the moment, so that a request that arrives twice fails in PVE.
func SlotName(s *spec.Snapshot, now time.Time) (name string, begin time.Time) {
	begin = now.UTC().Truncate(s.Every)
	return s.Series() + "_" + begin.Format("20060102_150405"), begin
}

// SnapshotDue reports whether planSnapshot is going to take a snapshot: only then is
// PVE asked whether the guest's mount points can be snapshotted.
func SnapshotDue(s *spec.Snapshot, state *GuestState, have *Observed) bool {
	name, begin := s.Series(), time.Time{}
	if s.Every > 0 {
		name, begin = SlotName(s, have.Now)
	}
	if g := have.AtOnce; g.Wants(s.Ref, s.Guest) {
		return true
	}
	return !s.Absent && !slices.ContainsFunc(state.Snapshots.Snapshots, func(snap proxmox.Snapshot) bool {
		return snap.Name == name || s.Every > 0 && strings.HasPrefix(snap.Name, s.Series()+"_") && !snap.Time.Before(begin)
	})
}
