package snapshots

import (
	"fmt"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Delete answers DELETE /nodes/{node}/lxc/{vmid}/snapshot/{snapname}.
func Delete(c *request.Call) error {
	return c.Worker("vzdelsnapshot", map[string]string{"snap": c.Param("snapname"), "force": c.Param("force")})
}

// RunDelete runs vzdelsnapshot.
func RunDelete(cl *cluster.Cluster, t *world.Task) error {
	g, err := guests.TaskGuest(cl, t)
	if err != nil {
		return err
	}
	name := t.Args["snap"]
	if t.Phase == 0 {
		if err := guests.LockMigration(cl, t, g.VMID); err != nil {
			return err
		}
		if err := guests.LockConfig(cl, t, g.VMID); err != nil {
			return err
		}
		if err := guests.CheckLock(g); err != nil {
			return err
		}
		sec := g.Conf.Snaps[name]
		if sec == nil {
			return fmt.Errorf("snapshot '%s' does not exist", name)
		}
		sec.Set("snapstate", "delete")
		g.Conf.Section.Set("lock", "snapshot-delete")
		g.Conf.Write()
		g.Conf.Write() // the lock and the state are a write each
		cl.Unlock(t, cluster.FlockKey(g.VMID))
		return cl.Then(t, 1)
	}
	sec := g.Conf.Snaps[name]
	if sec == nil {
		return fmt.Errorf("snapshot '%s' does not exist", name)
	}
	t.Log = append(t.Log, UnsnapVolumes(cl, t.Node, sec, name)...)
	Forget(g, name)
	g.Conf.Section.Unset("lock")
	g.Conf.Write()
	return cluster.ErrDone
}

// Forget takes a section away and links its children to its parent.
func Forget(g *world.Guest, name string) {
	parent := g.Conf.Snaps[name].Vals["parent"]
	delete(g.Conf.Snaps, name)
	relink := func(sec *lxcconf.Section) {
		if sec.Vals["parent"] != name {
			return
		}
		if parent == "" {
			sec.Unset("parent")
		} else {
			sec.Set("parent", parent)
		}
	}
	relink(&g.Conf.Section)
	for _, sec := range g.Conf.Snaps {
		relink(sec)
	}
	g.Conf.Write()
}
