package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// wholeness is how sure we are that an archive is all there. PVE lists an archive
// that was cut off by a pulled disk like any other, so an archive of ours counts
// only when the size that was read after it was written out stands in its notes.
type wholeness int

const (
	unrecorded wholeness = iota // not made by us: nobody noted a size
	unproven                    // ours, without a size
	damaged                     // ours, with another size than was noted; or a backup server found it so
	whole                       // ours, as long as it was when it had been written out
)

// futureSlack is how far ahead of the node's clock a date may lie before it is
// taken for the mark of a clock that was wrong.
const futureSlack = 5 * time.Minute

func (o *Observed) future(t time.Time) bool { return t.After(o.Now.Add(futureSlack)) }

// wholeness judges a listed archive. That of a backup server is judged by the server's
// own word and by the note alone: its size grows with its notes and with every
// verification, since its manifest, in which both stand, is a part of it.
func (o *Observed) wholeness(v proxmox.Volume) wholeness {
	if v.Verified == "failed" {
		return damaged
	}
	m, ok := oneMarker(v.Notes)
	if !ok || m.Owner != o.Owner {
		return unrecorded
	}
	size, ok := m.Facts["size"]
	if !ok {
		return unproven
	}
	if size != strconv.FormatInt(int64(v.Size), 10) && !onServer(v) {
		return damaged
	}
	return whole
}

// onServer reports whether an archive lies on a backup server, which lists nothing that
// is cut off: without the manifest, which is written last, it has no notes.
func onServer(v proxmox.Volume) bool { return strings.HasPrefix(v.Format, "pbs-") }

// damage says why an archive counts as damaged.
func damage(v proxmox.Volume) string {
	if v.Verified == "failed" {
		return "the backup server's verification of it failed"
	}
	return v.Size.Human() + " listed, another size noted"
}

// index arranges what the storages hold by volume and by guest. It is made once,
// when all that a look reads has been read.
func (o *Observed) index() {
	if o.byID != nil {
		return
	}
	o.byID = map[string]*proxmox.Volume{}
	o.byGuest = map[proxmox.VMID][]*proxmox.Volume{}
	o.byObject = map[string][]*proxmox.Volume{} // whose marker their notes bear
	for _, id := range slices.Sorted(maps.Keys(o.Storages)) {
		content := o.Storages[id].Content
		for i := range content {
			v := &content[i]
			o.byID[v.VolID] = v
			if v.VMID != 0 {
				o.byGuest[v.VMID] = append(o.byGuest[v.VMID], v)
			}
			if m, ok := oneMarker(v.Notes); ok && m.Owner == o.Owner {
				name := orElse(m.Facts["guest"], m.Object)
				o.byObject[name] = append(o.byObject[name], v)
			}
		}
	}
}

// volume returns a listed volume by its id.
func (o *Observed) volume(volid string) *proxmox.Volume { return o.byID[volid] }

// archivesOf returns the archives of a container on a storage, newest first.
// Archives dated in the future are left out: nobody knows how old they are.
func (o *Observed) archivesOf(storage string, vmid proxmox.VMID) []proxmox.Volume {
	var all []proxmox.Volume
	for _, v := range o.byGuest[vmid] {
		if v.Content == "backup" && v.VMID == vmid && v.Subtype != "qemu" && strings.HasPrefix(v.VolID, storage+":") && !o.future(v.CTime) {
			all = append(all, *v)
		}
	}
	newestFirst(all)
	return all
}

func newestFirst(all []proxmox.Volume) {
	slices.SortStableFunc(all, func(a, b proxmox.Volume) int {
		return cmp.Or(b.CTime.Compare(a.CTime), strings.Compare(b.VolID, a.VolID))
	})
}

// published returns the newest whole archive of the golden's declared revision and
// digest, the one that restores are made from.
func (o *Observed) published(golden *spec.Golden) *proxmox.Volume {
	if golden.Publish == nil {
		return nil
	}
	for _, v := range o.goldenArchives(golden) {
		m, _ := oneMarker(v.Notes)
		if m.Facts["revision"] == strconv.Itoa(golden.Publish.Revision) && m.Facts["digest"] == goldenDigest(golden) && o.wholeness(v) == whole {
			return &v
		}
	}
	return nil
}

// newestGolden returns the newest whole archive of the golden, of any revision:
// what a golden that is gone comes back from.
func (o *Observed) newestGolden(golden *spec.Golden) *proxmox.Volume {
	for _, v := range o.goldenArchives(golden) {
		if o.wholeness(v) == whole {
			return &v
		}
	}
	return nil
}

// goldenArchives returns the archives that bear this golden's marker, newest first.
func (o *Observed) goldenArchives(golden *spec.Golden) []proxmox.Volume {
	if golden.Publish == nil {
		return nil
	}
	var ours []proxmox.Volume
	for _, v := range o.archivesOf(golden.Publish.Storage, golden.VMID) {
		if m, ok := oneMarker(v.Notes); ok && o.owns(m, &golden.Object, golden.VMID) {
			ours = append(ours, v)
		}
	}
	return ours
}

// owns reports whether a marker bears this object (or the name it had), this VMID
// and our owner.
func (o *Observed) owns(m Marker, object *spec.Object, vmid proxmox.VMID) bool {
	return deliberate.dropMarkerCheck || (m.Object == object.Ref.Name || object.Was != "" && m.Object == object.Was) && m.VMID == vmid && m.Owner == o.Owner
}

// sourceVMID is the guest whose archives a source takes.
func sourceVMID(guest *spec.Guest, source spec.Source) proxmox.VMID {
	return cmp.Or(source.VMID, guest.VMID)
}

