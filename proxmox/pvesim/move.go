package pvesim

import (
	"errors"
	"fmt"
	"strings"
)

// moveVolume moves a volume to another storage or another guest. PVE: move_volume.
func moveVolume(c *call) error {
	s := c.s
	g, err := c.guest()
	if err != nil {
		return err
	}
	if err := checkLock(g.conf); err != nil {
		return err
	}
	if d := c.param("digest"); d != "" && d != g.conf.sum() {
		return fail("detected modified configuration - file changed by other user? Try again.")
	}
	if g.Running {
		return fail("cannot move volumes of a running container")
	}
	key := c.param("volume")
	volid := g.conf.vals[key]
	if volid == "" {
		return fail("volume '%s' does not exist", key)
	}
	if p := configSchema.find(key); p == nil || p.sub == nil {
		return badParam("volume", "value '"+key+"' does not have a value in the enumeration")
	}
	args := map[string]string{"key": key, "delete": c.param("delete")}
	kind := strings.TrimRight(key, "0123456789")
	switch target := c.param("target-vmid"); {
	case target != "":
		if c.has("storage") {
			return badParam("target-vmid", "cannot move volume to other storage and other container at the same time")
		}
		if key == "rootfs" {
			return fail("cannot move volume '%s', only configured volumes can be moved to another container", key)
		}
		if err := s.need(c.who, "/vms/"+target, "VM.Config.Disk"); err != nil {
			return err
		}
		other := s.guests[atoi(target)]
		if other == nil || other.Node != g.Node {
			return noConfig(g.Node, atoi(target))
		}
		if err := checkLock(other.conf); err != nil {
			return err
		}
		for _, snap := range g.conf.snaps {
			for _, m := range snap.mountPoints() {
				if old, err := parseMountPoint("mp0", volid); err == nil && m.volid() == old.volid() || m.volid() == volid {
					return fail("you can't move a volume with snapshots to another container")
				}
			}
		}
		at := c.param("target-volume")
		if at == "" {
			at = key
		}
		if other.conf.vals[at] != "" {
			return fail("target volume '%s' already exists", at)
		}
		args["vmid"], args["at"] = target, at
	case c.param("storage") == "":
		return badParam("storage", "must be set to move the volume")
	default:
		if kind == "unused" {
			return fail("cannot move unused volume '%s'", key)
		}
		if err := s.need(c.who, onStorage(c.param("storage")), "Datastore.AllocateSpace"); err != nil {
			return err
		}
		st, err := s.storageOn(c.node, c.param("storage"))
		if err != nil {
			return err
		}
		if !st.holds("rootdir") {
			return fail("storage '%s' does not allow content type 'rootdir' (Container)", st.ID)
		}
		args["storage"] = st.ID
	}
	size := int64(0)
	if m, err := parseMountPoint(key, volid); err == nil && args["storage"] != "" {
		if v, _, _ := s.volume(c.node, m.volid()); v != nil {
			size = v.Used
		}
	}
	return c.upid(s.start(c.node, "move_volume", itoa(g.VMID), c.who.id, size, args))
}

func (s *Sim) runMove(t *task) error {
	g, err := s.taskGuest(t)
	if err != nil {
		return err
	}
	key := t.Args["key"]
	if t.Phase == 0 {
		if err := s.lockConfig(t, g.VMID); err != nil {
			return err
		}
		if err := checkLock(g.conf); err != nil {
			return err
		}
		g.conf.section.set("lock", "disk")
		g.conf.touch()
		s.unlock(t, flockKey(g.VMID))
		return s.then(t, 1)
	}
	text := g.conf.vals[key]
	if strings.HasPrefix(key, "unused") {
		text += ",mp=/x"
	}
	m, err := parseMountPoint(strings.Replace(key, "unused", "mp", 1), text)
	if err != nil {
		return errors.New("format error")
	}
	v, p, err := s.volume(t.node, m.volid())
	if err != nil {
		return err
	}
	if v == nil {
		return fmt.Errorf("volume '%s' does not exist", m.volid())
	}
	id, name, _ := strings.Cut(m.volid(), ":")
	g.conf.section.unset("lock")
	g.conf.touch()
	if target := t.Args["vmid"]; target != "" {
		other := s.guests[atoi(target)]
		if other == nil {
			return noConfig(t.node.Name, atoi(target))
		}
		now, _ := p.freeName(other.VMID, v.Size)
		delete(p.items, name)
		v.VMID = other.VMID
		p.items[now] = v
		g.conf.section.unset(key)
		value := id + ":" + now
		if !strings.HasPrefix(t.Args["at"], "unused") {
			m.props["volume"] = value
			if m.props["mp"] == "/x" {
				m.props["mp"] = "/mnt/" + t.Args["at"]
			}
			value = m.print()
		}
		other.conf.section.set(t.Args["at"], value)
		other.conf.touch()
		t.log("moved volume '%s' to container %d", key, other.VMID)
		return errDone
	}
	volid, lines, err := s.alloc(t.node, g.VMID, t.Args["storage"], v.Size)
	if err != nil {
		return err
	}
	t.Log = append(t.Log, lines...)
	now, _, _ := s.volume(t.node, volid)
	now.Data, now.Used = v.Data, v.Used
	old := m.volid()
	m.props["volume"], m.props["size"] = volid, formatSize(now.Size)
	g.conf.section.set(key, m.print())
	if t.Args["delete"] == "1" {
		lines, _ := s.free(t.node, old)
		t.Log = append(t.Log, lines...)
	} else {
		s.parkVolume(g, old)
	}
	g.conf.touch()
	return errDone
}
