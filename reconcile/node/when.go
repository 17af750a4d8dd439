package node

import (
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// futureSlack is how far ahead of the node's clock a date may lie before it is
// taken for the mark of a clock that was wrong.
const futureSlack = 5 * time.Minute

// Future reports whether a time is later than the node's clock.
func (o *Observed) Future(t time.Time) bool { return t.After(o.Now.Add(futureSlack)) }

// Ahead reports whether an archive is dated after now, be it as little as clocks differ. It may
// be the newest or not: that is known when its time has come.
func (o *Observed) Ahead(v proxmox.StorageContent) bool {
	return v.CTime.After(o.Now) && !o.Foretold[v.VolID]
}

// rightTime is when an archive was begun, where it is known better than from the listing.
// PVE reads the time from the archive's name, which has the node's local time, in the zone
// that the node has now. So a node that is given another zone, or is installed again with
// another, moves the listed time of every archive. What was written down when the archive
// was verified, in its notes or in the journal, is right in any zone.
func rightTime(o *Observed, v proxmox.StorageContent) time.Time {
	if m, ok := o.MarkerOf(v.Notes); ok && m.Owner == o.Owner {
		if noted := m.Facts["begun"]; noted != "" {
			if begun, err := time.Parse(time.RFC3339, noted); err == nil && zonesApart(begun, v.CTime) {
				return begun
			}
		}
	}
	if made, known := o.Memory.Archives[v.VolID]; known {
		return InZone(v.CTime, made)
	}
	return v.CTime
}

// The time zones of the world lie at most 26 hours apart, by quarters of an hour.
const (
	zonesAtMost = 26 * time.Hour
	zoneStep    = 15 * time.Minute
)

func zonesApart(a, b time.Time) bool {
	apart := a.Sub(b).Abs()
	return apart <= zonesAtMost && apart%zoneStep == 0
}

// InZone moves a listed time by the difference of two time zones, so that it falls within
// the task that made the archive; a time that cannot be moved there stays as it is.
func InZone(listed time.Time, made journal.ArchiveState) time.Time {
	if made.Begun.IsZero() || !listed.Before(made.Begun) && !listed.After(made.Ended) {
		return listed
	}
	behind := listed.Sub(made.Begun) // the first time of the task that a whole number of steps leads to
	steps := behind / zoneStep
	if behind < 0 && behind%zoneStep != 0 {
		steps--
	}
	moved := listed.Add(-steps * zoneStep)
	if moved.After(made.Ended) || moved.Sub(listed).Abs() > zonesAtMost {
		return listed
	}
	return moved
}

// ListedOtherwise tells how a storage lists the time of an archive, where that is not when
// the archive was begun; else "".
func ListedOtherwise(o *Observed, v proxmox.StorageContent) string {
	listed, otherwise := o.Listed[v.VolID]
	if !otherwise {
		return ""
	}
	return "the storage lists it with " + o.Date(listed) + ": the time zone of the node has changed since"
}

// Begun is when an archive was begun. A listed time of the hour that the clocks show twice
// in autumn looks an hour older than it is if it was of the second of the two. So the
// second is taken where it has been.
func (o *Observed) Begun(v proxmox.StorageContent) time.Time {
	a, ok := proxmox.ParseArchive(v.VolID)
	if _, known := o.Listed[v.VolID]; known || !ok || a.Stamp == "" || strings.HasSuffix(a.Stamp, "Z") {
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
