package snapshots

import (
	"errors"
	"fmt"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Rollback answers POST /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback.
func Rollback(c *request.Call) error {
	return c.Worker("vzrollback", map[string]string{"snap": c.Param("snapname"), "start": c.Param("start")})
}

// RunRollback runs vzrollback.
func RunRollback(cl *cluster.Cluster, t *world.Task) error {
	g, err := guests.TaskGuest(cl, t)
	if err != nil {
		return err
	}
	name := t.Args["snap"]
	sec := g.Conf.Snaps[name]
	if t.Phase == 0 {
		return beginRollback(cl, t, g, sec, name)
	}
	if sec == nil {
		return fmt.Errorf("snapshot '%s' does not exist", name)
	}
	g.Journal = false
	for _, m := range sec.MountPoints() {
		v, p, err := places.Find(cl, t.Node, m.Volid())
		if err != nil {
			return err
		}
		if v == nil {
			continue
		}
		data, open := strings.CutSuffix(v.Snapshots[name], "~")
		g.Journal = g.Journal || open
		v.Data = data
		if size := notation.ParseSize(m.Props["size"]); size > 0 && (p.Storage.Type == "zfspool" || p.Storage.Type == "lvmthin") { // it takes the size back with it
			v.Size = size
		}
		if p.Storage.Type == "lvmthin" {
			_, vol, _ := strings.Cut(m.Volid(), ":")
			t.Logf(`  Logical volume "%s" successfully removed.`, vol)
			t.Logf(`  Logical volume "%s" created.`, vol)
			t.Logf("  Logical volume %s/%s changed.", p.Storage.VolumeGroup(), vol)
		}
	}
	rollbackConfig(cl, g, name)
	if t.Args["start"] == "1" {
		cl.Start(t.Node, "vzstart", t.ID, t.User, 0, nil)
	}
	return cluster.ErrDone
}

// beginRollback stops the guest and locks its config, where it can go back to the snapshot.
func beginRollback(cl *cluster.Cluster, t *world.Task, g *world.Guest, sec *lxcconf.Section, name string) error {
	if err := guests.LockMigration(cl, t, g.VMID); err != nil {
		return err
	}
	if err := guests.LockConfig(cl, t, g.VMID); err != nil {
		return err
	}
	if g.Conf.Vals["template"] == "1" {
		return errors.New("you can't rollback if it's a template")
	}
	if sec == nil {
		return fmt.Errorf("snapshot '%s' does not exist", name)
	}
	if st := sec.Vals["snapstate"]; st != "" {
		return fmt.Errorf("unable to rollback to incomplete snapshot (snapstate = %s)", st)
	}
	if err := rollbackPossible(cl, t.Node, sec, name); err != nil {
		return err
	}
	if err := guests.CheckLock(g); err != nil {
		return err
	}
	guests.Halt(cl, g)
	g.Conf.Section.Set("lock", "rollback")
	g.Conf.Write()
	cl.Unlock(t, cluster.FlockKey(g.VMID))
	return cl.Then(t, 1)
}

// rollbackPossible: every volume must have the snapshot; on ZFS it must be the newest.
func rollbackPossible(cl *cluster.Cluster, n *world.Node, sec *lxcconf.Section, name string) error {
	for _, m := range sec.MountPoints() {
		if m.Kind() != "volume" {
			continue
		}
		v, p, err := places.Find(cl, n, m.Volid())
		if err != nil {
			return err
		}
		if v == nil {
			return fmt.Errorf("volume '%s' does not exist", m.Volid())
		}
		if p.Storage.Type == "zfspool" && len(v.Order) > 0 && v.Order[len(v.Order)-1] != name {
			return fmt.Errorf("can't rollback, '%s' is not most recent snapshot on '%s'", name, m.Volid())
		}
	}
	return nil
}

// rollbackConfig puts the snapshot's section in force; description and unused volumes
// stay, and volumes that only the old config has become unused.
func rollbackConfig(cl *cluster.Cluster, g *world.Guest, name string) {
	old := g.Conf.Section
	now := g.Conf.Snaps[name].Clone()
	for _, k := range []string{"snaptime", "snapstate", "lock"} {
		now.Unset(k)
	}
	now.Desc = old.Desc
	now.Set("parent", name)
	for _, k := range old.Numbered("unused") {
		now.Set(k, old.Vals[k])
	}
	g.Conf.Section = *now
	g.Conf.Pending = lxcconf.NewSection()
	for _, m := range old.MountPoints() {
		guests.ParkVolume(cl, g, m.Volid())
	}
	used := make(map[string]bool)
	for _, m := range now.MountPoints() {
		used[m.Volid()] = true
	}
	for _, k := range g.Conf.Section.Numbered("unused") {
		if used[g.Conf.Section.Vals[k]] {
			g.Conf.Section.Unset(k)
		}
	}
	g.Conf.Write()
}
