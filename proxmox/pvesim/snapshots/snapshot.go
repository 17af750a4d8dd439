// Package snapshots makes, lists, rolls back and deletes the snapshots of guests.
package snapshots

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// List lists snapshots in no order, and what is now as "current".
func List(c *request.Call) error {
	g, err := c.Guest()
	if err != nil {
		return err
	}
	names := append(slices.Sorted(maps.Keys(g.Conf.Snaps)), "current")
	d := c.Data().List()
	guests.Shuffled(c.Cluster, len(names), func(i int) {
		if names[i] == "current" {
			d.Open().Str("name", "current").Str("digest", g.Conf.Sum()).Flag("running", g.Running).Str("description", "You are here!")
			if p := g.Conf.Vals["parent"]; p != "" {
				d.Str("parent", p)
			}
			d.Close()
			return
		}
		sec := g.Conf.Snaps[names[i]]
		d.Open().Str("name", names[i])
		d.Num("snaptime", int64(sec.Num("snaptime")))
		desc := sec.Desc
		if desc != "" {
			desc += "\n"
		}
		d.Str("description", desc)
		for _, k := range []string{"parent", "snapstate"} {
			if v := sec.Vals[k]; v != "" {
				d.Str(k, v)
			}
		}
		d.Close()
	})
	d.End()
	return nil
}

// GetConfig answers GET /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config.
func GetConfig(c *request.Call) error {
	g, err := c.Guest()
	if err != nil {
		return err
	}
	sec := g.Conf.Snaps[c.Param("snapname")]
	if sec == nil {
		return refusal.Fail("snapshot '%s' does not exist", c.Param("snapname"))
	}
	d := c.Data().Open()
	for _, k := range sec.Keys() {
		v, _ := sec.Get(k)
		guests.ConfigValue(d, k, k, v)
	}
	d.Close()
	return nil
}

// Describe answers PUT /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config.
func Describe(c *request.Call) error {
	return c.WithConfig(c.VMID(), func() error {
		g, err := c.Guest()
		if err != nil {
			return err
		}
		if err := guests.CheckLock(g); err != nil {
			return err
		}
		sec := g.Conf.Snaps[c.Param("snapname")]
		if sec == nil {
			return refusal.Fail("snapshot '%s' does not exist", c.Param("snapname"))
		}
		if err := guests.Writable(c.Cluster, c.Node, g.VMID); err != nil {
			return err
		}
		if v, ok := c.Params["description"]; ok {
			sec.Set("description", v)
			g.Conf.Write()
		}
		return nil
	})
}

// Create answers POST /nodes/{node}/lxc/{vmid}/snapshot.
func Create(c *request.Call) error {
	name := c.Param("snapname")
	if name == "current" || name == "vzdump" {
		return refusal.Fail("unable to use snapshot name '%s' (reserved name)", name)
	}
	return c.Worker("vzsnapshot", map[string]string{"snap": name, "description": c.Param("description")})
}

// RunCreate runs vzsnapshot.
func RunCreate(cl *cluster.Cluster, t *world.Task) error {
	g, err := guests.TaskGuest(cl, t)
	if err != nil {
		return err
	}
	name := t.Args["snap"]
	if t.Phase == 0 {
		if err := guests.LockConfig(cl, t, g.VMID); err != nil {
			return err
		}
		if g.Conf.Vals["template"] == "1" {
			return errors.New("you can't take a snapshot if it's a template")
		}
		if err := guests.CheckLock(g); err != nil {
			return err
		}
		if g.Conf.Snaps[name] != nil {
			return fmt.Errorf("snapshot name '%s' already used", name)
		}
		if !guests.HasFeature(cl, &g.Conf.Section, "snapshot") {
			return errors.New("snapshot feature is not available")
		}
		Prepare(cl, g, name, t.Args["description"])
		if g.Running {
			t.Args["ran"] = "1"
		}
		cl.Unlock(t, cluster.FlockKey(g.VMID))
		return cl.Then(t, 1)
	}
	if t.Args["ran"] == "1" && !g.Running { // it died meanwhile: no error, the lock and the half of it stay (measured, 9.2.11)
		return cluster.ErrDone
	}
	lines, err := SnapVolumes(cl, t.Node, g, name)
	t.Log = append(t.Log, lines...)
	if err != nil {
		return err
	}
	Commit(g, name)
	return cluster.ErrDone
}

