package pvesim

import (
	"errors"
	"regexp"
	"strings"
	"time"
)

var plainSizeRE = regexp.MustCompile(`^\d+(\.\d+)?$`)

// control are the parameters of a creation that are no config keys.
var control = map[string]bool{"node": true, "vmid": true, "ostemplate": true, "restore": true, "force": true, "storage": true,
	"unique": true, "bwlimit": true, "start": true, "pool": true, "ignore-unpack-errors": true, "ha-managed": true,
	"password": true, "ssh-public-keys": true}

// create is POST lxc: a new guest from a template or a backup. The checks come in the
// order of PVE's create_vm; what the archive holds is looked at in the task only.
func create(c *call) error {
	s, n, vmid := c.s, c.node, c.vmid()
	restore, force := c.flag("restore"), c.flag("force")
	archive, poolID := c.param("ostemplate"), c.param("pool")
	emsg := "unable to create CT " + itoa(vmid) + " - "
	if restore {
		emsg = "unable to restore CT " + itoa(vmid) + " - "
	}
	if err := s.quorum(); err != nil {
		return err
	}
	set := make(map[string]string)
	for k, v := range c.params {
		if !control[k] {
			set[k] = v
		}
	}
	if !restore {
		if _, ok := set["unprivileged"]; !ok {
			set["unprivileged"] = "1"
		}
		if set["unprivileged"] == "0" {
			if err := s.need(c.who, "/", "Sys.Modify"); err != nil {
				return err
			}
		}
	}
	if c.flag("ha-managed") {
		if err := s.need(c.who, "/", "Sys.Console"); err != nil {
			return err
		}
	}
	if poolID != "" && s.pool(poolID) == nil {
		return forbid("pool '" + poolID + "' does not exist")
	}
	if archive == "-" {
		return fail("pipe requires cli environment")
	}
	old := s.guests[vmid]
	same := old != nil && old.Node == n.Name && !old.Qemu
	if same && restore && force {
		if old.Running {
			return fail("can't overwrite running container")
		}
		if old.conf.vals["protection"] == "1" {
			return fail("unable to restore CT %d - protection mode enabled", vmid)
		}
	} else if old != nil {
		kind := "CT"
		if old.Qemu {
			kind = "VM"
		}
		return fail("%s %d already exists on node '%s'", kind, vmid, old.Node)
	}
	switch {
	case s.can(c.who, onVM(vmid), "VM.Allocate"):
	case poolID != "" && s.can(c.who, "/pool/"+poolID, "VM.Allocate"):
	case restore && force && same && s.can(c.who, onVM(vmid), "VM.Backup"):
	default:
		return forbid("")
	}
	if err := s.mayModify(c.who, vmid, poolID, nil, set, nil, set["unprivileged"] == "1"); err != nil {
		return err
	}
	want := "vztmpl"
	if restore {
		want = "backup"
	}
	if err := s.volumeAccess(c.who, vmid, archive, want); err != nil {
		return err
	}
	if err := c.creationStorage(set); err != nil {
		return err
	}
	// lock: create, under the flock
	if err := c.flock(vmid, 5*time.Second); err != nil {
		var r *refusal
		if errors.As(err, &r) {
			return fail("%s%s", emsg, r.text)
		}
		return err
	}
	if same {
		if s.guests[vmid] != old { // it went while the flock was waited for
			return noConfig(n.Name, vmid)
		}
		if l := old.conf.vals["lock"]; l != "" {
			return fail("%sCT is locked (%s)", emsg, l)
		}
		old.conf.section.set("lock", "create")
		old.conf.touch()
	} else {
		g := &guest{VMID: vmid, Node: n.Name, Born: s.now.Unix(), conf: newConfig()}
		g.conf.section.set("lock", "create")
		s.addGuest(g)
	}
	args := map[string]string{"archive": archive, "storage": c.param("storage")}
	if args["storage"] == "" {
		args["storage"] = "local"
	}
	for _, k := range []string{"unique", "start", "pool", "force", "ignore-unpack-errors"} {
		if v := c.param(k); v != "" {
			args[k] = v
		}
	}
	if same {
		args["over"] = "1"
	}
	for k, v := range set {
		args["p:"+k] = v
	}
	kind := "vzcreate"
	if restore {
		kind = "vzrestore"
	}
	size := int64(0)
	if v, _, err := s.volume(n, archive); err == nil && v != nil {
		for _, p := range v.Parts {
			size += p.Used
		}
	}
	return c.upid(s.start(n, kind, itoa(vmid), c.who.id, size, args))
}

// creationStorage checks the storages of the volumes, or the default one when there is no rootfs.
func (c *call) creationStorage(set map[string]string) error {
	s := c.s
	check := func(id string) error {
		st, err := s.storageOn(c.node, id)
		if err != nil {
			return err
		}
		if !st.holds("rootdir") {
			return badParam("storage", "storage '"+id+"' does not support container directories")
		}
		if err := s.need(c.who, onStorage(id), "Datastore.AllocateSpace"); err != nil {
			return err
		}
		_, err = s.place(c.node, st)
		return err
	}
	storageID := c.param("storage")
	if storageID == "" {
		storageID = "local"
	}
	rootfs := false
	var mounts []string
	for k, v := range set {
		kind := strings.TrimRight(k, "0123456789")
		switch {
		case k == "rootfs" || kind == "mp" && k != kind:
			if plainSizeRE.MatchString(v) {
				set[k] = storageID + ":" + v
			}
			rootfs = rootfs || k == "rootfs"
			mounts = append(mounts, k)
		case kind == "unused" && k != kind:
			delete(set, k)
		}
	}
	if len(mounts) > 0 && !rootfs {
		return fail("mount points configured, but 'rootfs' not set - aborting")
	}
	for _, k := range mounts {
		m, err := parseMountPoint(k, set[k])
		if err != nil {
			return fail("%s", err.Error())
		}
		if m.kind() == "volume" {
			id, _, _ := strings.Cut(m.volid(), ":")
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

func (s *Sim) pool(id string) *pool {
	for _, p := range s.w.Pools {
		if p.ID == id {
			return p
		}
	}
	return nil
}

func (s *Sim) addGuest(g *guest) {
	s.guests[g.VMID] = g
	s.w.Guests = append(s.w.Guests, g)
}

func (s *Sim) dropGuest(vmid int) {
	delete(s.guests, vmid)
	for i, g := range s.w.Guests {
		if g.VMID == vmid {
			s.w.Guests = append(s.w.Guests[:i:i], s.w.Guests[i+1:]...)
			return
		}
	}
}
