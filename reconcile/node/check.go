package node

import (
	"fmt"
	"path"
	"strings"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// CheckAtMost is how long the check of one archive's contents may take before an older one is
// taken in its place.
const CheckAtMost = privileged.ArchiveTime

// An ArchiveFile is where an archive lies on the host: File is below Mount, where a declared
// disk is mounted.
type ArchiveFile struct{ VolID, Mount, File string }

// CheckableFile returns where the root helper finds an archive; false where it cannot read it:
// there is no root helper, or the archive is on no declared mount.
func CheckableFile(o *Observed, want *spec.Desired, v proxmox.StorageContent) (ArchiveFile, bool) {
	id, err := proxmox.ParseVolumeID(v.VolID)
	state := o.Storages[id.Storage]
	if err != nil || want == nil || o.Host == nil || state == nil || OnServer(v) {
		return ArchiveFile{}, false
	}
	m, mounted := o.MountOf(want, id.Storage)
	if m == nil || !mounted || state.Conf.Path == "" || !Within(m.Path, state.Conf.Path) {
		return ArchiveFile{}, false
	}
	file := path.Join(strings.TrimPrefix(state.Conf.Path, m.Path), "dump", strings.TrimPrefix(id.Name, "backup/"))
	return ArchiveFile{v.VolID, m.Path, strings.TrimPrefix(file, "/")}, true
}

// ToCheck lists the archives whose contents decide what missing guests are made from: those of
// ours without a noted size that are newer than any that is proven.
func ToCheck(o *Observed, want *spec.Desired) []ArchiveFile {
	var files []ArchiveFile
	for _, guest := range want.AllGuests() {
		if o.Guests[guest.VMID] != nil || o.Scope != nil && !o.Scope[guest.Ref] {
			continue
		}
		for _, source := range guest.From {
			if source.Newest == "" {
				continue
			}
			for _, v := range ArchivesOf(o, source.Newest, SourceVMID(guest, source), guest.Type) {
				if Proven(o, v) {
					break
				}
				if file, ok := CheckableFile(o, want, v); ok && o.Checkable[v.VolID] {
					files = append(files, file)
				}
			}
		}
	}
	return files
}

// unchecked keeps older archives from being taken while the contents of a newer one can still
// be checked.
func unchecked(o *Observed, v proxmox.StorageContent) *plan.Blocker {
	made := o.Memory.Archives[v.VolID]
	if !o.Checkable[v.VolID] || made.Unchecked != "" {
		return nil
	}
	reason := fmt.Sprintf("the archive of %s has no size in its notes; its contents are checked before an older one is restored (at most %s)", o.Date(v.CTime), CheckAtMost)
	if since, runs := o.Memory.Checking[v.VolID]; runs {
		reason = fmt.Sprintf("the contents of the archive of %s are being checked since %s (at most %s)", o.Date(v.CTime), o.Clock(since), CheckAtMost)
	}
	return &plan.Blocker{Reason: reason, Fix: []string{"wait for it", fmt.Sprintf("or restore it unchecked: from: {archive: %s}", v.VolID)}, Passes: true}
}

// notChecked says why a check could not prove an archive.
func notChecked(o *Observed, v proxmox.StorageContent) string {
	if why := o.Memory.Archives[v.VolID].Unchecked; why != "" {
		return "; " + why
	}
	return ""
}
