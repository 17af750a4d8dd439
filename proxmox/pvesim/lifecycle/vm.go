package lifecycle

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
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/storages"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// vmControl are the parameters of a creation that are no config keys.
var vmControl = map[string]bool{"node": true, "vmid": true, "archive": true, "force": true, "storage": true, "unique": true,
	"bwlimit": true, "start": true, "pool": true, "ha-managed": true, "live-restore": true}

// CreateVM is POST qemu: a new virtual machine, or one from a backup. PVE: API2/Qemu create_vm.
// One that exists is never replaced here.
func CreateVM(c *request.Call) error {
	cl, vmid, archive := c.Cluster, c.VMID(), c.Param("archive")
	if err := cl.World.Quorum(); err != nil {
		return err
	}
	set := make(map[string]string)
	for k, v := range c.Params {
		if !vmControl[k] {
			set[k] = v
		}
	}
	pool := c.Param("pool")
	if pool != "" && cl.World.Pool(pool) == nil {
		return refusal.Forbid("pool '" + pool + "' does not exist")
	}
	if id := c.Param("storage"); id != "" {
		if err := cl.Rights.Need(c.Who, rights.OnStorage(id), "Datastore.AllocateSpace"); err != nil {
			return err
		}
	}
	if c.Flag("start") {
		if err := cl.Rights.Need(c.Who, rights.OnVM(vmid), "VM.PowerMgmt"); err != nil {
			return err
		}
	}
	if !cl.Rights.Can(c.Who, rights.OnVM(vmid), "VM.Allocate") && (pool == "" || !cl.Rights.Can(c.Who, "/pool/"+pool, "VM.Allocate")) {
		return refusal.Forbid("")
	}
	if err := mayMakeVM(c, set, archive, pool); err != nil {
		return err
	}
	if err := inTheWay(cl.Guests[vmid], vmid, false); err != nil {
		return err
	}
	kind, emsg := "qmcreate", "unable to create VM "
	if archive != "" {
		kind, emsg = "qmrestore", "unable to restore VM "
	}
	if err := claim(c, nil, emsg+strconv.Itoa(vmid)+" - "); err != nil {
		return err
	}
	args := map[string]string{"archive": archive, "storage": c.Param("storage"), "pool": pool}
	for _, k := range []string{"unique", "start"} {
		if v := c.Param(k); v != "" {
			args[k] = v
		}
	}
	for k, v := range set {
		args["p:"+k] = v
	}
	size := int64(0)
	if v, _, err := places.Find(cl, c.Node, archive); archive != "" && err == nil && v != nil {
		for _, p := range v.Parts {
			size += p.Used
		}
	}
	return c.Started(cl.Start(c.Node, kind, strconv.Itoa(vmid), c.Who.ID, size, args))
}

// mayMakeVM checks what a creation asks for, and whether the archive may be read.
func mayMakeVM(c *request.Call, set map[string]string, archive, pool string) error {
	if archive == "-" {
		return refusal.Fail("pipe requires cli environment")
	}
	if archive != "" {
		for k := range set {
			if lxcconf.IsDrive(k) {
				return refusal.BadParam(k, "option conflicts with option 'archive'")
			}
		}
		if err := storages.VolumeAccess(c.Cluster, c.Who, c.VMID(), archive, "backup"); err != nil {
			return err
		}
	}
	return guests.MayModifyVM(c.Cluster, c.Who, c.VMID(), pool, nil, set, nil)
}

// RunCreateVM is the worker of a creation and of a restore.
func RunCreateVM(cl *cluster.Cluster, t *world.Task) error {
	g, err := guests.TaskGuest(cl, t)
	if err != nil {
		return err
	}
	if t.Phase == 0 {
		if t.Type == "qmrestore" {
			if err := beginVMRestore(cl, t); err != nil {
				return err
			}
		}
		return cl.Then(t, 1)
	}
	conf := lxcconf.New()
	if t.Type == "qmrestore" {
		conf, err = endVMRestore(cl, t)
	} else {
		err = newDrives(cl, t, conf)
	}
	if err != nil {
		return err
	}
	asked := t.Request()
	for _, k := range slices.Sorted(maps.Keys(asked)) {
		v := asked[k]
		if lxcconf.IsDrive(k) && t.Type != "qmrestore" {
			continue
		}
		if v, err = guests.CanonicalVM(cl, k, v); err != nil {
			return err
		}
		conf.Section.Set(k, v)
	}
	if t.Args["unique"] == "1" {
		makeUnique(cl, conf, asked)
	}
	if conf.Vals["smbios1"] == "" {
		conf.Section.Set("smbios1", "uuid="+places.UUID(cl))
	}
	conf.Section.Set("vmgenid", places.UUID(cl)) // always renewed
	g.Rewrite(conf)
	if p := cl.World.Pool(t.Args["pool"]); p != nil {
		p.VMs = append(p.VMs, g.VMID)
		cl.Rights.Forget()
	}
	g.Filled = cl.Now.Unix()
	if t.Args["start"] == "1" {
		cl.Start(t.Node, "qmstart", t.ID, t.User, 0, nil)
	}
	return cluster.ErrDone
}

