package proxmox

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// Storage is the configuration of a storage, the same for the whole cluster.
type Storage struct {
	ID, Type string
	Path     string // of directory-like ones
	Content  []string
	// IsMountpoint is "" or "no" if PVE does not care, "yes" if Path must be a
	// mount point for the storage to be active, or the path that must be one.
	IsMountpoint string
	// PruneBackups is PVE's own retention, such as keep-all=1; "" is the same, unless
	// /etc/vzdump.conf has one: see View.BackupRetention.
	PruneBackups string
	Disabled     bool
	Shared       bool
	Nodes        []string          // empty: all nodes
	Raw          map[string]string // everything, as PVE's strings
	Ambiguous    bool              // the answer names it twice, with different values
}

// ListStorage lists the configured storages, by name. PVE leaves out those on
// which the token has none of the Datastore privileges.
func (v *View) ListStorage(ctx context.Context) ([]Storage, error) {
	storages, err := readAs(ctx, v, "/storage", nil, storagesOf)
	storages = slices.Clone(storages)
	for i := range storages {
		s := &storages[i]
		s.Content, s.Nodes, s.Raw = slices.Clone(s.Content), slices.Clone(s.Nodes), maps.Clone(s.Raw)
	}
	return storages, err
}

func storagesOf(w []map[string]json.RawMessage, r *reply) ([]Storage, error) {
	storages := make([]Storage, 0, len(w))
	for _, entry := range w {
		raw := make(map[string]string, len(entry))
		for key, value := range entry {
			var err error
			if raw[key], err = scalar(value); err != nil {
				raw[key] = string(value) // nested settings of special kinds
			}
		}
		on := func(key string) bool { b, _ := parseBool(raw[key]); return b == "1" }
		s := Storage{
			ID: raw["storage"], Type: raw["type"], Path: raw["path"], Content: sortedList(text(raw["content"])),
			IsMountpoint: raw["is_mountpoint"], PruneBackups: raw["prune-backups"],
			Disabled: on("disable"), Shared: on("shared"), Nodes: sortedList(text(raw["nodes"])), Raw: raw,
		}
		if word, ok := parseBool(s.IsMountpoint); ok {
			s.IsMountpoint = map[string]string{"1": "yes", "0": "no"}[word]
		}
		if s.ID == "" || s.Type == "" {
			return nil, r.fault("a storage has no name or type")
		}
		storages = append(storages, s)
	}
	storages = distinct(storages, func(s Storage) string { return s.ID }, func(first *Storage, later Storage) {
		first.Ambiguous = first.Ambiguous || !maps.Equal(first.Raw, later.Raw)
	})
	slices.SortFunc(storages, func(a, b Storage) int { return strings.Compare(a.ID, b.ID) })
	return storages, nil
}

func sortedList(s text) []string {
	words := list(s)
	slices.Sort(words)
	return words
}

// StorageStatus is a storage as one node sees it.
type StorageStatus struct {
	ID, Type                string
	Content                 []string
	Active, Enabled, Shared bool
	Total, Used, Avail      Size
	Ambiguous               bool // the answer names it twice, with different values
}

// NodeStorage lists the storages of a node with their state, by name. A disk
// that was pulled while mounted still counts as active.
func (v *View) NodeStorage(ctx context.Context, node string) ([]StorageStatus, error) {
	storages, err := readAs(ctx, v, "/nodes/"+node+"/storage", nil, storageStatesOf)
	storages = slices.Clone(storages)
	for i := range storages {
		storages[i].Content = slices.Clone(storages[i].Content)
	}
	return storages, err
}

type storageStatusWire struct {
	Storage, Type, Content  text
	Active, Enabled, Shared flag
	Total, Used, Avail      number
}

func storageStatesOf(w []storageStatusWire, r *reply) ([]StorageStatus, error) {
	storages := make([]StorageStatus, 0, len(w))
	for _, e := range w {
		if e.Storage == "" {
			return nil, r.fault("a storage has no name")
		}
		storages = append(storages, StorageStatus{
			ID: string(e.Storage), Type: string(e.Type), Content: sortedList(e.Content),
			Active: bool(e.Active), Enabled: bool(e.Enabled), Shared: bool(e.Shared),
			Total: Size(e.Total), Used: Size(e.Used), Avail: Size(e.Avail),
		})
	}
	storages = distinct(storages, func(s StorageStatus) string { return s.ID }, func(first *StorageStatus, later StorageStatus) {
		later.Ambiguous = first.Ambiguous
		first.Ambiguous = first.Ambiguous || differ(*first, later)
	})
	slices.SortFunc(storages, func(a, b StorageStatus) int { return strings.Compare(a.ID, b.ID) })
	return storages, nil
}

