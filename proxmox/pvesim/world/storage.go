package world

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
)

// A Store is what one storage holds in one place, by volume name.
type Store map[string]*Volume

// A Volume is one image, archive, template or file of a storage.
type Volume struct {
	VMID      int               `yaml:"vmid,omitempty"`
	Size      int64             `yaml:"size"`
	Used      int64             `yaml:"used,omitempty"`
	Format    string            `yaml:"format,omitempty"`
	Created   int64             `yaml:"created,omitempty"`
	Data      string            `yaml:"data,omitempty"`
	Base      bool              `yaml:"base,omitempty"`
	Snapshots map[string]string `yaml:"snapshots,omitempty"`
	Order     []string          `yaml:"order,omitempty"` // the snapshots, oldest first
	// archives
	Config    string     `yaml:"config,omitempty"`
	Parts     []Part     `yaml:"parts,omitempty"`
	Notes     string     `yaml:"notes,omitempty"`
	Protected bool       `yaml:"protected,omitempty"`
	Written   *time.Time `yaml:"written,omitempty"`  // not on the disk yet: written at this time
	Noted     *time.Time `yaml:"noted,omitempty"`    // its notes are not on the disk yet: written at this time
	OldNotes  string     `yaml:"oldnotes,omitempty"` // those that are
	Whole     int64      `yaml:"whole,omitempty"`    // it was cut off: the size that it should have
	Garbage   bool       `yaml:"garbage,omitempty"`  // no archive at all
	OS        string     `yaml:"os,omitempty"`       // of a template
	Bare      bool       `yaml:"bare,omitempty"`     // its system sets no network up
	Inside    *Inside    `yaml:"inside,omitempty"`   // what a guest that is restored from it has
	// snapshots of a backup server
	Encrypted  string `yaml:"encrypted,omitempty"` // the fingerprint of the key
	Verified   string `yaml:"verified,omitempty"`  // ok or failed
	VerifiedAt int64  `yaml:"verified-at,omitempty"`
	Unfinished bool   `yaml:"unfinished,omitempty"` // its upload has not ended, or never will
}

// A Part is what an archive holds of one mount point.
type Part struct {
	MP   string `yaml:"mp"`
	Path string `yaml:"path"`
	Data string `yaml:"data"`
	Used int64  `yaml:"used,omitempty"`
	Bare bool   `yaml:"bare,omitempty"`
}

// A Storage is one entry of storage.cfg.
type Storage struct {
	ID           string   `yaml:"id"`
	Type         string   `yaml:"type"`
	Path         string   `yaml:"path,omitempty"`
	VG           string   `yaml:"vg,omitempty"`
	Pool         string   `yaml:"pool,omitempty"`
	Content      []string `yaml:"content"`
	Disable      bool     `yaml:"disable,omitempty"`
	Mountpoint   string   `yaml:"is_mountpoint,omitempty"`
	Prune        string   `yaml:"prune-backups,omitempty"`
	MaxProtected *int     `yaml:"max-protected-backups,omitempty"`
	Nodes        []string `yaml:"nodes,omitempty"`
	Shared       bool     `yaml:"shared,omitempty"`
	Size         int64    `yaml:"size,omitempty"`    // of block storages
	Reserve      int64    `yaml:"reserve,omitempty"` // used by others
	// of type pbs
	Server      string `yaml:"server,omitempty"`
	Datastore   string `yaml:"datastore,omitempty"`
	Namespace   string `yaml:"namespace,omitempty"`
	Username    string `yaml:"username,omitempty"` // a user or an API token of the server
	Fingerprint string `yaml:"fingerprint,omitempty"`
	Key         string `yaml:"encryption-key,omitempty"`      // its fingerprint
	KeyLost     bool   `yaml:"encryption-key-lost,omitempty"` // the file in /etc/pve/priv/storage is gone
}

// On reports whether the storage is there on a node.
func (st *Storage) On(node string) bool { return len(st.Nodes) == 0 || slices.Contains(st.Nodes, node) }

// Holds reports whether the storage takes a type of content.
func (st *Storage) Holds(content string) bool { return slices.Contains(st.Content, content) }

// IsDir reports whether the storage keeps files in a directory.
func (st *Storage) IsDir() bool {
	switch st.Type {
	case "dir", "nfs", "cifs", "btrfs":
		return true
	}
	return false
}

// CanSnapshot reports whether the storage's container volumes can be snapshot.
func (st *Storage) CanSnapshot() bool {
	switch st.Type {
	case "lvmthin", "zfspool", "rbd", "btrfs":
		return true
	}
	return false
}

