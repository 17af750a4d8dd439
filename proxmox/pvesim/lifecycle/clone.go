package lifecycle

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

// MayClone is who may clone the guest of a request.
func MayClone(c *request.Call) error {
	if err := c.Cluster.Rights.Need(c.Who, "/vms/"+c.Param("vmid"), "VM.Clone"); err != nil {
		return err
	}
	if p := c.Param("pool"); p != "" && c.Cluster.Rights.Can(c.Who, "/pool/"+p, "VM.Allocate") {
		return nil
	}
	if !c.Cluster.Rights.Can(c.Who, "/vms/"+c.Param("newid"), "VM.Allocate") {
		return refusal.Forbid("")
	}
	return nil
}

// Clone copies a guest. PVE: clone_vm.
func Clone(c *request.Call) error {
	cl := c.Cluster
	if err := cl.World.Quorum(); err != nil {
		return err
	}
	g, err := c.Guest()
	if err != nil {
		return err
	}
	if p := c.Param("pool"); p != "" && cl.World.Pool(p) == nil {
		return refusal.Forbid("pool '" + p + "' does not exist")
	}
	if err := guests.CheckLock(g); err != nil {
		return err
	}
	newid := notation.Atoi(c.Param("newid"))
	if other := cl.Guests[newid]; other != nil {
		return refusal.Fail("CT %d already exists on node '%s'", newid, other.Node)
	}
	sec := &g.Conf.Section
	if snap := c.Param("snapname"); snap != "" {
		if sec = g.Conf.Snaps[snap]; sec == nil {
			return refusal.Fail("snapshot '%s' does not exist", snap)
		}
	} else if g.Running {
		return refusal.Fail("Cannot do full clones on a running container without snapshots")
	}
	size, err := cloned(c, sec)
	if err != nil {
		return err
	}
	for _, k := range sec.Numbered("net") {
		if err := guests.BridgeAccess(cl, c.Who, sec.Vals[k]); err != nil {
			return err
		}
	}
	g.Conf.Section.Set("lock", "disk")
	g.Conf.Write()
	target := &world.Guest{VMID: newid, Node: g.Node, Born: cl.Now.Unix(), Conf: lxcconf.New()}
	target.Conf.Section.Set("lock", "create")
	cl.AddGuest(target)
	args := map[string]string{"newid": strconv.Itoa(newid), "snap": c.Param("snapname"), "storage": c.Param("storage"),
		"hostname": c.Param("hostname"), "description": c.Param("description")}
	if p := cl.World.Pool(c.Param("pool")); p != nil {
		p.VMs = append(p.VMs, newid)
		cl.Rights.Forget()
	}
	return c.Started(cl.Start(c.Node, "vzclone", strconv.Itoa(g.VMID), c.Who.ID, size, args))
}

// cloned is how many bytes a clone of a config copies, where its volumes can be copied and the caller may.
func cloned(c *request.Call, sec *lxcconf.Section) (size int64, err error) {
	cl := c.Cluster
	for _, m := range sec.MountPoints() {
		if m.Kind() != "volume" {
			return 0, refusal.Fail("unable to clone mountpoint '%s' (type %s)", m.Key, m.Kind())
		}
		id, _, _ := strings.Cut(m.Volid(), ":")
		if v := c.Param("storage"); v != "" {
			id = v
		}
		if err := cl.Rights.Need(c.Who, rights.OnStorage(id), "Datastore.AllocateSpace"); err != nil {
			return 0, err
		}
		if v, _, _ := places.Find(cl, c.Node, m.Volid()); v != nil {
			size += v.Used
		}
	}
	return size, nil
}

// RunClone runs vzclone.
func RunClone(cl *cluster.Cluster, t *world.Task) error {
	g, err := guests.TaskGuest(cl, t)
	if err != nil {
		return err
	}
	if t.Phase == 0 {
		return cl.Then(t, 1)
	}
	target := cl.Guests[notation.Atoi(t.Args["newid"])]
	if target == nil {
		return errors.New("the target is gone")
	}
	sec := &g.Conf.Section
	if snap := t.Args["snap"]; snap != "" {
		sec = g.Conf.Snaps[snap]
	}
	conf := lxcconf.New()
	conf.Section = *sec.Clone()
	for _, k := range append(conf.Section.Numbered("unused"), "lock", "parent", "snaptime", "snapstate", "template") {
		conf.Section.Unset(k)
	}
	if sec != &g.Conf.Section {
		conf.Section.Desc = g.Conf.Section.Desc
	}
	for _, m := range sec.MountPoints() {
		if err := copyVolume(cl, t, m, target.VMID); err != nil {
			return err
		}
		conf.Section.Set(m.Key, m.Text())
	}
	for _, k := range conf.Section.Numbered("net") {
		if p, err := schema.Net.Parse(conf.Section.Vals[k], ""); err == nil {
			p["hwaddr"] = guests.MAC(cl)
			conf.Section.Set(k, schema.Net.Text(p))
		}
	}
	if v := t.Args["hostname"]; v != "" {
		conf.Section.Set("hostname", v)
	}
	if v := t.Args["description"]; v != "" {
		conf.Section.Set("description", v)
	}
	target.Rewrite(conf)
	g.Conf.Section.Unset("lock")
	g.Conf.Write()
	return cluster.ErrDone
}

// copyVolume copies the volume of a mount point for another guest; the mount point then names the copy.
func copyVolume(cl *cluster.Cluster, t *world.Task, m lxcconf.MountPoint, vmid int) error {
	v, _, err := places.Find(cl, t.Node, m.Volid())
	if err != nil {
		return err
	}
	if v == nil {
		return fmt.Errorf("volume '%s' does not exist", m.Volid())
	}
	id, _, _ := strings.Cut(m.Volid(), ":")
	if st := t.Args["storage"]; st != "" {
		id = st
	}
	t.Logf("create full clone of mountpoint %s (%s)", m.Key, m.Volid())
	volid, lines, err := places.Alloc(cl, t.Node, vmid, id, v.Size)
	if err != nil {
		return err
	}
	t.Log = append(t.Log, lines...)
	t.Args["made"] += " " + volid
	now, _, _ := places.Find(cl, t.Node, volid)
	now.Used, now.Data, now.Bare = v.Used, v.Data, v.Bare
	if snap := t.Args["snap"]; snap != "" {
		now.Data = strings.TrimSuffix(v.Snapshots[snap], "~")
	}
	if m.Key == "rootfs" && !strings.HasSuffix(now.Data, "*") { // a clone gets its own machine-id
		now.Data = world.Imprint(now.Data, "clone", strconv.Itoa(vmid))
	}
	m.Props["volume"], m.Props["size"] = volid, notation.FormatSize(v.Size)
	return nil
}

// UndoClone removes what a clone that fails has made.
func UndoClone(cl *cluster.Cluster, t *world.Task) {
	for _, volid := range strings.Fields(t.Args["made"]) {
		_, _ = places.Free(cl, t.Node, volid)
	}
	cl.DropGuest(notation.Atoi(t.Args["newid"]))
	if g, err := guests.TaskGuest(cl, t); err == nil {
		g.Conf.Section.Unset("lock")
		g.Conf.Write()
	}
}
