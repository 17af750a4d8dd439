package pvesim

import (
	"errors"
	"fmt"
	"strings"
)

func clonePerm(c *call) error {
	if err := c.s.need(c.who, "/vms/"+c.param("vmid"), "VM.Clone"); err != nil {
		return err
	}
	if p := c.param("pool"); p != "" && c.s.can(c.who, "/pool/"+p, "VM.Allocate") {
		return nil
	}
	if !c.s.can(c.who, "/vms/"+c.param("newid"), "VM.Allocate") {
		return forbid("")
	}
	return nil
}

// clone copies a guest. PVE: clone_vm.
func clone(c *call) error {
	s := c.s
	if err := s.quorum(); err != nil {
		return err
	}
	g, err := c.guest()
	if err != nil {
		return err
	}
	if p := c.param("pool"); p != "" && s.pool(p) == nil {
		return forbid("pool '" + p + "' does not exist")
	}
	if err := checkLock(g.conf); err != nil {
		return err
	}
	newid := atoi(c.param("newid"))
	if other := s.guests[newid]; other != nil {
		return fail("CT %d already exists on node '%s'", newid, other.Node)
	}
	sec := &g.conf.section
	if snap := c.param("snapname"); snap != "" {
		if sec = g.conf.snaps[snap]; sec == nil {
			return fail("snapshot '%s' does not exist", snap)
		}
	} else if g.Running {
		return fail("Cannot do full clones on a running container without snapshots")
	}
	size := int64(0)
	for _, m := range sec.mountPoints() {
		if m.kind() != "volume" {
			return fail("unable to clone mountpoint '%s' (type %s)", m.key, m.kind())
		}
		id, _, _ := strings.Cut(m.volid(), ":")
		if v := c.param("storage"); v != "" {
			id = v
		}
		if err := s.need(c.who, onStorage(id), "Datastore.AllocateSpace"); err != nil {
			return err
		}
		if v, _, _ := s.volume(c.node, m.volid()); v != nil {
			size += v.Used
		}
	}
	for _, k := range sec.numbered("net") {
		if err := s.bridgeAccess(c.who, sec.vals[k]); err != nil {
			return err
		}
	}
	g.conf.section.set("lock", "disk")
	g.conf.touch()
	target := &guest{VMID: newid, Node: g.Node, Born: s.now.Unix(), conf: newConfig()}
	target.conf.section.set("lock", "create")
	s.addGuest(target)
	args := map[string]string{"newid": itoa(newid), "snap": c.param("snapname"), "storage": c.param("storage"),
		"hostname": c.param("hostname"), "description": c.param("description")}
	if p := s.pool(c.param("pool")); p != nil {
		p.VMs = append(p.VMs, newid)
		s.acl.forget()
	}
	return c.upid(s.start(c.node, "vzclone", itoa(g.VMID), c.who.id, size, args))
}

func (s *Sim) runClone(t *task) error {
	g, err := s.taskGuest(t)
	if err != nil {
		return err
	}
	if t.Phase == 0 {
		return s.then(t, 1)
	}
	target := s.guests[atoi(t.Args["newid"])]
	if target == nil {
		return errors.New("the target is gone")
	}
	sec := &g.conf.section
	if snap := t.Args["snap"]; snap != "" {
		sec = g.conf.snaps[snap]
	}
	conf := newConfig()
	conf.section = *sec.clone()
	for _, k := range append(conf.section.numbered("unused"), "lock", "parent", "snaptime", "snapstate", "template") {
		conf.section.unset(k)
	}
	if sec != &g.conf.section {
		conf.section.desc = g.conf.section.desc
	}
	for _, m := range sec.mountPoints() {
		v, _, err := s.volume(t.node, m.volid())
		if err != nil {
			return err
		}
		if v == nil {
			return fmt.Errorf("volume '%s' does not exist", m.volid())
		}
		id, _, _ := strings.Cut(m.volid(), ":")
		if st := t.Args["storage"]; st != "" {
			id = st
		}
		t.log("create full clone of mountpoint %s (%s)", m.key, m.volid())
		volid, lines, err := s.alloc(t.node, target.VMID, id, v.Size)
		if err != nil {
			return err
		}
		t.Log = append(t.Log, lines...)
		t.Args["made"] += " " + volid
		now, _, _ := s.volume(t.node, volid)
		now.Used, now.Data, now.Bare = v.Used, v.Data, v.Bare
		if snap := t.Args["snap"]; snap != "" {
			now.Data = strings.TrimSuffix(v.Snapshots[snap], "~")
		}
		if m.key == "rootfs" && !strings.HasSuffix(now.Data, "*") { // a clone gets its own machine-id
			now.Data = imprint(now.Data, "clone", itoa(target.VMID))
		}
		m.props["volume"], m.props["size"] = volid, formatSize(v.Size)
		conf.section.set(m.key, m.print())
	}
	for _, k := range conf.section.numbered("net") {
		if p, err := netSchema.parse(conf.section.vals[k], ""); err == nil {
			p["hwaddr"] = s.mac()
			conf.section.set(k, netSchema.print(p))
		}
	}
	if v := t.Args["hostname"]; v != "" {
		conf.section.set("hostname", v)
	}
	if v := t.Args["description"]; v != "" {
		conf.section.set("description", v)
	}
	target.conf = conf
	g.conf.section.unset("lock")
	g.conf.touch()
	return errDone
}

func (s *Sim) undoClone(t *task) {
	for _, volid := range strings.Fields(t.Args["made"]) {
		_, _ = s.free(t.node, volid)
	}
	s.dropGuest(atoi(t.Args["newid"]))
	if g, err := s.taskGuest(t); err == nil {
		g.conf.section.unset("lock")
		g.conf.touch()
	}
}
