package proxmox

import (
	"fmt"
	"regexp"
	"strings"
)

// VolumeID names anything that lies on a storage, as PVE writes it:
// STORAGE:NAME.
type VolumeID struct{ Storage, Name string }

// ParseVolumeID splits a volume id; the name is anything but empty.
func ParseVolumeID(s string) (VolumeID, error) {
	storage, name, found := strings.Cut(s, ":")
	if !found || name == "" || strings.ContainsAny(name, "\n\r\x00") || CheckStorageID(storage) != nil {
		return VolumeID{}, fmt.Errorf("invalid volume ID %q: expected STORAGE:NAME, for example local-lvm:vm-111-disk-0", s)
	}
	return VolumeID{storage, name}, nil
}

// String is STORAGE:NAME, or "" for the zero VolumeID.
func (v VolumeID) String() string {
	if v == (VolumeID{}) {
		return ""
	}
	return v.Storage + ":" + v.Name
}

var (
	diskName    = regexp.MustCompile(`^(?:vm|base|subvol|basevol)-([0-9]+)-.`)
	folderName  = regexp.MustCompile(`^[0-9]+$`)
	archiveName = regexp.MustCompile(`^vzdump-(lxc|qemu|openvz)-([0-9]+)-(.+)$`)
	archiveForm = regexp.MustCompile(`\.(tar|tgz|tar\.(?:gz|lzo|zst|bz2)|vma|vma\.(?:gz|lzo|zst))$`)
	stampForm   = regexp.MustCompile(`^[0-9]{4}_[0-9]{2}_[0-9]{2}-[0-9]{2}_[0-9]{2}_[0-9]{2}$`)
)

// Owner is the guest that a disk or an archive belongs to by its name, which
// is also where PVE reads it. It is false for templates, images and archives
// whose name has no VMID.
func (v VolumeID) Owner() (VMID, bool) {
	if a, ok := v.archive(); ok {
		return a.VMID, a.VMID != 0
	}
	parts := strings.Split(v.Name, "/")
	last := len(parts) - 1
	// On a directory storage the folder decides: 111/vm-111-disk-0.raw.
	if last > 0 && folderName.MatchString(parts[last-1]) {
		id, err := ParseVMID(parts[last-1])
		return id, err == nil
	}
	if m := diskName.FindStringSubmatch(parts[last]); m != nil {
		id, err := ParseVMID(m[1])
		return id, err == nil
	}
	return 0, false
}

// Archive is a vzdump archive, as far as its name tells.
type Archive struct {
	VolumeID
	// Type is lxc or qemu (openvz is called lxc); "" where the name does not
	// say.
	Type string
	// VMID is the guest it was made of; 0 where the name does not say.
	VMID VMID
	// Stamp is when the backup began, as written in the name: the node's local
	// time 2006_01_02-15_04_05, on a backup server 2006-01-02T15:04:05Z; "" for
	// a renamed archive, which PVE never prunes.
	Stamp string
	// Format is tar.zst, tar, vma.zst …; pbs-ct or pbs-vm on a backup server.
	Format string
}

// ParseArchive reads the volume id of an archive. It is false for volumes of
// any other kind.
func ParseArchive(volid string) (Archive, bool) {
	v, err := ParseVolumeID(volid)
	if err != nil {
		return Archive{}, false
	}
	return v.archive()
}

func (v VolumeID) archive() (Archive, bool) {
	file, ok := strings.CutPrefix(v.Name, "backup/")
	if !ok {
		return Archive{}, false
	}
	a := Archive{VolumeID: v}
	if parts := strings.Split(file, "/"); len(parts) == 3 { // backup server
		kind, known := map[string]string{"ct": "lxc", "vm": "qemu"}[parts[0]]
		id, err := ParseVMID(parts[1])
		a.Type, a.VMID, a.Stamp, a.Format = kind, id, parts[2], "pbs-"+parts[0]
		return a, known && err == nil
	}
	ext := archiveForm.FindStringSubmatch(file)
	if ext == nil || strings.Contains(file, "/") {
		return Archive{}, false
	}
	a.Format = ext[1]
	m := archiveName.FindStringSubmatch(strings.TrimSuffix(file, ext[0]))
	if m == nil {
		return a, true
	}
	id, err := ParseVMID(m[2])
	if err != nil {
		return a, true
	}
	a.VMID, a.Type = id, m[1]
	if a.Type == "openvz" {
		a.Type = "lxc"
	}
	if stampForm.MatchString(m[3]) {
		a.Stamp = m[3]
	}
	return a, true
}
