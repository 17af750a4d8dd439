package places

import (
	"maps"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// datastorePlace activates a storage of type pbs. PVE: PBSPlugin, activate_storage and status.
func datastorePlace(cl *cluster.Cluster, st *world.Storage) (*Place, error) {
	d := cl.World.Datastore(st.Server, st.Datastore)
	switch {
	case d == nil || d.Down:
		return nil, refusal.Fail("error fetching datastores - 500 Can't connect to %s:8007 (Connection timed out)", st.Server)
	case d.Rights(st.User()) == 0:
		return nil, refusal.Fail("Cannot find datastore '%s', check permissions and existence!", st.Datastore)
	case strings.HasPrefix(d.Maintenance, "offline"):
		return nil, refusal.Fail("error listing snapshots - 500 Internal Server Error: %s", d.MaintenanceText())
	}
	if d.Spaces == nil {
		d.Spaces = make(map[string]world.Store)
	}
	if d.Spaces[st.Namespace] == nil {
		d.Spaces[st.Namespace] = make(world.Store)
	}
	may := d.Rights(st.User())
	seen := maps.Clone(d.Spaces[st.Namespace])
	maps.DeleteFunc(seen, func(name string, _ *world.Volume) bool {
		return may&world.SeesAll == 0 && !(may&world.SeesOwn != 0 && world.Owns(st.User(), d.Owner(st.Namespace, name)))
	})
	return &Place{Storage: st, Items: seen, Total: d.Size, Datastore: d}, nil
}

// Put keeps a thing under a name in a place.
func (p *Place) Put(name string, v *world.Volume) {
	p.Items[name] = v
	if p.Datastore == nil {
		return
	}
	d, space := p.Datastore, p.Storage.Namespace
	d.Spaces[space][name] = v
	if d.Owners == nil {
		d.Owners = make(map[string]string)
	}
	if key := space + "|" + world.Group(name); d.Owners[key] == "" {
		d.Owners[key] = p.Storage.User()
	}
}

// Drop removes a thing from a place. A group of a datastore keeps its owner while it has a
// snapshot.
func (p *Place) Drop(name string) {
	delete(p.Items, name)
	if p.Datastore == nil {
		return
	}
	p.Datastore.Drop(p.Storage.Namespace, name)
}

// Refuses says why the server does not let a storage's user do something to a snapshot.
func (p *Place) Refuses(name string, needs world.Right) error {
	d, user := p.Datastore, p.Storage.User()
	if d == nil {
		return nil
	}
	switch owner := d.Owner(p.Storage.Namespace, name); {
	case d.Maintenance != "":
		return refusal.Fail("Error: %s", d.MaintenanceText())
	case d.Rights(user)&needs == 0:
		return refusal.Fail("Error: permission check failed")
	case needs == world.Writes && owner != "" && owner != user && d.Rights(user)&world.SeesAll == 0:
		return refusal.Fail("Error: backup owner check failed (%s != %s)", user, owner)
	}
	return nil
}

// LacksKey says why a snapshot cannot be read on this node.
func (p *Place) LacksKey(v *world.Volume) error {
	switch {
	case p.Datastore == nil || v.Encrypted == "":
		return nil
	case p.Storage.KeyLost:
		return refusal.Fail("encryption configured ('%s') but no encryption key file found!", p.Storage.Key)
	case p.Storage.Key != v.Encrypted:
		return refusal.Fail("missing key - manifest was created with key %s", v.Encrypted)
	}
	return nil
}

// GuestOf is the guest of an archive, "" where its name does not say.
func (p *Place) GuestOf(name string) string {
	if m := world.SnapshotRE.FindStringSubmatch(name); m != nil && p.Datastore != nil {
		return m[2]
	}
	if m := world.DumpRE.FindStringSubmatch(name); m != nil {
		return m[2]
	}
	return ""
}
