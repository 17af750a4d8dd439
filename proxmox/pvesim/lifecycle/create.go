// Package lifecycle lets guests come and go: creation, restore from an archive, clone, conversion
// into a template, destruction.
package lifecycle

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/storages"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// control are the parameters of a creation that are no config keys.
var control = map[string]bool{"node": true, "vmid": true, "ostemplate": true, "restore": true, "force": true, "storage": true,
	"unique": true, "bwlimit": true, "start": true, "pool": true, "ignore-unpack-errors": true, "ha-managed": true,
	"password": true, "ssh-public-keys": true}

// Create is POST lxc: a new guest from a template or a backup. The checks come in the
// order of PVE's create_vm; what the archive holds is looked at in the task only.
func Create(c *request.Call) error {
	cl, n, vmid := c.Cluster, c.Node, c.VMID()
	restore, force := c.Flag("restore"), c.Flag("force")
	archive, poolID := c.Param("ostemplate"), c.Param("pool")
	kind, verb, want := "vzcreate", "create", "vztmpl"
	if restore {
		kind, verb, want = "vzrestore", "restore", "backup"
	}
	if err := cl.World.Quorum(); err != nil {
		return err
	}
	set, err := asked(c)
	if err != nil {
		return err
	}
	if poolID != "" && cl.World.Pool(poolID) == nil {
		return refusal.Forbid("pool '" + poolID + "' does not exist")
	}
	if archive == "-" {
		return refusal.Fail("pipe requires cli environment")
	}
	old := cl.Guests[vmid]
	same := old != nil && old.Node == n.Name && !old.Qemu
	if err := inTheWay(old, vmid, same && restore && force); err != nil {
		return err
	}
	switch {
	case cl.Rights.Can(c.Who, rights.OnVM(vmid), "VM.Allocate"):
	case poolID != "" && cl.Rights.Can(c.Who, "/pool/"+poolID, "VM.Allocate"):
	case restore && force && same && cl.Rights.Can(c.Who, rights.OnVM(vmid), "VM.Backup"):
	default:
		return refusal.Forbid("")
	}
	if err := guests.MayModify(cl, c.Who, vmid, poolID, nil, set, nil, set["unprivileged"] == "1"); err != nil {
		return err
	}
	if err := storages.VolumeAccess(cl, c.Who, vmid, archive, want); err != nil {
		return err
	}
	if err := creationStorage(c, set); err != nil {
		return err
	}
	if err := claim(c, old, "unable to "+verb+" CT "+strconv.Itoa(vmid)+" - "); err != nil {
		return err
	}
	args := creationArgs(c, set, same)
	size := int64(0)
	if v, _, err := places.Find(cl, n, archive); err == nil && v != nil {
		for _, p := range v.Parts {
			size += p.Used
		}
	}
	return c.Started(cl.Start(n, kind, strconv.Itoa(vmid), c.Who.ID, size, args))
}

// claim writes the lock "create" under the flock: into the guest that is replaced, or into a new
// one. emsg begins what it complains about.
func claim(c *request.Call, old *world.Guest, emsg string) error {
	cl, vmid := c.Cluster, c.VMID()
	if err := c.Flock(vmid, 5*time.Second); err != nil {
		var r *refusal.Refusal
		if errors.As(err, &r) {
			return refusal.Fail("%s%s", emsg, r.Text)
		}
		return err
	}
	if old != nil {
		if cl.Guests[vmid] != old { // it went while the flock was waited for
			return cluster.NoConfig(c.Node.Name, vmid, c.Qemu())
		}
		if l := old.Conf.Vals["lock"]; l != "" {
			return refusal.Fail("%s%s is locked (%s)", emsg, old.Noun(), l)
		}
		old.Conf.Section.Set("lock", "create")
		old.Conf.Write()
		return nil
	}
	g := &world.Guest{VMID: vmid, Node: c.Node.Name, Born: cl.Now.Unix(), Conf: lxcconf.New(), Qemu: c.Qemu()}
	g.Conf.Section.Set("lock", "create")
	cl.AddGuest(g)
	return nil
}

