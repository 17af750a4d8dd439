// Package volumes moves and resizes the volumes of guests.
package volumes

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Move moves a volume to another storage or another guest. PVE: move_volume.
func Move(c *request.Call) error {
	cl := c.Cluster
	g, err := c.Guest()
	if err != nil {
		return err
	}
	if err := guests.CheckLock(g); err != nil {
		return err
	}
	if d := c.Param("digest"); d != "" && d != g.Conf.Sum() {
		return refusal.Fail("detected modified configuration - file changed by other user? Try again.")
	}
	if g.Running {
		return refusal.Fail("cannot move volumes of a running container")
	}
	key := c.Param("volume")
	volid := g.Conf.Vals[key]
	if volid == "" {
		return refusal.Fail("volume '%s' does not exist", key)
	}
	if p := schema.Config.Find(key); p == nil || p.Sub == nil {
		return refusal.BadParam("volume", "value '"+key+"' does not have a value in the enumeration")
	}
	args := map[string]string{"key": key, "delete": c.Param("delete")}
	switch {
	case c.Param("target-vmid") != "":
		err = toGuest(c, g, args)
	case c.Param("storage") == "":
		err = refusal.BadParam("storage", "must be set to move the volume")
	default:
		err = toStorage(c, args)
	}
	if err != nil {
		return err
	}
	size := int64(0)
	if m, err := lxcconf.ParseMountPoint(key, volid); err == nil && args["storage"] != "" {
		if v, _, _ := places.Find(cl, c.Node, m.Volid()); v != nil {
			size = v.Used
		}
	}
	return c.Started(cl.Start(c.Node, "move_volume", strconv.Itoa(g.VMID), c.Who.ID, size, args))
}

// toGuest checks a move to another guest, and notes it for the task.
func toGuest(c *request.Call, g *world.Guest, args map[string]string) error {
	key, target := args["key"], c.Param("target-vmid")
	if c.Has("storage") {
		return refusal.BadParam("target-vmid", "cannot move volume to other storage and other container at the same time")
	}
	if key == "rootfs" {
		return refusal.Fail("cannot move volume '%s', only configured volumes can be moved to another container", key)
	}
	if err := c.Cluster.Rights.Need(c.Who, "/vms/"+target, "VM.Config.Disk"); err != nil {
		return err
	}
	other := c.Cluster.Guests[notation.Atoi(target)]
	if other == nil || other.Node != g.Node {
		return cluster.NoConfig(g.Node, notation.Atoi(target), false)
	}
	if err := guests.CheckLock(other); err != nil {
		return err
	}
	volid := g.Conf.Vals[key]
	for _, snap := range g.Conf.Snaps {
		for _, m := range snap.MountPoints() {
			if old, err := lxcconf.ParseMountPoint("mp0", volid); err == nil && m.Volid() == old.Volid() || m.Volid() == volid {
				return refusal.Fail("you can't move a volume with snapshots to another container")
			}
		}
	}
	at := c.Param("target-volume")
	if at == "" {
		at = key
	}
	if other.Conf.Vals[at] != "" {
		return refusal.Fail("target volume '%s' already exists", at)
	}
	args["vmid"], args["at"] = target, at
	return nil
}

// toStorage checks a move to another storage, and notes it for the task.
func toStorage(c *request.Call, args map[string]string) error {
	if key := args["key"]; strings.TrimRight(key, "0123456789") == "unused" {
		return refusal.Fail("cannot move unused volume '%s'", key)
	}
	if err := c.Cluster.Rights.Need(c.Who, rights.OnStorage(c.Param("storage")), "Datastore.AllocateSpace"); err != nil {
		return err
	}
	st, err := places.StorageOn(c.Cluster, c.Node, c.Param("storage"))
	if err != nil {
		return err
	}
	if !st.Holds("rootdir") {
		return refusal.Fail("storage '%s' does not allow content type 'rootdir' (Container)", st.ID)
	}
	args["storage"] = st.ID
	return nil
}

// RunMove runs move_volume.
func RunMove(cl *cluster.Cluster, t *world.Task) error {
	g, err := guests.TaskGuest(cl, t)
	if err != nil {
		return err
	}
	key := t.Args["key"]
	if t.Phase == 0 {
		if err := guests.LockConfig(cl, t, g.VMID); err != nil {
			return err
		}
		if err := guests.CheckLock(g); err != nil {
			return err
		}
		g.Conf.Section.Set("lock", "disk")
		g.Conf.Write()
		cl.Unlock(t, cluster.FlockKey(g.VMID))
		return cl.Then(t, 1)
	}
	text := g.Conf.Vals[key]
	if strings.HasPrefix(key, "unused") {
		text += ",mp=/x"
	}
	m, err := lxcconf.ParseMountPoint(strings.Replace(key, "unused", "mp", 1), text)
	if err != nil {
		return errors.New("format error")
	}
	v, p, err := places.Find(cl, t.Node, m.Volid())
	if err != nil {
		return err
	}
	if v == nil {
		return fmt.Errorf("volume '%s' does not exist", m.Volid())
	}
	g.Conf.Section.Unset("lock")
	g.Conf.Write()
	if t.Args["vmid"] != "" {
		return give(cl, t, g, m, v, p)
	}
	volid, lines, err := places.Alloc(cl, t.Node, g.VMID, t.Args["storage"], v.Size)
	if err != nil {
		return err
	}
	t.Log = append(t.Log, lines...)
	now, _, _ := places.Find(cl, t.Node, volid)
	now.Data, now.Used = v.Data, v.Used
	old := m.Volid()
	m.Props["volume"], m.Props["size"] = volid, notation.FormatSize(now.Size)
	g.Conf.Section.Set(key, m.Text())
	if t.Args["delete"] == "1" {
		lines, _ := places.Free(cl, t.Node, old)
		t.Log = append(t.Log, lines...)
	} else {
		guests.ParkVolume(cl, g, old)
	}
	g.Conf.Write()
	return cluster.ErrDone
}

// give hands a volume over to another guest, under a name of that one.
func give(cl *cluster.Cluster, t *world.Task, g *world.Guest, m lxcconf.MountPoint, v *world.Volume, p *places.Place) error {
	target := notation.Atoi(t.Args["vmid"])
	other := cl.Guests[target]
	if other == nil {
		return cluster.NoConfig(t.Node.Name, target, false)
	}
	id, name, _ := strings.Cut(m.Volid(), ":")
	now, _ := p.FreeName(other.VMID, v.Size)
	delete(p.Items, name)
	v.VMID = other.VMID
	p.Items[now] = v
	g.Conf.Section.Unset(t.Args["key"])
	value := id + ":" + now
	if !strings.HasPrefix(t.Args["at"], "unused") {
		m.Props["volume"] = value
		if m.Props["mp"] == "/x" {
			m.Props["mp"] = "/mnt/" + t.Args["at"]
		}
		value = m.Text()
	}
	other.Conf.Section.Set(t.Args["at"], value)
	other.Conf.Write()
	t.Logf("moved volume '%s' to container %d", t.Args["key"], other.VMID)
	return cluster.ErrDone
}
