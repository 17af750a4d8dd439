// Package needs computes from the desired state alone which privileges of PVE the agent's token needs, on which paths,
// and for what.
package needs

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// A Need is one privilege on one path.
type Need struct {
	Path      string
	Privilege string
	Object    spec.Ref // the first object that needs it; zero: every refresh does
	For       string   // what it is for: "config.cores"
	Creating  bool     // only while the object is created
}

type collector struct {
	want  *spec.Desired
	needs []Need
	seen  map[privilege]bool
}

type privilege struct{ path, name string }

// Of are the needs of a desired state on a node, by path and privilege.
func Of(want *spec.Desired, node string) []Need {
	c := &collector{want: want, seen: map[privilege]bool{}}
	c.add(spec.Ref{}, "/nodes/"+node, "Sys.Audit", "its clock and its state", false)
	return c.objects(node, want.Refs())
}

// OfObjects are the needs of some objects alone, whatever the others need.
func OfObjects(want *spec.Desired, node string, refs []spec.Ref) []Need {
	c := &collector{want: want, seen: map[privilege]bool{}}
	return c.objects(node, refs)
}

func (c *collector) objects(node string, refs []spec.Ref) []Need {
	want := c.want
	for _, ref := range refs {
		if o := want.Object(ref); o.Node != "" && o.Node != node {
			continue
		}
		switch ref.Kind {
		case spec.KindRestore, spec.KindGuest:
			c.guest(want.Guest(ref.Name))
		case spec.KindGolden:
			c.golden(want.Golden[ref.Name])
		case spec.KindSnapshot:
			s := want.Snapshots[ref.Name]
			c.add(ref, onGuest(want.Guest(s.Guest)), "VM.Snapshot", "take and delete snapshots", false)
		case spec.KindTest:
			t := c.want.Tests[ref.Name]
			c.storage(ref, t.Storage, "test guests", false)
			c.storage(ref, t.From, "the backups that are tested", false)
			for _, name := range c.want.TestGuests(t) {
				c.add(ref, onGuest(c.want.Guest(name)), "VM.Backup", "see the backups of "+name, false)
			}
			for _, vmid := range []proxmox.VMID{t.VMIDs.First, t.VMIDs.Last} {
				c.add(ref, fmt.Sprintf("/vms/%d", vmid), "VM.Audit", "see test guests", false)
			}
		case spec.KindBackup:
			b := want.Backups[ref.Name]
			c.storage(ref, b.Storage, "backups", false)
			if b.Fleecing != "" {
				c.add(ref, "/storage/"+b.Fleecing, "Datastore.AllocateSpace", "fleecing", false)
			}
			for _, name := range want.BackupGuests(b) {
				c.add(ref, onGuest(want.Guest(name)), "VM.Backup", "back up "+name, false)
			}
		}
	}
	slices.SortFunc(c.needs, func(a, b Need) int { return cmp.Or(cmp.Compare(a.Privilege, b.Privilege), cmp.Compare(a.Path, b.Path)) })
	return c.needs
}

func onGuest(g *spec.Guest) string { return "/vms/" + g.VMID.String() }

func (c *collector) add(object spec.Ref, path, name, what string, creating bool) {
	if key := (privilege{path, name}); !c.seen[key] {
		c.seen[key] = true
		c.needs = append(c.needs, Need{path, name, object, what, creating})
	}
}

// storage is what is read of a storage, and written to it.
func (c *collector) storage(object spec.Ref, id, what string, creating bool) {
	if id != "" {
		c.add(object, "/storage/"+id, "Datastore.AllocateSpace", what, creating)
		c.add(object, "/storage/"+id, "Datastore.Audit", "list "+id, creating)
	}
}

