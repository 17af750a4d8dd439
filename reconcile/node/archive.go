package node

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/deliberate"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// Wholeness is how sure we are that an archive is all there. PVE lists an archive
// that was cut off by a pulled disk like any other, so an archive of ours counts
// only when the size that was read after it was written out stands in its notes.
type Wholeness int

const (
	Unrecorded Wholeness = iota // not made by us: nobody noted a size
	Unproven                    // ours, without a size
	Damaged                     // ours, with another size than was noted; or a backup server found it so
	Whole                       // ours, as long as it was when it had been written out
)

// futureSlack is how far ahead of the node's clock a date may lie before it is
// taken for the mark of a clock that was wrong.
const futureSlack = 5 * time.Minute

func (o *Observed) Future(t time.Time) bool { return t.After(o.Now.Add(futureSlack)) }

// Wholeness judges a listed archive. That of a backup server is judged by the server's
// own word and by the note alone: its size grows with its notes and with every
// verification, since its manifest, in which both stand, is a part of it.
func (o *Observed) Wholeness(v proxmox.Volume) Wholeness {
	if v.Verified == "failed" {
		return Damaged
	}
	m, ok := marker.OneMarker(v.Notes)
	if !ok || m.Owner != o.Owner {
		return Unrecorded
	}
	size, ok := m.Facts["size"]
	if !ok {
		return Unproven
	}
	if size != strconv.FormatInt(int64(v.Size), 10) && !OnServer(v) {
		return Damaged
	}
	return Whole
}

// OnServer reports whether an archive lies on a backup server, which lists nothing that
// is cut off: without the manifest, which is written last, it has no notes.
func OnServer(v proxmox.Volume) bool { return strings.HasPrefix(v.Format, "pbs-") }

// damage says why an archive counts as damaged.
func damage(v proxmox.Volume) string {
	if v.Verified == "failed" {
		return "the backup server's verification of it failed"
	}
	return v.Size.Human() + " listed, another size noted"
}

// Index arranges what the storages hold by volume and by guest. It is made once,
// when all that a look reads has been read.
func (o *Observed) Index() {
	if o.ByID != nil {
		return
	}
	o.ByID = map[string]*proxmox.Volume{}
	o.ByGuest = map[proxmox.VMID][]*proxmox.Volume{}
	o.ByObject = map[string][]*proxmox.Volume{} // whose marker their notes bear
	for _, id := range slices.Sorted(maps.Keys(o.Storages)) {
		content := o.Storages[id].Content
		for i := range content {
			v := &content[i]
			o.ByID[v.VolID] = v
			if v.VMID != 0 {
				o.ByGuest[v.VMID] = append(o.ByGuest[v.VMID], v)
			}
			if m, ok := marker.OneMarker(v.Notes); ok && m.Owner == o.Owner {
				name := text.OrElse(m.Facts["guest"], m.Object)
				o.ByObject[name] = append(o.ByObject[name], v)
			}
		}
	}
}

// Volume returns a listed volume by its id.
func (o *Observed) Volume(volid string) *proxmox.Volume { return o.ByID[volid] }

// File is what a volume id names, whichever storage shows it: two storages may have one
// folder, one share or one datastore.
func (o *Observed) File(volid string) string {
	id, err := proxmox.ParseVolumeID(volid)
	state := o.Storages[id.Storage]
	if err != nil || state == nil {
		return volid
	}
	place := state.Conf.Path
	for _, key := range []string{"server", "export", "share", "subdir", "datastore", "namespace", "vgname", "thinpool", "pool"} {
		if value := state.Conf.Raw[key]; value != "" {
			place += " " + key + "=" + value
		}
	}
	if place == "" {
		return volid
	}
	return state.Conf.Type + " " + place + ":" + id.Name
}

// ArchivesOf returns the archives of a container on a storage, newest first.
// Archives dated in the future are left out: nobody knows how old they are.
func (o *Observed) ArchivesOf(storage string, vmid proxmox.VMID) []proxmox.Volume {
	var all []proxmox.Volume
	for _, v := range o.ByGuest[vmid] {
		if v.Content == "backup" && v.VMID == vmid && v.Subtype != "qemu" && strings.HasPrefix(v.VolID, storage+":") && !o.Future(v.CTime) {
			all = append(all, *v)
		}
	}
	NewestFirst(all)
	return all
}

// Ambiguous reports whether a storage names a volume twice, with different values.
func Ambiguous(v proxmox.Volume) bool { return v.Ambiguous && !deliberate.Deliberate.TrustAmbiguous }

