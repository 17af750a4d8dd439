package rehearse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// configsRead is how many of a guest's newest archives are asked for the config inside; PVE starts a program for each.
const configsRead = 2

// storages copies the definitions of all storages, and what they list.
func (c *copier) storages(ctx context.Context) error {
	all, err := c.View.ListStorage(ctx)
	if err != nil {
		return err
	}
	status, err := c.View.NodeStorage(ctx, c.Name)
	if err != nil {
		return err
	}
	for _, s := range status {
		c.status[s.ID] = s
	}
	asked := map[proxmox.VMID]int{}
	for _, s := range all {
		st := &world.Storage{ID: s.ID, Type: s.Type, Content: s.Content, Nodes: s.Nodes, Shared: s.Shared, Disable: s.Disabled}
		for _, key := range slices.Sorted(maps.Keys(s.Raw)) {
			st.Option(key, s.Raw[key])
		}
		c.world.Storages = append(c.world.Storages, st)
		here, ok := c.status[s.ID]
		if !ok || !here.Active {
			if !s.Disabled && st.On(c.Name) {
				c.miss("storage %s, which is not active: the copy has it without content", s.ID)
			}
			continue
		}
		store, err := c.content(ctx, st, asked)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			c.miss("the content of storage %s: %v", s.ID, err)
			continue
		}
		c.place(st, store, here)
	}
	return nil
}

// content lists a storage. Volumes of kinds that no plan reads are left out.
func (c *copier) content(ctx context.Context, st *world.Storage, asked map[proxmox.VMID]int) (world.Store, error) {
	list, err := c.View.StorageContent(ctx, c.Name, st.ID, proxmox.ContentFilter{})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b proxmox.StorageContent) int { return b.CTime.Compare(a.CTime) })
	store := world.Store{}
	for _, v := range list {
		name := strings.TrimPrefix(v.VolID, st.ID+":")
		kind, _, err := st.KindOf(name)
		if err != nil {
			continue
		}
		volume := &world.Volume{VMID: int(v.VMID), Size: int64(v.Size), Used: int64(v.Used), Format: v.Format, Created: v.CTime.Unix(), Notes: v.Notes, Protected: v.Protected,
			Encrypted: v.Key, Verified: v.Verified, Data: world.Imprint(v.VolID)}
		switch kind {
		case "vztmpl":
			file, _, _ := strings.Cut(strings.TrimPrefix(name, "vztmpl/"), "-")
			volume.OS, volume.Data = file, ""
		case "backup":
			volume.Data = ""
			if asked[v.VMID]++; asked[v.VMID] <= configsRead && !v.Encrypted {
				c.inside(ctx, v, volume)
			}
		default:
			if c.world.Guests != nil {
				volume.Snapshots, volume.Order = c.snapshotsOf(int(v.VMID), v.VolID)
			}
		}
		store[name] = volume
	}
	return store, nil
}

// inside reads the notes of an archive and the config in it. Of its data the copy knows that each volume of that config is there.
func (c *copier) inside(ctx context.Context, v proxmox.StorageContent, volume *world.Volume) {
	if info, err := c.View.VolumeInfo(ctx, c.Name, v.VolID); err == nil {
		volume.Notes = info.Notes
	}
	have, err := c.View.ArchiveConfig(ctx, c.Name, v.VolID)
	if err != nil {
		c.miss("the config inside %s: %v", v.VolID, err)
		return
	}
	conf := lxcconf.New()
	conf.Section = *section(have)
	volume.Config = conf.Text()
	for _, m := range conf.MountPoints() {
		if m.Kind() == "volume" && (m.Backed() || m.Key == "rootfs") {
			volume.Parts = append(volume.Parts, world.Part{MP: m.Key, Path: m.Props["mp"], Data: world.Imprint(v.VolID, m.Key), Used: volume.Size})
		}
	}
}

// snapshotsOf are the snapshots of a guest as its volume has them.
func (c *copier) snapshotsOf(vmid int, volid string) (map[string]string, []string) {
	for _, g := range c.world.Guests {
		if g.VMID != vmid || g.Node != c.Name {
			continue
		}
		conf := lxcconf.Parse(g.Text)
		var order []string
		data := map[string]string{}
		for name, then := range conf.Snaps {
			for _, m := range then.MountPoints() {
				if m.Volid() == volid {
					order, data[name] = append(order, name), world.Imprint(volid, name)
				}
			}
		}
		slices.SortFunc(order, func(a, b string) int { return conf.Snaps[a].Num("snaptime") - conf.Snaps[b].Num("snaptime") })
		if len(order) == 0 {
			return nil, nil
		}
		return data, order
	}
	return nil, nil
}

// place puts what a storage holds where the copy looks for it. Directories wait for the disks that they lie on.
func (c *copier) place(st *world.Storage, store world.Store, here proxmox.StorageStatus) {
	var taken int64
	for _, v := range store {
		taken += v.Occupies()
	}
	switch {
	case st.Type == "pbs":
		c.datastore(st, store, here)
	case st.Shared:
		if c.world.Shared == nil {
			c.world.Shared = map[string]world.Store{}
		}
		c.world.Shared[st.ID] = store
		st.Size, st.Reserve = int64(here.Total), max(int64(here.Used)-taken, 0)
	case st.IsDir():
		c.dirs, c.volumes[st.ID] = append(c.dirs, st), store
	default:
		taken = fill(store, int64(here.Used))
		st.Size, st.Reserve = int64(here.Total), max(int64(here.Used)-taken, 0)
		c.node.Pools[st.ID] = store
	}
}

// fill shares what is used of a storage out among the volumes of which PVE does not say how full they are, by their
// sizes, and returns what all take.
func fill(store world.Store, used int64) (taken int64) {
	var sizes int64
	for _, v := range store {
		if v.Used == 0 {
			sizes += v.Size
		} else {
			used -= v.Used
		}
	}
	share := min(1, float64(max(used, 0))/float64(max(sizes, 1)))
	for _, v := range store {
		if v.Used == 0 {
			v.Used = int64(share * float64(v.Size))
		}
		taken += v.Occupies()
	}
	return taken
}

// datastore puts a namespace of a backup server into the copy. Which role the storage's user has there, PVE does not tell.
func (c *copier) datastore(st *world.Storage, store world.Store, here proxmox.StorageStatus) {
	d := c.world.Datastore(st.Server, st.Datastore)
	if d == nil {
		d = &world.Datastore{Server: st.Server, Name: st.Datastore, Size: int64(here.Total), Users: map[string]string{}, Owners: map[string]string{}, Spaces: map[string]world.Store{}}
		c.world.Datastores = append(c.world.Datastores, d)
		c.miss("what user %s may do on the server of storage %s: the copy lets it back up and prune its own", st.User(), st.ID)
	}
	d.Users[st.User()] = "DatastorePowerUser"
	if d.Spaces[st.Namespace] == nil {
		d.Spaces[st.Namespace] = world.Store{}
	}
	for name, v := range store {
		d.Spaces[st.Namespace][name] = v
		d.Owners[fmt.Sprintf("%s|%s", st.Namespace, world.Group(name))] = st.User()
	}
}