// asked are the keys of the config that a creation asks for, and whether the caller may at all.
func asked(c *request.Call) (map[string]string, error) {
	set := make(map[string]string)
	for k, v := range c.Params {
		if !control[k] {
			set[k] = v
		}
	}
	if !c.Flag("restore") {
		if _, ok := set["unprivileged"]; !ok {
			set["unprivileged"] = "1"
		}
		if set["unprivileged"] == "0" {
			if err := c.Cluster.Rights.Need(c.Who, "/", "Sys.Modify"); err != nil {
				return nil, err
			}
		}
	}
	if c.Flag("ha-managed") {
		if err := c.Cluster.Rights.Need(c.Who, "/", "Sys.Console"); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// inTheWay is why the guest that has the VMID now keeps it; over: a restore may replace it.
func inTheWay(old *world.Guest, vmid int, over bool) error {
	switch {
	case over && old.Running:
		return refusal.Fail("can't overwrite running container")
	case over && old.Conf.Vals["protection"] == "1":
		return refusal.Fail("unable to restore CT %d - protection mode enabled", vmid)
	case over || old == nil:
		return nil
	case old.Qemu:
		return refusal.Fail("VM %d already exists on node '%s'", vmid, old.Node)
	}
	return refusal.Fail("CT %d already exists on node '%s'", vmid, old.Node)
}

// creationArgs are what the task of a creation is told; over: it replaces a guest.
func creationArgs(c *request.Call, set map[string]string, over bool) map[string]string {
	args := map[string]string{"archive": c.Param("ostemplate"), "storage": c.Param("storage")}
	if args["storage"] == "" {
		args["storage"] = "local"
	}
	for _, k := range []string{"unique", "start", "pool", "force", "ignore-unpack-errors"} {
		if v := c.Param(k); v != "" {
			args[k] = v
		}
	}
	if over {
		args["over"] = "1"
	}
	for k, v := range set {
		args["p:"+k] = v
	}
	return args
}

// creationStorage checks the storages of the volumes, or the default one when there is no rootfs.
func creationStorage(c *request.Call, set map[string]string) error {
	cl := c.Cluster
	check := func(id string) error {
		st, err := places.StorageOn(cl, c.Node, id)
		if err != nil {
			return err
		}
		if !st.Holds("rootdir") {
			return refusal.BadParam("storage", "storage '"+id+"' does not support container directories")
		}
		if err := cl.Rights.Need(c.Who, rights.OnStorage(id), "Datastore.AllocateSpace"); err != nil {
			return err
		}
		_, err = places.Of(cl, c.Node, st)
		return err
	}
	storageID := c.Param("storage")
	if storageID == "" {
		storageID = "local"
	}
	rootfs := false
	var mounts []string
	for k, v := range set {
		kind := strings.TrimRight(k, "0123456789")
		switch {
		case k == "rootfs" || kind == "mp" && k != kind:
			if notation.PlainSizeRE.MatchString(v) {
				set[k] = storageID + ":" + v
			}
			rootfs = rootfs || k == "rootfs"
			mounts = append(mounts, k)
		case kind == "unused" && k != kind:
			delete(set, k)
		}
	}
	if len(mounts) > 0 && !rootfs {
		return refusal.Fail("mount points configured, but 'rootfs' not set - aborting")
	}
	for _, k := range mounts {
		m, err := lxcconf.ParseMountPoint(k, set[k])
		if err != nil {
			return refusal.Fail("%s", err.Error())
		}
		if m.Kind() == "volume" {
			id, _, _ := strings.Cut(m.Volid(), ":")
			if err := check(id); err != nil {
				return err
			}
		}
	}
	if !rootfs {
		return check(storageID)
	}
	return nil
}