// AmbiguousArchive says which archive of a container a storage names twice, with different
// values. Nobody knows which of the two is right, so nothing that rests on the list is done.
func (o *Observed) AmbiguousArchive(storage string, vmid proxmox.VMID) *plan.Blocker {
	for _, v := range o.ByGuest[vmid] {
		if Ambiguous(*v) && v.Content == "backup" && text.ProxmoxStorage(v.VolID) == storage {
			return &plan.Blocker{Reason: fmt.Sprintf("storage %s lists the archive %s twice, with different values", storage, v.VolID),
				Cure: []string{fmt.Sprintf("compare: pvesm list %s --vmid %d", storage, vmid)}}
		}
	}
	return nil
}

func NewestFirst(all []proxmox.Volume) {
	slices.SortStableFunc(all, func(a, b proxmox.Volume) int {
		return cmp.Or(b.CTime.Compare(a.CTime), strings.Compare(b.VolID, a.VolID))
	})
}

// Published returns the newest whole archive of the golden's declared revision and
// digest, the one that restores are made from.
func (o *Observed) Published(golden *spec.Golden) *proxmox.Volume {
	if golden.Publish == nil {
		return nil
	}
	for _, v := range o.GoldenArchives(golden) {
		m, _ := marker.OneMarker(v.Notes)
		if m.Facts["revision"] == strconv.Itoa(golden.Publish.Revision) && m.Facts["digest"] == GoldenDigest(golden) && o.Wholeness(v) == Whole {
			return &v
		}
	}
	return nil
}

// NewestGolden returns the newest whole archive of the golden, of any revision:
// what a golden that is gone comes back from.
func (o *Observed) NewestGolden(golden *spec.Golden) *proxmox.Volume {
	for _, v := range o.GoldenArchives(golden) {
		if o.Wholeness(v) == Whole {
			return &v
		}
	}
	return nil
}

// GoldenArchives returns the archives that bear this golden's marker, newest first.
func (o *Observed) GoldenArchives(golden *spec.Golden) []proxmox.Volume {
	if golden.Publish == nil {
		return nil
	}
	var ours []proxmox.Volume
	for _, v := range o.ArchivesOf(golden.Publish.Storage, golden.VMID) {
		if m, ok := marker.OneMarker(v.Notes); ok && o.Owns(m, &golden.Object, golden.VMID) {
			ours = append(ours, v)
		}
	}
	return ours
}

// Owns reports whether a marker bears this object (or the name it had), this VMID
// and our owner.
func (o *Observed) Owns(m marker.Marker, object *spec.Object, vmid proxmox.VMID) bool {
	return deliberate.Deliberate.DropMarkerCheck || (m.Object == object.Ref.Name || object.Was != "" && m.Object == object.Was) && m.VMID == vmid && m.Owner == o.Owner
}

// SourceVMID is the guest whose archives a source takes.
func SourceVMID(guest *spec.Guest, source spec.Source) proxmox.VMID {
	return cmp.Or(source.VMID, guest.VMID)
}

// IsOwn reports whether a source is the guest's own backup, which keeps its birth,
// its addresses and its MACs, and to which the rule against blanks does not apply.
func IsOwn(guest *spec.Guest, source spec.Source) bool {
	return source.Newest != "" && SourceVMID(guest, source) == guest.VMID
}

// IsOwnBackup reports whether an archive is a backup of the guest itself, whether it
// was found as the newest or is named.
func (o *Observed) IsOwnBackup(guest *spec.Guest, source spec.Source, c *Choice) bool {
	if source.Golden != "" {
		return false
	}
	return IsOwn(guest, source) || c.Volume.VMID == guest.VMID && o.OwnArchive(guest, spec.Source{Newest: text.ProxmoxStorage(c.Volume.VolID)}, c.Inside)
}

// OwnArchive reports whether the config inside an archive is of the guest that the
// source means. The marker inside decides; where there is none, VMID (by the
// archive's name) and hostname do.
func (o *Observed) OwnArchive(guest *spec.Guest, source spec.Source, inside proxmox.GuestConfig) bool {
	if !IsOwn(guest, source) {
		return true // asked for by its number, whoever that is
	}
	found := marker.FindMarkers(inside.Description())
	switch len(found) {
	case 0:
		return strings.EqualFold(inside.Hostname(), guest.Hostname())
	case 1:
		return o.Owns(found[0], &guest.Object, guest.VMID)
	}
	return false
}

// A Choice is the archive from which a guest is to be made.
type Choice struct {
	Volume proxmox.Volume
	Inside proxmox.GuestConfig
	Notes  []string // newer archives that were passed over, and why; doubts
}

