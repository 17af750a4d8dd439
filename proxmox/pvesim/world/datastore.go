package world

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
)

// Option sets one option of a storage; false where there is no such one.
func (st *Storage) Option(key, value string) bool {
	switch key {
	case "path":
		st.Path = value
	case "content":
		st.Content = notation.SplitList(value)
	case "is_mountpoint":
		st.Mountpoint = value
	case "prune-backups":
		st.Prune = value
	case "vgname":
		st.VG = value
	case "thinpool", "pool":
		st.Pool = value
	case "nodes":
		st.Nodes = notation.SplitList(value)
	case "shared":
		st.Shared = value == "1"
	case "disable":
		st.Disable = value == "1"
	case "max-protected-backups":
		n := notation.Atoi(value)
		st.MaxProtected = &n
	case "server", "datastore", "namespace", "username", "fingerprint", "port":
		if st.Type != "pbs" {
			return false
		}
		st.SetServer(key, value)
	default:
		return false
	}
	return true
}

// Missing is an option without which there is no storage of this type.
func (st *Storage) Missing() string {
	switch {
	case st.Type == "dir" && st.Path == "":
		return "path"
	case (st.Type == "lvm" || st.Type == "lvmthin") && st.VG == "":
		return "vgname"
	case st.Type == "zfspool" && st.Pool == "":
		return "pool"
	case st.Type == "pbs" && st.Server == "":
		return "server"
	case st.Type == "pbs" && st.Datastore == "":
		return "datastore"
	}
	return ""
}

// A Datastore is one of a Proxmox Backup Server. What a storage sees of it depends on the
// user with which the storage logs in: see datastoreRoles.
type Datastore struct {
	Server string            `yaml:"server"`
	Name   string            `yaml:"name"`
	Size   int64             `yaml:"size"`
	Used   int64             `yaml:"used,omitempty"` // besides the snapshots
	Users  map[string]string `yaml:"users"`          // user or API token -> its role on the datastore
	// Password is that of every user; "": any is right.
	Password string            `yaml:"password,omitempty"`
	Owners   map[string]string `yaml:"owners,omitempty"`
	// Maintenance is "read-only" or "offline", with a message behind ": "; "" for none.
	Maintenance string           `yaml:"maintenance,omitempty"`
	Down        bool             `yaml:"down,omitempty"` // nothing answers
	Spaces      map[string]Store `yaml:"namespaces,omitempty"`
}

// A Right is what a role allows on a datastore.
type Right int

const (
	SeesAll Right = 1 << iota // groups of other owners too
	SeesOwn                   // groups of its own
	Writes                    // backs up, into groups of its own; sets notes and protection there
	Prunes                    // deletes, in groups of its own
)

// datastoreRoles are the roles of a Proxmox Backup Server (proxmox-backup: pbs-api-types, acl).
var datastoreRoles = map[string]Right{
	"Admin":              SeesAll | SeesOwn | Writes | Prunes,
	"DatastoreAdmin":     SeesAll | SeesOwn | Writes | Prunes,
	"DatastorePowerUser": SeesOwn | Writes | Prunes,
	"DatastoreBackup":    SeesOwn | Writes,
	"DatastoreReader":    SeesAll | SeesOwn,
	"DatastoreAudit":     SeesAll,
}

// SnapshotRE is the name of a snapshot of a guest, whose time is in UTC.
var SnapshotRE = namePattern(`^backup/(ct|vm)/([1-9][0-9]{2,8})/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)$`)

// Group is the group of a snapshot: "ct/110".
func Group(name string) string {
	m := SnapshotRE.FindStringSubmatch(name)
	if m == nil {
		return ""
	}
	return m[1] + "/" + m[2]
}

// Datastore is one by its server and name; nil when there is none.
func (w *World) Datastore(server, name string) *Datastore {
	for _, d := range w.Datastores {
		if d.Server == server && d.Name == name {
			return d
		}
	}
	return nil
}

// User is with whom a storage logs in.
func (st *Storage) User() string { return cmp.Or(st.Username, "root@pam") }

// Rights is what a user may on the datastore.
func (d *Datastore) Rights(user string) Right {
	if user == "root@pam" {
		return datastoreRoles["Admin"]
	}
	return datastoreRoles[d.Users[user]]
}

// Owner is whose group a snapshot is in, "" where there is no such group yet.
func (d *Datastore) Owner(space, name string) string { return d.Owners[space+"|"+Group(name)] }

// Owns reports whether a group's owner counts as the user that asks: the same, or an API
// token of it. A token does not count as its user, nor as another token of it.
func Owns(user, owner string) bool { return user == owner || strings.HasPrefix(owner, user+"!") }

// MaintenanceText is what the server answers in maintenance: "offline maintenance mode: MSG".
func (d *Datastore) MaintenanceText() string {
	kind, text, _ := strings.Cut(d.Maintenance, ": ")
	return strings.TrimSuffix(kind+" maintenance mode: "+text, ": ")
}

// Taken is the room that is used on the datastore: snapshots share most of what is in them.
func (d *Datastore) Taken() int64 {
	used := d.Used
	for _, items := range d.Spaces {
		for _, v := range items {
			used += v.Size / 10
		}
	}
	return min(used, d.Size)
}

// Drop removes a snapshot; a group without any has no owner.
func (d *Datastore) Drop(space, name string) {
	delete(d.Spaces[space], name)
	for other := range d.Spaces[space] {
		if Group(other) == Group(name) {
			return
		}
	}
	delete(d.Owners, space+"|"+Group(name))
}

// Each calls f for the snapshots of a container.
func (d *Datastore) Each(vmid int, f func(name string, v *Volume)) {
	for _, items := range d.Spaces {
		for _, name := range slices.Sorted(maps.Keys(items)) {
			if Group(name) == "ct/"+strconv.Itoa(vmid) {
				f(name, items[name])
			}
		}
	}
}

// What PVE's API shows of the snapshots of a Proxmox Backup Server, and what a backup to it
// does. PVE: Storage::PBSPlugin, VZDump.

// SnapshotTime is the layout of the time in a snapshot's name, in UTC.
const SnapshotTime = "2006-01-02T15:04:05Z"

// ListedSize is the size as a backup server lists it.
func (v *Volume) ListedSize() int64 {
	if v.Unfinished {
		return 1
	}
	size := v.Size + int64(len(v.Notes))
	if v.Verified != "" {
		size += 120
	}
	return size
}

// SetServer sets what a storage of type pbs knows of its server.
func (st *Storage) SetServer(key, value string) {
	switch key {
	case "server":
		st.Server = value
	case "datastore":
		st.Datastore = value
	case "namespace":
		st.Namespace = value
	case "username":
		st.Username = value
	case "fingerprint":
		st.Fingerprint = value
	case "encryption-key":
		st.Key = value
	}
}
