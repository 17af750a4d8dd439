package node

import (
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/spec"
)

// GuardPrefix begins the names of the snapshots with which guarded changes begin.
const GuardPrefix = "guard_"

// GuardObject is what the ownership markers of these snapshots say.
func GuardObject(g *spec.Guest) string { return "guard/" + g.Ref.Name }

// GuardSnapshot is the newest snapshot of a guest with which a guarded change of this agent began, or nil.
func GuardSnapshot(o *Observed, g *spec.Guest, s *GuestState) (newest *proxmox.Snapshot) {
	if s == nil || s.Snapshots == nil {
		return nil
	}
	for i := range s.Snapshots.Snapshots {
		have := &s.Snapshots.Snapshots[i]
		m, ok := marker.OneMarker(have.Description)
		if !ok || !strings.HasPrefix(have.Name, GuardPrefix) || have.Ambiguous || m.Owner != o.Owner || m.VMID != g.VMID || m.Object != GuardObject(g) && (g.Was == "" || m.Object != "guard/"+g.Was) {
			continue
		}
		if newest == nil || have.Time.After(newest.Time) {
			newest = have
		}
	}
	return newest
}