// Occupies is the room that a volume takes.
func (v *Volume) Occupies() int64 {
	if v.Used > 0 || v.Format == "raw" || v.Format == "subvol" {
		return v.Used
	}
	return v.Size
}

var (
	// ImageRE is the name of a guest's volume.
	ImageRE = namePattern(`^(?:(\d+)/)?(vm|subvol|base|basevol)-(\d+)-.+$`)
	// ArchiveRE is the name of a file that counts as an archive.
	ArchiveRE = namePattern(`^backup/((?:[^/]+)\.(tar(?:\.(?:zst|gz|lzo|bz2))?|tgz|vma(?:\.(?:zst|gz|lzo))?))$`)
	// DumpRE is the name of an archive that says whose it is; its groups are the kind, the VMID, the time.
	DumpRE = namePattern(`^backup/vzdump-(lxc|openvz|qemu)-([1-9][0-9]{2,8})-(.+)\.(tar|tgz|vma)`)
	// OurDumpRE is the name of an archive that retention may touch.
	OurDumpRE = namePattern(`^backup/vzdump-(lxc|openvz|qemu)-(\d+)-(.+)\.(tar|tgz|vma)`)
	// OwnedRE finds the VMID in any archive's name.
	OwnedRE = namePattern(`-([1-9][0-9]{2,8})-[^/]+\.(?:tar|tgz|vma)`)
	// StampRE is the time in an archive's name, in the node's zone.
	StampRE = regexp.MustCompile(`^(\d{4})_(\d\d)_(\d\d)-(\d\d)_(\d\d)_(\d\d)$`)
)

// KindOf is a volume's content type and owner (0: none). PVE: parse_volname.
func (st *Storage) KindOf(name string) (kind string, owner int, err error) {
	switch {
	case st.Type == "pbs":
		if m := SnapshotRE.FindStringSubmatch(name); m != nil {
			return "backup", notation.Atoi(m[2]), nil
		}
		return "", 0, refusal.Fail("unable to parse PBS volume name '%s'", name)
	case strings.HasPrefix(name, "vztmpl/"):
		return "vztmpl", 0, nil
	case strings.HasPrefix(name, "iso/"):
		return "iso", 0, nil
	case strings.HasPrefix(name, "snippets/"):
		return "snippets", 0, nil
	case ArchiveRE.MatchString(name):
		if m := DumpRE.FindStringSubmatch(name); m != nil {
			owner = notation.Atoi(m[2])
		}
		return "backup", owner, nil
	}
	if m := ImageRE.FindStringSubmatch(name); m != nil && st.IsDir() == (m[1] != "") {
		return "images", notation.Atoi(m[3]), nil
	}
	return "", 0, refusal.Fail("unable to parse %s volume name '%s'", map[bool]string{true: "directory", false: st.Type}[st.IsDir()], name)
}

// VolumeGroup is the name of its LVM volume group.
func (st *Storage) VolumeGroup() string {
	if st.VG == "" {
		return "pve"
	}
	return st.VG
}

// File is the path of a volume of a directory storage.
func (st *Storage) File(name string) string {
	kind, rest, _ := strings.Cut(name, "/")
	switch kind {
	case "backup":
		return st.Path + "/dump/" + rest
	case "vztmpl":
		return st.Path + "/template/cache/" + rest
	case "iso":
		return st.Path + "/template/iso/" + rest
	case "snippets":
		return st.Path + "/snippets/" + rest
	}
	return st.Path + "/images/" + name
}

// PathOf is where the host finds a volume.
func (st *Storage) PathOf(name string) string {
	switch {
	case st.Type == "pbs":
		return fmt.Sprintf("pbs:%s@%s:%s:%s", st.User(), st.Server, st.Datastore, name)
	case st.IsDir():
		return st.File(name)
	case st.Type == "zfspool":
		return "/" + st.Pool + "/" + name
	}
	return "/dev/" + st.VolumeGroup() + "/" + name
}

// PartsOf are the parts of an archive of which only the name, the config inside and the size are known: the root file system of a container, the
// drives of a virtual machine.
func PartsOf(file, config string, size int64) (parts []Part) {
	if !strings.Contains(file, "vzdump-qemu-") {
		return []Part{{MP: "rootfs", Path: "/", Data: Imprint(file), Used: size}}
	}
	for _, m := range lxcconf.Parse(config).MountPoints() {
		parts = append(parts, Part{MP: m.Key, Data: Imprint(file + m.Key)})
	}
	return parts
}
