package node

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
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
	Unfinished                  // on a backup server, without a manifest: it is being made, or was cut off
)

// WholenessOf judges a listed archive. That of a backup server is judged by the server's
// own word and by the note alone: its size grows with its notes and with every
// verification, since its manifest, in which both stand, is a part of it.
func WholenessOf(o *Observed, v proxmox.StorageContent) Wholeness {
	if v.Verified == "failed" {
		return Damaged
	}
	m, ok := o.MarkerOf(v.Notes)
	if unfinished(v) {
		if ok {
			return Damaged
		}
		return Unfinished
	}
	size := m.Facts["size"]
	switch ours := ok && m.Owner == o.Owner; {
	case size == "" && o.Memory.Archives[v.VolID].Broken != "":
		return Damaged
	case size == "" && (ours || v.Notes == "") && shorter(o, v):
		return Damaged
	case !ours:
		return Unrecorded
	case size == "":
		return Unproven
	}
	var listed [20]byte // compared without a string of its own
	if size != string(strconv.AppendInt(listed[:0], int64(v.Size), 10)) && !OnServer(v) {
		return Damaged
	}
	return Whole
}

// Proven reports whether an archive is known to be whole: its size is noted, or what made or
// checked it says so and the size is still to be noted. A backup server's verification reads
// every byte.
func Proven(o *Observed, v proxmox.StorageContent) bool {
	switch WholenessOf(o, v) {
	case Whole:
		return true
	case Unproven:
		return o.Memory.Archives[v.VolID].Whole || v.Verified == "ok"
	}
	return false
}

// shorter reports whether an archive of ours is listed with another size than vzdump said
// when it had written it.
func shorter(o *Observed, v proxmox.StorageContent) bool {
	made := o.Memory.Archives[v.VolID]
	return made.Size != "" && made.Size != DumpSize(v.Size) && !OnServer(v)
}

// Damage says why an archive counts as damaged.
func Damage(o *Observed, v proxmox.StorageContent) string {
	m, _ := o.MarkerOf(v.Notes)
	noted, err := strconv.ParseInt(m.Facts["size"], 10, 64)
	switch {
	case v.Verified == "failed":
		return "the backup server's verification of it failed"
	case unfinished(v):
		return "the backup server cannot read its manifest"
	case o.Memory.Archives[v.VolID].Broken != "":
		return o.Memory.Archives[v.VolID].Broken
	case err == nil:
		return fmt.Sprintf("%s of %s are there", v.Size.Human(), proxmox.Size(noted).Human())
	}
	return fmt.Sprintf("%s of %s are there", DumpSize(v.Size), o.Memory.Archives[v.VolID].Size)
}

// DumpSize prints a size as vzdump does (PVE::VZDump, format_size of the log): whole
// units, rounded down, with GB in two decimals.
func DumpSize(s proxmox.Size) string {
	switch kb := float64(s) / 1024; {
	case kb < 1024:
		return fmt.Sprintf("%dKB", int(kb))
	case kb < 1024*1024:
		return fmt.Sprintf("%dMB", int(kb/1024))
	default:
		return fmt.Sprintf("%.2fGB", kb/1024/1024)
	}
}

// Volume returns a listed volume by its id.
func (o *Observed) Volume(volid string) *proxmox.StorageContent { return o.ByID[volid] }

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

// ArchivesOf returns the archives of a guest on a storage, newest first. Those of a guest of the
// other type that had its number are not its own.
// Archives dated in the future are left out: nobody knows how old they are.
func ArchivesOf(o *Observed, storage string, vmid proxmox.VMID, t proxmox.GuestType) []proxmox.StorageContent {
	return slices.DeleteFunc(allArchivesOf(o, storage, vmid, t), func(v proxmox.StorageContent) bool { return o.Future(v.CTime) })
}

// FutureArchives returns those archives of a guest on a storage that are dated in the
// future, newest first.
func FutureArchives(o *Observed, storage string, vmid proxmox.VMID, t proxmox.GuestType) []proxmox.StorageContent {
	return slices.DeleteFunc(allArchivesOf(o, storage, vmid, t), func(v proxmox.StorageContent) bool { return !o.Future(v.CTime) })
}

func allArchivesOf(o *Observed, storage string, vmid proxmox.VMID, t proxmox.GuestType) []proxmox.StorageContent {
	of := o.ByGuest[vmid]
	if len(of) == 0 {
		return nil
	}
	all := make([]proxmox.StorageContent, 0, len(of))
	for _, v := range slices.Backward(of) { // by name, which begins with the time
		if v.Content == "backup" && v.VMID == vmid && (v.Subtype == "qemu") == t.VM() && text.ProxmoxStorage(v.VolID) == storage {
			all = append(all, *v)
		}
	}
	NewestFirst(all)
	return all
}

// Ambiguous reports whether a storage names a volume twice, with different values.
func Ambiguous(v proxmox.StorageContent) bool { return v.Ambiguous }

// AmbiguousArchive says which archive of a container a storage names twice, with different
// values. Nobody knows which of the two is right, so nothing that rests on the list is done.
func AmbiguousArchive(o *Observed, storage string, vmid proxmox.VMID) *plan.Blocker {
	for _, v := range o.ByGuest[vmid] {
		if Ambiguous(*v) && v.Content == "backup" && text.ProxmoxStorage(v.VolID) == storage {
			return &plan.Blocker{Reason: fmt.Sprintf("storage %s lists the archive %s twice, with different values", storage, v.VolID),
				Fix: []string{fmt.Sprintf("compare: pvesm list %s --vmid %d", storage, vmid)}}
		}
	}
	return nil
}

func NewestFirst(all []proxmox.StorageContent) {
	newer := func(a, b proxmox.StorageContent) int {
		if c := b.CTime.Compare(a.CTime); c != 0 {
			return c
		}
		return strings.Compare(b.VolID, a.VolID)
	}
	if !slices.IsSortedFunc(all, newer) {
		slices.SortStableFunc(all, newer)
	}
}

// Owns reports whether a marker bears this object (or the name it had), this VMID
// and our owner.
func Owns(o *Observed, m marker.Marker, object *spec.Object, vmid proxmox.VMID) bool {
	return (m.Object == object.Ref.Name || object.Was != "" && m.Object == object.Was) && m.VMID == vmid && m.Owner == o.Owner
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
func IsOwnBackup(o *Observed, guest *spec.Guest, source spec.Source, c *Choice) bool {
	if source.Golden != "" {
		return false
	}
	return IsOwn(guest, source) || c.Volume.VMID == guest.VMID && OwnArchive(o, guest, spec.Source{Newest: text.ProxmoxStorage(c.Volume.VolID)}, c.Inside)
}

// OwnArchive reports whether the config inside an archive is of the guest that the
// source means. The marker inside decides; where there is none, VMID (by the
// archive's name) and hostname do.
func OwnArchive(o *Observed, guest *spec.Guest, source spec.Source, inside proxmox.GuestConfig) bool {
	if !IsOwn(guest, source) {
		return true // asked for by its number, whoever that is
	}
	found := marker.FindMarkers(inside.Description())
	switch len(found) {
	case 0:
		return strings.EqualFold(inside.Hostname(), guest.Hostname())
	case 1:
		return Owns(o, found[0], &guest.Object, guest.VMID)
	}
	return false
}
