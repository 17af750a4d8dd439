package questions

import (
	"fmt"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

// Witness names what shows that a guest is managed, and since when. What lies on a storage or
// in the guest comes before what this agent remembers, which shows only that it managed a
// guest of this number once: remembered is true then.
func Witness(q Questions, g *spec.Guest, have *node.GuestState) (what string, born time.Time, remembered bool) {
	sees := func(text string) bool {
		m, ok := marker.OneMarker(text)
		born = m.Born
		return ok && m.Owner == q.Have.Owner && m.VMID == g.VMID && m.Facts["guest"] == g.Ref.Name
	}
	if have.Snapshots != nil {
		for _, s := range have.Snapshots.Snapshots {
			if sees(s.Description) {
				return "snapshot " + s.Name, born, false
			}
		}
	}
	for _, v := range q.Have.ByGuest[g.VMID] {
		if v.Content == "backup" && sees(v.Notes) {
			return v.VolID, born, false
		}
	}
	if m, ok := Remembered(q, &g.Object, g.VMID); ok {
		return "the journal of this agent", m.Born, true
	}
	if last, ok := q.Have.Stored.Backups[g.Ref.Name]; ok && q.Have.Stored.Known[g.Ref.String()] == g.VMID {
		return fmt.Sprintf("the state of this agent (a backup of %s on %s)", q.Have.Date(last.Time), last.Storage), last.Time.UTC().Truncate(time.Second), true
	}
	return "", time.Time{}, false
}

// Remembered is the marker that this agent wrote last into the notes of an object's guest, as
// far as the journal reaches.
func Remembered(q Questions, o *spec.Object, vmid proxmox.VMID) (marker.Marker, bool) {
	for _, name := range o.Names() {
		if m, ok := marker.OneMarker(q.Have.Memory.Notes[name]); ok && node.Owns(q.Have, m, o, vmid) {
			return m, true
		}
	}
	return marker.Marker{}, false
}
