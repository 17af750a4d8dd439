package node

import (
	"fmt"
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// A Choice is the archive from which a guest is to be made.
type Choice struct {
	Volume proxmox.StorageContent
	Inside proxmox.GuestConfig
	Notes  []string // newer archives that were passed over, and why; doubts
}

// NewestArchive chooses among the archives of a `newest` source: the newest whole one that
// is proven to be the guest's; one that nobody recorded (made by a job of PVE) only
// where there is no recorded one. Where it is not known whether a newer one is to be taken
// (it may be whole, it is dated in the future, the archives are of two guests, or its storage
// was not in a state to tell), none is: unread says why.
func NewestArchive(o *Observed, guest *spec.Guest, source spec.Source) (best *Choice, passed []string, unread *plan.Blocker) {
	vmid := SourceVMID(guest, source)
	rivals := GuestRivals(o, guest, source.Newest, vmid)
	decided, isDecided := Generation{}, false
	if rivals != nil {
		if decided, isDecided = Decided(o, rivals, guest); !isDecided {
			ob := RivalBlocker(o, rivals, true)
			ob.Reason += "; nothing is restored"
			return nil, nil, ob
		}
	}
	if ob := futureBlocker(o, guest, source); ob != nil {
		return nil, nil, ob
	}
	var second *Choice
	for _, v := range ArchivesOf(o, source.Newest, vmid, guest.Type) {
		if g, ok := GenerationOf(o, v); isDecided && (!ok || g != decided) {
			continue
		}
		why, ob := passedOver(o, guest, source, v)
		if ob != nil {
			return nil, passed, ob
		}
		if why != "" {
			passed = append(passed, fmt.Sprintf("passed over: the archive of %s %s; to take it anyway: from: {archive: %s}", o.Date(v.CTime), why, v.VolID))
			continue
		}
		inside, looked := o.Inside[v.VolID]
		if !looked {
			continue
		}
		c := &Choice{Volume: v, Inside: inside.Config}
		if listed := ListedOtherwise(o, v); listed != "" {
			passed = append(passed, listed)
		}
		if Proven(o, v) {
			if second != nil {
				passed = append(passed, fmt.Sprintf("passed over: the archive of %s is not verified (no size noted: it is not of this agent, or was cut off); to take it anyway: from: {archive: %s}",
					o.Date(second.Volume.CTime), second.Volume.VolID))
			}
			c.Notes = passed
			return c, passed, nil
		}
		if second == nil {
			second = c
			second.Notes = append(slices.Clone(passed), "no size was noted for this archive (made by a job of PVE): whether it is complete shows when it is restored")
		}
	}
	return second, passed, nil
}

// passedOver says why one archive is not what a guest is made from, or why nothing older may
// be taken before more is known of it.
func passedOver(o *Observed, guest *spec.Guest, source spec.Source, v proxmox.StorageContent) (why string, ob *plan.Blocker) {
	inside, looked := o.Inside[v.VolID]
	switch {
	case WholenessOf(o, v) == Damaged:
		return fmt.Sprintf("is damaged (%s)", Damage(o, v)), nil
	case WholenessOf(o, v) == Unfinished:
		return "is unfinished", nil
	case KeyMissing(o, v) != nil:
		ob := KeyMissing(o, v)
		ob.Fix = append(ob.Fix, "or name an archive to take: from: {archive: VOLID}")
		return "", ob
	case WholenessOf(o, v) == Unproven && !Proven(o, v):
		if ob := unchecked(o, v); ob != nil {
			return "", ob
		}
		return "is not verified (no size noted" + notChecked(o, v) + ")", nil
	case !looked:
		return "", nil
	case inside.Err != nil && KeepsOlder(Proven(o, v), inside.Err):
		return "", &plan.Blocker{Reason: fmt.Sprintf("the config inside its newest archive, of %s on %s, cannot be read: %v", o.Date(v.CTime), source.Newest, inside.Err),
			Fix: []string{"see: pvesm extractconfig " + v.VolID, "or name the archive to take: from: {archive: VOLID}"}, Passes: proxmox.IsTransient(inside.Err)}
	case inside.Err != nil:
		return fmt.Sprintf("has a config inside that cannot be read: %v", inside.Err), nil
	case !OwnArchive(o, guest, source, inside.Config):
		return fmt.Sprintf("is of another guest (%s) with this VMID", whose(inside.Config, o.Owner)), nil
	}
	return "", nil
}

// futureBlocker says which archive is newer than the node's clock: the clock is wrong, or the
// node has another time zone than when the archive was made. Whether it is the newest one
// nobody knows, so no older one is taken.
func futureBlocker(o *Observed, guest *spec.Guest, source spec.Source) *plan.Blocker {
	vmid := SourceVMID(guest, source)
	future := slices.DeleteFunc(FutureArchives(o, source.Newest, vmid, guest.Type), func(v proxmox.StorageContent) bool {
		m, ok := o.MarkerOf(v.Notes)
		name := m.Facts["guest"]
		others := ok && (m.Owner != o.Owner || IsOwn(guest, source) && name != "" && name != guest.Ref.Name && (guest.Was == "" || name != guest.Was))
		return others || WholenessOf(o, v) == Damaged || WholenessOf(o, v) == Unfinished
	})
	if len(future) == 0 {
		return nil
	}
	v := future[0]
	reason := fmt.Sprintf("the archive %s is dated %s, which is in the future: the node's clock says %s (%s)",
		v.VolID, o.Date(v.CTime), o.Now.Format("2 Jan 2006"), o.Now.Location())
	if n := len(future) - 1; n > 0 {
		reason += fmt.Sprintf("; %s too", text.Count(n, "other archive", "other archives"))
	}
	fix := []string{"correct the node's clock or time zone: timedatectl", fmt.Sprintf("or restore this archive: from: {archive: %s}", v.VolID)}
	if older := ArchivesOf(o, source.Newest, vmid, guest.Type); len(older) > 0 {
		fix = append(fix, fmt.Sprintf("or the one of %s: from: {archive: %s}", o.Date(older[0].CTime), older[0].VolID))
	}
	return &plan.Blocker{Reason: reason + "; no older archive is restored", Fix: fix}
}

// KeepsOlder reports whether an archive whose config cannot be read keeps older ones from
// being taken: it is the one to come back from, or nobody knows yet.
func KeepsOlder(proven bool, err error) bool { return proven || proxmox.IsTransient(err) }

// whose says of which guest an archive is, where it is not of the one that is looked for.
func whose(inside proxmox.GuestConfig, owner string) string {
	if m, ok := marker.OneMarker(inside.Description()); ok && m.Owner != owner {
		return fmt.Sprintf("%s of the owner %s", m.Object, m.Owner)
	}
	return "hostname " + inside.Hostname()
}
