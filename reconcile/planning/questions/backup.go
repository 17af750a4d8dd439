package questions

import (
	"slices"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// An OwnBackup is an archive of one backup object and one guest.
type OwnBackup struct {
	Volume proxmox.StorageContent
	Marker marker.Marker
	State  node.Wholeness
}

// BackupGuests are the guests of a backup that the plan is about.
func BackupGuests(q Questions, b *spec.Backup) []string {
	if part := q.Have.Part[b.Ref]; part != nil {
		return slices.DeleteFunc(slices.Clone(part), func(name string) bool { return q.Want.Guest(name).Absent })
	}
	return q.Want.BackupGuests(b)
}

// OwnBackups lists the archives that the object has made of a guest, newest first.
func OwnBackups(q Questions, b *spec.Backup, g *spec.Guest) []OwnBackup {
	var own []OwnBackup
	for _, v := range node.ArchivesOf(q.Have, b.Storage, g.VMID, g.Type) {
		if m, ok := q.Have.MarkerOf(v.Notes); ok && OwnsSeries(q, m, &b.Object, g) {
			own = append(own, OwnBackup{v, m, node.WholenessOf(q.Have, v)})
		}
	}
	return own
}

// NewestOwn is when the newest archive that is not known to be damaged was made of
// the guest in its present life.
func NewestOwn(q Questions, own []OwnBackup, born time.Time) time.Time {
	for _, have := range own {
		if have.State != node.Damaged && have.Marker.Born.Equal(born) {
			return q.Have.Begun(have.Volume)
		}
	}
	return time.Time{}
}

// notification is how PVE itself tells of a backup. It would once per call, so for every
// guest; with legacy-sendmail and nobody to mail to it tells nobody (PVE: VZDump,
// send_notification).
func notification(q Questions) string {
	if q.Have.NotifyPVE {
		return "notification-system"
	}
	return "legacy-sendmail"
}

func Vzdump(q Questions, vmid proxmox.VMID, storage, mode, compress string, m marker.Marker) proxmox.Call {
	return proxmox.On(q.Have.Node).Vzdump(proxmox.VzdumpSpec{
		VMIDs: []proxmox.VMID{vmid}, Storage: storage, Mode: text.OrElse(mode, "snapshot"), Compress: text.OrElse(compress, "zstd"),
		NotesTemplate: proxmox.NotesTemplate(m.String()), NotificationMode: notification(q),
	})
}

// DumpFacts tell the judge of a vzdump which storage it writes to and which path is
// to be written out before the archive counts.
func DumpFacts(q Questions, storage string) map[string]string {
	facts := map[string]string{"storage": storage}
	if m, _ := q.Have.MountOf(q.Want, storage); m != nil && q.Have.Host != nil {
		facts["sync"] = m.Path
	} else if m != nil {
		facts["disk"] = m.Path // nobody here can have it written out
	}
	return facts
}

// BegunOf is when an archive was begun, as its notes keep it: with them it has the right time
// also on a node in another time zone.
func BegunOf(q Questions, v proxmox.StorageContent, made journal.ArchiveState) string {
	if made.Begun.IsZero() {
		return "" // not known in any zone
	}
	return node.InZone(q.Have.Begun(v), made).UTC().Format(time.RFC3339)
}