// newDrives makes the drives that a creation asks for.
func newDrives(cl *cluster.Cluster, t *world.Task, conf *lxcconf.Config) error {
	asked := t.Request()
	for _, k := range slices.Sorted(maps.Keys(asked)) {
		if !lxcconf.IsDrive(k) {
			continue
		}
		m, err := lxcconf.ParseMountPoint(k, asked[k])
		if err != nil {
			return err
		}
		if d := schema.NewDiskRE.FindStringSubmatch(m.Volid()); d != nil {
			size := notation.ParseSize(d[2] + "G")
			if m.Props["volume"], err = places.AllocImage(cl, t.Node, t.VMID(), d[1], size); err != nil {
				return err
			}
			m.Props["size"] = notation.FormatSize(size)
			t.Args["new:"+k] = m.Text()
		}
		conf.Section.Set(k, m.Text())
	}
	return nil
}

// beginVMRestore reads the config inside, checks what only root may restore, and makes the drives.
func beginVMRestore(cl *cluster.Cluster, t *world.Task) error {
	v, p, err := places.Find(cl, t.Node, t.Args["archive"])
	if err != nil {
		return err
	}
	if v == nil {
		return fmt.Errorf("volume '%s' does not exist", t.Args["archive"])
	}
	if err := p.LacksKey(v); err != nil {
		return err
	}
	if v.Garbage || v.Unfinished {
		return errors.New("ERROR: got timeout reading VMA header - corrupted?")
	}
	who := cl.Rights.Subject(t.User)
	if who == nil {
		return errors.New("no such user")
	}
	old, set := lxcconf.Parse(v.Config), t.Request()
	if err := mayRestoreVM(cl, who, old, set); err != nil {
		return err
	}
	for _, m := range old.MountPoints() {
		if !m.Backed() {
			continue
		}
		storage := t.Args["storage"]
		if storage == "" {
			storage, _, _ = strings.Cut(m.Volid(), ":")
		}
		if err := cl.Rights.Need(who, rights.OnStorage(storage), "Datastore.AllocateSpace"); err != nil {
			return err
		}
		volid, err := places.AllocImage(cl, t.Node, t.VMID(), storage, notation.ParseSize(m.Props["size"]))
		if err != nil {
			return err
		}
		m.Props["volume"] = volid
		t.Args["new:"+m.Key] = m.Text()
		t.Logf("new volume ID is '%s'", volid)
	}
	return nil
}

// mayRestoreVM checks the bridges and the devices of the host in an archive. PVE: QemuServer
// check_restore_permissions. args, hookscript and the like it does not look at.
func mayRestoreVM(cl *cluster.Cluster, who *rights.Subject, old *lxcconf.Config, set map[string]string) error {
	if who.Root() {
		return nil
	}
	for _, k := range old.Section.Keys() {
		v := old.Vals[k]
		if over, given := set[k]; given {
			v = over
		}
		if path := guests.MappingPath(k, v); path != "" {
			if err := cl.Rights.Need(who, path, "Mapping.Use"); err != nil {
				return err
			}
		}
		switch kind := strings.TrimRight(k, "0123456789"); {
		case kind == k:
		case kind == "net":
			if err := guests.BridgeAccess(cl, who, v); err != nil {
				return err
			}
		case kind == "usb" && !strings.Contains(v, "mapping=") && !strings.Contains(v, "spice"):
			return refusal.Fail("only root can set '%s' config for real devices", k)
		case kind == "hostpci" && !strings.Contains(v, "mapping="):
			return refusal.Fail("only root can set '%s' config for non-mapped devices", k)
		}
	}
	return nil
}

// endVMRestore puts the data into the drives and returns the config of the archive with them.
func endVMRestore(cl *cluster.Cluster, t *world.Task) (*lxcconf.Config, error) {
	v, _, err := places.Find(cl, t.Node, t.Args["archive"])
	if err != nil {
		return nil, err
	}
	if v == nil || v.Whole > 0 {
		return nil, errors.New("command 'set -o pipefail && zstd -q -d -c ARCHIVE | vma extract -v -r /var/tmp/vzdumptmp.fifo - /var/tmp/vzdumptmp' failed: unexpected end of file")
	}
	old, conf := lxcconf.Parse(v.Config), lxcconf.New()
	for _, k := range old.Section.Keys() {
		if kind := strings.TrimRight(k, "0123456789"); k == "lock" || k == "parent" || kind == "unused" && kind != k {
			continue
		}
		val, _ := old.Section.Get(k)
		if m, err := lxcconf.ParseMountPoint(k, val); lxcconf.IsDrive(k) && err == nil && !m.Backed() {
			conf.Desc = strings.TrimPrefix(conf.Desc+"\n"+k+": "+val, "\n") // "#scsi1: …" is text of the notes
			continue
		}
		if k == "description" {
			conf.Desc = strings.Trim(val+"\n"+conf.Desc, "\n")
			continue
		}
		conf.Section.Set(k, val)
	}
	for _, m := range t.Created() {
		vol, p, err := places.Find(cl, t.Node, m.Volid())
		if err != nil {
			return nil, err
		}
		if vol == nil {
			return nil, p.Missing(m.Volid())
		}
		for _, part := range v.Parts {
			if part.MP == m.Key {
				vol.Data, vol.Used = part.Data, part.Used
			}
		}
		conf.Section.Set(m.Key, m.Text())
	}
	return conf, nil
}