// Newest chooses among the archives of a `newest` source: the newest whole one that
// is proven to be the guest's; one that nobody recorded (made by a job of PVE) only
// where there is no recorded one. Where it is not known whether a newer one is to be taken
// (it is whole, or its storage was not in a state to tell), none is: unread is that one.
func (o *Observed) Newest(guest *spec.Guest, source spec.Source) (best *Choice, passed []string, unread *plan.Blocker) {
	var second *Choice
	for _, v := range o.ArchivesOf(source.Newest, SourceVMID(guest, source)) {
		date := o.Date(v.CTime)
		take := fmt.Sprintf("to take it all the same: from: {archive: %s}", v.VolID)
		inside, looked := o.Inside[v.VolID]
		switch {
		case o.Wholeness(v) == Damaged:
			passed = append(passed, fmt.Sprintf("passed over: the archive of %s is damaged (%s); %s", date, damage(v), take))
			continue
		case o.Wholeness(v) == Unproven:
			passed = append(passed, fmt.Sprintf("passed over: the archive of %s is not proven whole (no size noted); %s", date, take))
			continue
		case !looked:
			continue
		case inside.Err != nil && KeepsOlder(o.Wholeness(v) == Whole, inside.Err):
			return nil, passed, &plan.Blocker{Reason: fmt.Sprintf("the config inside its newest archive, of %s on %s, cannot be read: %v", date, source.Newest, inside.Err),
				Cure: []string{"look: pvesm extractconfig " + v.VolID, "or name the archive to take: from: {archive: VOLID}"}, Passes: proxmox.IsTransient(inside.Err)}
		case inside.Err != nil:
			passed = append(passed, fmt.Sprintf("passed over: the config inside the archive of %s cannot be read: %v; %s", date, inside.Err, take))
			continue
		case !o.OwnArchive(guest, source, inside.Config):
			passed = append(passed, fmt.Sprintf("passed over: the archive of %s is of another guest (%s) with this VMID; %s", date, whose(inside.Config, o.Owner), take))
			continue
		}
		c := &Choice{Volume: v, Inside: inside.Config}
		if o.Wholeness(v) == Whole {
			if second != nil {
				passed = append(passed, fmt.Sprintf("passed over: the archive of %s is not proven whole (no size noted: it is not of this agent, or was cut off); to take it all the same: from: {archive: %s}",
					o.Date(second.Volume.CTime), second.Volume.VolID))
			}
			c.Notes = passed
			return c, passed, nil
		}
		if second == nil {
			second = c
			second.Notes = append(slices.Clone(passed), "no size was noted for this archive (made by a job of PVE): whether it is whole shows when it is restored")
		}
	}
	return second, passed, nil
}

// KeepsOlder reports whether an archive whose config cannot be read keeps older ones from
// being taken: it is the one to come back from, or nobody knows yet.
func KeepsOlder(proven bool, err error) bool { return proven || proxmox.IsTransient(err) }

// Begun is when an archive was begun. PVE reads that from the archive's name, which has
// the node's local time: one of the hour that the clocks show twice in autumn looks an
// hour older than it is if it was begun in the second of the two. So the second is
// taken where it has been.
func (o *Observed) Begun(v proxmox.Volume) time.Time {
	a, ok := proxmox.ParseArchive(v.VolID)
	if !ok || a.Stamp == "" || strings.HasSuffix(a.Stamp, "Z") {
		return v.CTime
	}
	t := v.CTime.In(o.Now.Location())
	_, end := t.ZoneBounds()
	if end.IsZero() {
		return v.CTime
	}
	_, before := t.Zone()
	_, after := end.Zone()
	again := t.Add(time.Duration(before-after) * time.Second)
	if again.Before(end) || again.After(o.Now) || before <= after {
		return v.CTime
	}
	return again
}

// whose says of which guest an archive is, where it is not of the one that is looked for.
func whose(inside proxmox.GuestConfig, owner string) string {
	if m, ok := marker.OneMarker(inside.Description()); ok && m.Owner != owner {
		return fmt.Sprintf("%s of the owner %s", m.Object, m.Owner)
	}
	return "hostname " + inside.Hostname()
}

// Date prints a time as people name a backup.
func (o *Observed) Date(t time.Time) string {
	t = t.In(o.Now.Location())
	if t.Year() != o.Now.Year() {
		return t.Format("2 Jan 2006 15:04")
	}
	return t.Format("2 Jan 15:04")
}

// Age prints how long ago a time is: "16 h old".
func (o *Observed) Age(t time.Time) string { return text.Ago(o.Now.Sub(t)) + " old" }