func (c *collector) guest(g *spec.Guest) {
	path := onGuest(g)
	c.add(g.Ref, path, "VM.Audit", "read its configuration and state", false)
	if g.Absent {
		c.deletion(g)
		return
	}
	c.add(g.Ref, path, "VM.Config.Options", "the ownership marker in its Notes", false)
	c.config(g.Ref, g.VMID, &g.Config)
	if g.RootFS.Size > 0 || len(g.Config.Drives) > 0 {
		c.add(g.Ref, path, "VM.Config.Disk", "its disks", false)
	}
	if g.State != "" || g.Restart != "" {
		c.add(g.Ref, path, "VM.PowerMgmt", "start and stop", false)
	}
	if g.Rollback != nil {
		c.add(g.Ref, path, "VM.Snapshot", "rollback", false)
	}
	if g.Guard != nil {
		c.add(g.Ref, path, "VM.Snapshot", "guard", false)
	}
	if len(g.From) == 0 {
		return
	}
	c.add(g.Ref, path, "VM.Allocate", "create it", true)
	if !g.Type.VM() { // whose name is an option
		c.add(g.Ref, path, "VM.Config.Network", "its hostname", true)
	}
	if g.Type.VM() {
		c.add(g.Ref, "/mapping", "Mapping.Use", "restore it with mapped devices", true)
	}
	c.add(g.Ref, path, "VM.Config.Disk", "list its volumes", true)
	c.storage(g.Ref, g.Storage, "its volumes", true)
	for _, source := range g.From {
		switch {
		case source.Newest != "":
			c.storage(g.Ref, source.Newest, "restore its backups", true)
			c.add(g.Ref, fmt.Sprintf("/vms/%d", cmp.Or(source.VMID, g.VMID)), "VM.Backup", "see its backups", true)
		case source.Archive != "":
			id, _, _ := strings.Cut(source.Archive, ":")
			c.storage(g.Ref, id, "restore its archive", true)
		case source.Golden != "":
			if golden := c.want.Golden[source.Golden]; golden != nil && golden.Publish != nil {
				c.storage(g.Ref, golden.Publish.Storage, "read the golden image", true)
				c.add(g.Ref, fmt.Sprintf("/vms/%d", golden.VMID), "VM.Backup", "read the golden image", true)
			}
		}
	}
}

// deletion is what ensure: absent needs. Only who declares one needs the right to delete that guest.
func (c *collector) deletion(g *spec.Guest) {
	path := onGuest(g)
	c.add(g.Ref, path, "VM.Allocate", "delete it", false)
	c.add(g.Ref, path, "VM.PowerMgmt", "stop it, to delete it", false)
	if g.NoBackup {
		return
	}
	c.add(g.Ref, path, "VM.Backup", "back it up before it is deleted", false)
	for _, b := range c.want.LastBackups(g.Ref.Name) {
		c.storage(g.Ref, b.Storage, "the last backup of "+g.Ref.Name, false)
	}
}

func (c *collector) golden(g *spec.Golden) {
	path := fmt.Sprintf("/vms/%d", g.VMID)
	c.add(g.Ref, path, "VM.Audit", "read its configuration and state", false)
	c.add(g.Ref, path, "VM.Config.Options", "its Notes", false)
	c.config(g.Ref, g.VMID, &g.Config)
	if g.Publish != nil {
		c.add(g.Ref, path, "VM.Backup", "publish it", false)
		c.storage(g.Ref, g.Publish.Storage, "publish it", false)
	}
}

// config is what the declared keys need.
func (c *collector) config(object spec.Ref, vmid proxmox.VMID, config *spec.Config) {
	each := func(key, value string) {
		for _, need := range proxmox.KeyNeeds(vmid.String(), key, value) {
			c.add(object, need.Path, need.AnyOf[0], "config."+key, false)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(config.Values)) {
		each(key, "")
	}
	for _, i := range slices.Sorted(maps.Keys(config.Nets)) {
		net := config.Nets[i]
		value := "bridge=" + net["bridge"]
		if net["tag"] != "" {
			value += ",tag=" + net["tag"]
		}
		each(fmt.Sprintf("net%d", i), value)
	}
	for _, i := range slices.Sorted(maps.Keys(config.Mounts)) {
		if mp := config.Mounts[i]; mp.Mount == "" && mp.Storage != "" {
			each(fmt.Sprintf("mp%d", i), mp.Storage+":1")
		}
	}
}