// Prepare writes the section and locks the guest. PVE: __snapshot_prepare.
func Prepare(cl *cluster.Cluster, g *world.Guest, name, description string) {
	sec := g.Conf.Section.Clone()
	for _, k := range append(sec.Numbered("unused"), "lock", "digest", "snapstate", "snaptime") {
		sec.Unset(k)
	}
	sec.Desc = ""
	sec.Set("snapstate", "prepare")
	sec.Set("snaptime", strconv.FormatInt(cl.Now.Unix(), 10))
	if description != "" {
		sec.Set("description", description)
	}
	g.Conf.Snaps[name] = sec
	g.Conf.Section.Set("lock", "snapshot")
	g.Conf.Write()
}

// Commit makes it the current one's parent. PVE: __snapshot_commit.
func Commit(g *world.Guest, name string) {
	if sec := g.Conf.Snaps[name]; sec != nil {
		sec.Unset("snapstate")
	}
	g.Conf.Section.Set("parent", name)
	g.Conf.Section.Unset("lock")
	g.Conf.Write()
}

// SnapVolumes snapshots every volume of a guest.
func SnapVolumes(cl *cluster.Cluster, n *world.Node, g *world.Guest, name string) ([]string, error) {
	var lines []string
	for _, m := range g.Conf.MountPoints() {
		if m.Kind() != "volume" || name == "vzdump" && m.Key != "rootfs" && m.Props["backup"] != "1" {
			continue
		}
		v, p, err := places.Find(cl, n, m.Volid())
		if err != nil {
			return lines, err
		}
		_, vol, _ := strings.Cut(m.Volid(), ":")
		if v == nil {
			return lines, fmt.Errorf("no such logical volume %s/%s", p.Storage.VolumeGroup(), vol)
		}
		if v.Snapshots == nil {
			v.Snapshots = make(map[string]string)
		}
		data := v.Data
		if g.Running {
			data += "~" // its journal is open
		}
		v.Snapshots[name] = data
		v.Order = append(v.Order, name)
		if p.Storage.Type == "lvmthin" {
			lines = append(lines, `  Logical volume "snap_`+vol+"_"+name+`" created.`)
		}
	}
	return lines, nil
}

// UnsnapVolumes removes a snapshot from every volume that has it.
func UnsnapVolumes(cl *cluster.Cluster, n *world.Node, sec *lxcconf.Section, name string) []string {
	var lines []string
	for _, m := range sec.MountPoints() {
		if m.Kind() != "volume" {
			continue
		}
		v, p, err := places.Find(cl, n, m.Volid())
		if err != nil || v == nil {
			continue
		}
		if _, ok := v.Snapshots[name]; !ok {
			continue
		}
		delete(v.Snapshots, name)
		v.Order = notation.Without(v.Order, name)
		if p.Storage.Type == "lvmthin" {
			_, vol, _ := strings.Cut(m.Volid(), ":")
			lines = append(lines, `  Logical volume "snap_`+vol+"_"+name+`" successfully removed.`)
		}
	}
	return lines
}

// UndoCreate undoes vzsnapshot: a failed one cleans itself up.
func UndoCreate(cl *cluster.Cluster, t *world.Task) {
	g, err := guests.TaskGuest(cl, t)
	if err != nil || t.Phase == 0 {
		return
	}
	if sec := g.Conf.Snaps[t.Args["snap"]]; sec != nil {
		t.Log = append(t.Log, UnsnapVolumes(cl, t.Node, sec, t.Args["snap"])...)
		delete(g.Conf.Snaps, t.Args["snap"])
	}
	g.Conf.Section.Unset("lock")
	g.Conf.Write()
}

// UndoLock takes the lock line away that a task set.
func UndoLock(cl *cluster.Cluster, t *world.Task) {
	if g, err := guests.TaskGuest(cl, t); err == nil && t.Phase > 0 {
		g.Conf.Section.Unset("lock")
		g.Conf.Write()
	}
}