// StorageContent is something that lies on a storage.
type StorageContent struct {
	VolID   string
	Content string // backup, rootdir, images, vztmpl, iso …
	Format  string // tar.zst, raw, subvol …
	Subtype string // lxc or qemu, of a backup
	Size    Size
	Used    Size
	// CTime is, of a backup, when it began: read from its name in the node's
	// time zone.
	CTime time.Time
	VMID  VMID // 0 where the name says none
	// Notes is the first line in a listing, all of it in VolumeInfo.
	Notes     string
	Protected bool
	Parent    string // the base volume of a linked clone
	Encrypted bool   // backup server only
	// Key is the fingerprint of the key with which a backup server's archive is encrypted; ""
	// where it is not, or PVE does not know which.
	Key        string
	Verified   string    // backup server only: ok, failed or ""
	VerifiedAt time.Time // when that verification began; zero: not known
	Path       string    // only in VolumeInfo
	Ambiguous  bool      // the listing names it twice, with different values
}

type volumeWire struct {
	VolID, Content, Format, Subtype, Notes, Parent, Encrypted, Path text
	Size, Used, CTime, VMID                                         number
	Protected                                                       flag
	Verification                                                    struct{ State, UPID text }
}

func (w volumeWire) volume() StorageContent {
	return StorageContent{
		VolID: string(w.VolID), Content: string(w.Content), Format: string(w.Format), Subtype: string(w.Subtype),
		Size: Size(w.Size), Used: Size(w.Used), CTime: unix(w.CTime), VMID: VMID(w.VMID),
		Notes: CanonicalDescription(string(w.Notes)), Protected: bool(w.Protected), Parent: string(w.Parent),
		Encrypted: w.Encrypted != "", Key: keyFingerprint(string(w.Encrypted)), Verified: string(w.Verification.State), VerifiedAt: verifiedAt(string(w.Verification.UPID)), Path: string(w.Path),
	}
}

// ContentFilter narrows a listing; its zero value does not.
type ContentFilter struct {
	Content string // backup, rootdir …
	VMID    VMID
}

// StorageContent lists what lies on a storage, by volume id, each once. PVE leaves out
// what the token may not see: a backup needs Datastore.AllocateSpace here and
// VM.Backup on its guest; without them the list is empty and no error.
func (v *View) StorageContent(ctx context.Context, node, storage string, filter ContentFilter) ([]StorageContent, error) {
	p := Params{}
	p.set("content", filter.Content)
	if filter.VMID != 0 {
		p["vmid"] = filter.VMID.String()
	}
	volumes, err := readList(ctx, v, On(node).path("storage", storage, "content"), p, volumeOf, eachOnce)
	return slices.Clone(volumes), err
}

func volumeOf(w *volumeWire, r *reply) (StorageContent, error) {
	if w.VolID == "" {
		return StorageContent{}, r.fault("a volume has no id")
	}
	return w.volume(), nil
}

// eachOnce sorts volumes by their ids, and notes which are listed twice.
func eachOnce(volumes []StorageContent) []StorageContent {
	if slices.IsSortedFunc(volumes, func(a, b StorageContent) int { return cmp.Or(strings.Compare(a.VolID, b.VolID), -1) }) {
		return volumes // as most are; two of one id are out of order
	}
	volumes = distinct(volumes, func(v StorageContent) string { return v.VolID }, func(first *StorageContent, later StorageContent) {
		later.Ambiguous = first.Ambiguous
		first.Ambiguous = first.Ambiguous || differ(*first, later)
	})
	slices.SortFunc(volumes, func(a, b StorageContent) int { return strings.Compare(a.VolID, b.VolID) })
	return volumes
}

// BackupRetention asks for the retention to which a backup to the storage is subject,
// such as keep-all=1: the storage's own, else that of the node's /etc/vzdump.conf. "" where
// PVE does not say.
func (v *View) BackupRetention(ctx context.Context, node, storage string) (string, error) {
	w, _, err := read[struct {
		PruneBackups text `json:"prune-backups"`
	}](ctx, v, On(node).path("vzdump", "defaults"), Params{"storage": storage})
	return string(w.PruneBackups), err
}

// VolumeInfo asks for one volume, with all of its notes. Besides these PVE
// tells only its path and sizes; VMID and Subtype are read from the name.
func (v *View) VolumeInfo(ctx context.Context, node, volid string) (StorageContent, error) {
	w, _, err := read[volumeWire](ctx, v, On(node).volume(volid), nil)
	if err != nil {
		return StorageContent{}, err
	}
	volume := w.volume()
	volume.VolID = volid
	if id, err := ParseVolumeID(volid); err == nil {
		volume.VMID, _ = id.Owner()
	}
	if archive, ok := ParseArchive(volid); ok {
		volume.Content, volume.Subtype = "backup", archive.Type
	}
	return volume, nil
}

// ArchiveConfig is the config inside an archive, which a restore starts from.
// Needs Datastore.AllocateSpace on the storage and VM.Backup on the guest.
func (v *View) ArchiveConfig(ctx context.Context, node, volid string) (GuestConfig, error) {
	content, r, err := read[string](ctx, v, On(node).path("vzdump", "extractconfig"), Params{"volume": volid})
	if err != nil {
		return GuestConfig{}, err
	}
	c := parseConfigText(content)
	if len(c.Raw) == 0 {
		return GuestConfig{}, r.fault("it contains no configuration")
	}
	if archive, ok := ParseArchive(volid); ok {
		c.VMID, c.Type = archive.VMID, GuestTypeOf(archive.Type)
	}
	return c, nil
}
