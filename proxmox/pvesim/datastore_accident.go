package pvesim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// A Datastore is what its administrator does to a datastore of a Proxmox Backup Server.
type Datastore struct {
	s *Sim
	d *world.Datastore
}

// AddDatastore sets a datastore up on a backup server. users are the users and API tokens
// with their roles: DatastoreBackup, DatastorePowerUser, DatastoreReader, DatastoreAdmin.
func (s *Sim) AddDatastore(server, name string, size int64, users map[string]string) *Datastore {
	defer s.cl.Enter()()
	d := &world.Datastore{Server: server, Name: name, Size: size, Users: users}
	s.cl.World.Datastores = append(s.cl.World.Datastores, d)
	return &Datastore{s, d}
}

// Datastore returns a datastore by its name, or nil.
func (s *Sim) Datastore(name string) *Datastore {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	for _, d := range s.cl.World.Datastores {
		if d.Name == name {
			return &Datastore{s, d}
		}
	}
	return nil
}

func (d *Datastore) change(f func(*world.Datastore)) {
	defer d.s.cl.Enter()()
	f(d.d)
}

// SetRole gives a user or API token a role; "" takes it away.
func (d *Datastore) SetRole(user, role string) {
	d.change(func(d *world.Datastore) {
		if d.Users == nil {
			d.Users = make(map[string]string)
		}
		if d.Users[user] = role; role == "" {
			delete(d.Users, user)
		}
	})
}

// SetPassword sets the password that pvesm has to give of each user; "": any is right.
func (d *Datastore) SetPassword(password string) {
	d.change(func(d *world.Datastore) { d.Password = password })
}

// SetMaintenance sets the maintenance mode: "read-only", "offline", with ": MESSAGE" behind
// it; "" ends it.
func (d *Datastore) SetMaintenance(mode string) {
	d.change(func(d *world.Datastore) { d.Maintenance = mode })
}

// SetDown lets the server not answer, or answer again.
func (d *Datastore) SetDown(down bool) { d.change(func(d *world.Datastore) { d.Down = down }) }

// Fill takes all room but some of the datastore.
func (d *Datastore) Fill(left int64) {
	d.change(func(d *world.Datastore) { d.Used = 0; d.Used = max(0, d.Size-d.Taken()-left) })
}

// Verify has the server verify all snapshots of a guest, with the result "ok" or "failed".
func (d *Datastore) Verify(vmid int, result string) {
	now := d.s.Now().Unix()
	d.change(func(d *world.Datastore) {
		d.Each(vmid, func(_ string, v *world.Volume) {
			if !v.Unfinished {
				v.Verified, v.VerifiedAt = result, now
			}
		})
	})
}

// CutOff adds a snapshot of a guest that was never finished, begun now.
func (d *Datastore) CutOff(vmid int, owner string) {
	now := d.s.Now().UTC()
	d.change(func(d *world.Datastore) {
		p := &places.Place{Storage: &world.Storage{Username: owner}, Items: world.Store{}, Datastore: d}
		if d.Spaces == nil {
			d.Spaces = map[string]world.Store{"": {}}
		}
		p.Put(fmt.Sprintf("backup/ct/%d/%s", vmid, now.Format(world.SnapshotTime)), &world.Volume{VMID: vmid, Size: 1, Created: now.Unix(), Unfinished: true})
	})
}

// Prune is a prune job of the server: of each group the newest snapshots stay, and those
// that are protected.
func (d *Datastore) Prune(keep int) {
	d.change(func(d *world.Datastore) {
		for space, items := range d.Spaces {
			groups := map[string][]string{}
			for _, name := range slices.Sorted(maps.Keys(items)) {
				if !items[name].Protected {
					groups[world.Group(name)] = append(groups[world.Group(name)], name)
				}
			}
			for _, names := range groups {
				for _, name := range names[:max(0, len(names)-keep)] {
					d.Drop(space, name)
				}
			}
		}
	})
}

// Snapshots lists all that the datastore has, as "NAMESPACE|ct/110/TIME OWNER", sorted.
func (d *Datastore) Snapshots() (all []string) {
	d.change(func(d *world.Datastore) {
		for space, items := range d.Spaces {
			for name := range items {
				all = append(all, space+"|"+strings.TrimPrefix(name, "backup/")+" "+d.Owner(space, name))
			}
		}
	})
	slices.Sort(all)
	return all
}

// Own changes the owner of a guest's groups, as proxmox-backup-client change-owner does.
func (d *Datastore) Own(vmid int, owner string) {
	d.change(func(d *world.Datastore) {
		for key := range d.Owners {
			if strings.HasSuffix(key, fmt.Sprintf("|ct/%d", vmid)) {
				d.Owners[key] = owner
			}
		}
	})
}