// isOwn reports whether a source is the guest's own backup, which keeps its birth,
// its addresses and its MACs, and to which the rule against blanks does not apply.
func isOwn(guest *spec.Guest, source spec.Source) bool {
	return source.Newest != "" && sourceVMID(guest, source) == guest.VMID
}

// isOwnBackup reports whether an archive is a backup of the guest itself, whether it
// was found as the newest or is named.
func (o *Observed) isOwnBackup(guest *spec.Guest, source spec.Source, c *choice) bool {
	if source.Golden != "" {
		return false
	}
	return isOwn(guest, source) || c.volume.VMID == guest.VMID && o.ownArchive(guest, spec.Source{Newest: proxmoxStorage(c.volume.VolID)}, c.inside)
}

// ownArchive reports whether the config inside an archive is of the guest that the
// source means. The marker inside decides; where there is none, VMID (by the
// archive's name) and hostname do.
func (o *Observed) ownArchive(guest *spec.Guest, source spec.Source, inside proxmox.GuestConfig) bool {
	if !isOwn(guest, source) {
		return true // asked for by its number, whoever that is
	}
	found := findMarkers(inside.Description())
	switch len(found) {
	case 0:
		return strings.EqualFold(inside.Hostname(), guest.Hostname())
	case 1:
		return o.owns(found[0], &guest.Object, guest.VMID)
	}
	return false
}

// A choice is the archive from which a guest is to be made.
type choice struct {
	volume proxmox.Volume
	inside proxmox.GuestConfig
	notes  []string // newer archives that were passed over, and why; doubts
}

// newest chooses among the archives of a `newest` source: the newest whole one that
// is proven to be the guest's; one that nobody recorded (made by a job of PVE) only
// where there is no recorded one. Where it is not known whether a newer one is to be taken
// (it is whole, or its storage was not in a state to tell), none is: unread is that one.
func (o *Observed) newest(guest *spec.Guest, source spec.Source) (best *choice, passed []string, unread *obstacle) {
	var second *choice
	for _, v := range o.archivesOf(source.Newest, sourceVMID(guest, source)) {
		date := o.date(v.CTime)
		take := fmt.Sprintf("to take it all the same: from: {archive: %s}", v.VolID)
		inside, looked := o.Inside[v.VolID]
		switch {
		case o.wholeness(v) == damaged:
			passed = append(passed, fmt.Sprintf("passed over: the archive of %s is damaged (%s); %s", date, damage(v), take))
			continue
		case o.wholeness(v) == unproven:
			passed = append(passed, fmt.Sprintf("passed over: the archive of %s is not proven whole (no size noted); %s", date, take))
			continue
		case !looked:
			continue
		case inside.Err != nil && keepsOlder(o.wholeness(v) == whole, inside.Err):
			return nil, passed, &obstacle{reason: fmt.Sprintf("the config inside its newest archive, of %s on %s, cannot be read: %v", date, source.Newest, inside.Err),
				cure: []string{"look: pvesm extractconfig " + v.VolID, "or name the archive to take: from: {archive: VOLID}"}, passes: proxmox.IsTransient(inside.Err)}
		case inside.Err != nil:
			passed = append(passed, fmt.Sprintf("passed over: the config inside the archive of %s cannot be read: %v; %s", date, inside.Err, take))
			continue
		case !o.ownArchive(guest, source, inside.Config):
			passed = append(passed, fmt.Sprintf("passed over: the archive of %s is of another guest (%s) with this VMID; %s", date, whose(inside.Config, o.Owner), take))
			continue
		}
		c := &choice{volume: v, inside: inside.Config}
		if o.wholeness(v) == whole {
			if second != nil {
				passed = append(passed, fmt.Sprintf("passed over: the archive of %s is not proven whole (no size noted: it is not of this agent, or was cut off); to take it all the same: from: {archive: %s}",
					o.date(second.volume.CTime), second.volume.VolID))
			}
			c.notes = passed
			return c, passed, nil
		}
		if second == nil {
			second = c
			second.notes = append(slices.Clone(passed), "no size was noted for this archive (made by a job of PVE): whether it is whole shows when it is restored")
		}
	}
	return second, passed, nil
}

// keepsOlder reports whether an archive whose config cannot be read keeps older ones from
// being taken: it is the one to come back from, or nobody knows yet.
func keepsOlder(proven bool, err error) bool { return proven || proxmox.IsTransient(err) }

// begun is when an archive was begun. PVE reads that from the archive's name, which has
// the node's local time: one of the hour that the clocks show twice in autumn looks an
// hour older than it is if it was begun in the second of the two. So the second is
// taken where it has been.
func (o *Observed) begun(v proxmox.Volume) time.Time {
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
	if m, ok := oneMarker(inside.Description()); ok && m.Owner != owner {
		return fmt.Sprintf("%s of the owner %s", m.Object, m.Owner)
	}
	return "hostname " + inside.Hostname()
}

// date prints a time as people name a backup.
func (o *Observed) date(t time.Time) string {
	t = t.In(o.Now.Location())
	if t.Year() != o.Now.Year() {
		return t.Format("2 Jan 2006 15:04")
	}
	return t.Format("2 Jan 15:04")
}

// age prints how long ago a time is: "16 h old".
func (o *Observed) age(t time.Time) string { return ago(o.Now.Sub(t)) + " old" }

func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d.Seconds())))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// where names a storage and, where it lies on a disk that takes turns, the disk.
func (p *planner) where(storage string) string {
	if m, mounted := p.have.mountOf(p.want, storage); m != nil && mounted {
		if disk, ok := p.have.mountedDisk(m); ok && disk.Label != "" {
			return storage + ", " + disk.Label
		}
	}
	return storage
}
