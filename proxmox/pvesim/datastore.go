package pvesim

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
)

// A datastore is one of a Proxmox Backup Server. What a storage sees of it depends on the
// user with which the storage logs in: see datastoreRoles.
type datastore struct {
	Server string            `yaml:"server"`
	Name   string            `yaml:"name"`
	Size   int64             `yaml:"size"`
	Used   int64             `yaml:"used,omitempty"` // besides the snapshots
	Users  map[string]string `yaml:"users"`          // user or API token -> its role on the datastore
	Owners map[string]string `yaml:"owners,omitempty"`
	// Maintenance is "read-only" or "offline", with a message behind ": "; "" for none.
	Maintenance string           `yaml:"maintenance,omitempty"`
	Down        bool             `yaml:"down,omitempty"` // nothing answers
	Spaces      map[string]store `yaml:"namespaces,omitempty"`
}

// A right is what a role allows on a datastore.
type right int

const (
	seesAll right = 1 << iota // groups of other owners too
	seesOwn
	writes // backs up, into groups of its own; sets notes and protection there
	prunes // deletes, in groups of its own
)

// datastoreRoles are the roles of a Proxmox Backup Server (proxmox-backup: pbs-api-types, acl).
var datastoreRoles = map[string]right{
	"Admin":              seesAll | seesOwn | writes | prunes,
	"DatastoreAdmin":     seesAll | seesOwn | writes | prunes,
	"DatastorePowerUser": seesOwn | writes | prunes,
	"DatastoreBackup":    seesOwn | writes,
	"DatastoreReader":    seesAll | seesOwn,
	"DatastoreAudit":     seesAll,
}

// snapshotRE is the name of a snapshot of a guest, whose time is in UTC.
var snapshotRE = regexp.MustCompile(`^backup/(ct|vm)/([1-9][0-9]{2,8})/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)$`)

// group is the group of a snapshot: "ct/110".
func group(name string) string {
	m := snapshotRE.FindStringSubmatch(name)
	if m == nil {
		return ""
	}
	return m[1] + "/" + m[2]
}

func (s *Sim) datastore(server, name string) *datastore {
	for _, d := range s.w.Datastores {
		if d.Server == server && d.Name == name {
			return d
		}
	}
	return nil
}

// user is with whom a storage logs in.
func (st *storage) user() string { return orElse(st.Username, "root@pam") }

func (d *datastore) rights(user string) right {
	if user == "root@pam" {
		return datastoreRoles["Admin"]
	}
	return datastoreRoles[d.Users[user]]
}

// owner is whose group a snapshot is in, "" where there is no such group yet.
func (d *datastore) owner(space, name string) string { return d.Owners[space+"|"+group(name)] }

// owns reports whether a group's owner counts as the user that asks: the same, or an API
// token of it. A token does not count as its user, nor as another token of it.
func owns(user, owner string) bool { return user == owner || strings.HasPrefix(owner, user+"!") }

// datastorePlace activates a storage of type pbs. PVE: PBSPlugin, activate_storage and status.
func (s *Sim) datastorePlace(st *storage) (*place, error) {
	d := s.datastore(st.Server, st.Datastore)
	switch {
	case d == nil || d.Down:
		return nil, fail("error fetching datastores - 500 Can't connect to %s:8007 (Connection timed out)", st.Server)
	case d.rights(st.user()) == 0:
		return nil, fail("Cannot find datastore '%s', check permissions and existence!", st.Datastore)
	case strings.HasPrefix(d.Maintenance, "offline"):
		return nil, fail("error listing snapshots - 500 Internal Server Error: %s", d.maintenance())
	}
	if d.Spaces == nil {
		d.Spaces = make(map[string]store)
	}
	if d.Spaces[st.Namespace] == nil {
		d.Spaces[st.Namespace] = make(store)
	}
	may := d.rights(st.user())
	seen := maps.Clone(d.Spaces[st.Namespace])
	maps.DeleteFunc(seen, func(name string, _ *volume) bool {
		return may&seesAll == 0 && !(may&seesOwn != 0 && owns(st.user(), d.owner(st.Namespace, name)))
	})
	return &place{st: st, s: s, items: seen, total: d.Size, datastore: d}, nil
}

// maintenance is what the server answers in maintenance: "offline maintenance mode: MSG".
func (d *datastore) maintenance() string {
	kind, text, _ := strings.Cut(d.Maintenance, ": ")
	return strings.TrimSuffix(kind+" maintenance mode: "+text, ": ")
}

// taken is the room that is used on the datastore: snapshots share most of what is in them.
func (d *datastore) taken() int64 {
	used := d.Used
	for _, items := range d.Spaces {
		for _, v := range items {
			used += v.Size / 10
		}
	}
	return min(used, d.Size)
}

// put keeps a thing under a name in a place.
func (p *place) put(name string, v *volume) {
	p.items[name] = v
	if p.datastore == nil {
		return
	}
	d, space := p.datastore, p.st.Namespace
	d.Spaces[space][name] = v
	if d.Owners == nil {
		d.Owners = make(map[string]string)
	}
	if key := space + "|" + group(name); d.Owners[key] == "" {
		d.Owners[key] = p.st.user()
	}
}

// drop removes a thing from a place. A group of a datastore keeps its owner while it has a
// snapshot.
func (p *place) drop(name string) {
	delete(p.items, name)
	if p.datastore == nil {
		return
	}
	p.datastore.drop(p.st.Namespace, name)
}

func (d *datastore) drop(space, name string) {
	delete(d.Spaces[space], name)
	for other := range d.Spaces[space] {
		if group(other) == group(name) {
			return
		}
	}
	delete(d.Owners, space+"|"+group(name))
}

// refuses says why the server does not let a storage's user do something to a snapshot.
func (p *place) refuses(name string, needs right) error {
	d, user := p.datastore, p.st.user()
	if d == nil {
		return nil
	}
	switch owner := d.owner(p.st.Namespace, name); {
	case d.Maintenance != "":
		return fmt.Errorf("Error: %s", d.maintenance())
	case d.rights(user)&needs == 0:
		return fmt.Errorf("Error: permission check failed")
	case needs == writes && owner != "" && owner != user && d.rights(user)&seesAll == 0:
		return fmt.Errorf("Error: backup owner check failed (%s != %s)", user, owner)
	}
	return nil
}

// lacksKey says why a snapshot cannot be read on this node.
func (p *place) lacksKey(v *volume) error {
	switch {
	case p.datastore == nil || v.Encrypted == "":
		return nil
	case p.st.KeyLost:
		return fail("encryption configured ('%s') but no encryption key file found!", p.st.Key)
	case p.st.Key != v.Encrypted:
		return fail("missing key - manifest was created with key %s", v.Encrypted)
	}
	return nil
}
