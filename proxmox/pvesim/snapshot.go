package pvesim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// snapshotList lists snapshots in no order, and what is now as "current".
func snapshotList(c *call) error {
	g, err := c.guest()
	if err != nil {
		return err
	}
	names := append(sortedKeys(g.conf.snaps), "current")
	d := c.data().list()
	c.s.shuffled(len(names), func(i int) {
		if names[i] == "current" {
			d.open().str("name", "current").str("digest", g.conf.sum()).flag("running", g.Running).str("description", "You are here!")
			if p := g.conf.vals["parent"]; p != "" {
				d.str("parent", p)
			}
			d.close()
			return
		}
		sec := g.conf.snaps[names[i]]
		d.open().str("name", names[i])
		d.num("snaptime", int64(sec.num("snaptime")))
		desc := sec.desc
		if desc != "" {
			desc += "\n"
		}
		d.str("description", desc)
		for _, k := range []string{"parent", "snapstate"} {
			if v := sec.vals[k]; v != "" {
				d.str(k, v)
			}
		}
		d.close()
	})
	d.end()
	return nil
}

func snapshotConfig(c *call) error {
	g, err := c.guest()
	if err != nil {
		return err
	}
	sec := g.conf.snaps[c.param("snapname")]
	if sec == nil {
		return fail("snapshot '%s' does not exist", c.param("snapname"))
	}
	d := c.data().open()
	for _, k := range sec.keys() {
		v, _ := sec.get(k)
		d.value(k, k, v)
	}
	d.close()
	return nil
}

func snapshotDescribe(c *call) error {
	return c.withConfig(c.vmid(), func() error {
		g, err := c.guest()
		if err != nil {
			return err
		}
		if err := checkLock(g.conf); err != nil {
			return err
		}
		sec := g.conf.snaps[c.param("snapname")]
		if sec == nil {
			return fail("snapshot '%s' does not exist", c.param("snapname"))
		}
		if err := c.s.writable(c.node, g.VMID); err != nil {
			return err
		}
		if v, ok := c.params["description"]; ok {
			sec.set("description", v)
			g.conf.touch()
		}
		return nil
	})
}

func snapshotCreate(c *call) error {
	name := c.param("snapname")
	if name == "current" || name == "vzdump" {
		return fail("unable to use snapshot name '%s' (reserved name)", name)
	}
	return c.worker("vzsnapshot", map[string]string{"snap": name, "description": c.param("description")})
}

func snapshotDelete(c *call) error {
	return c.worker("vzdelsnapshot", map[string]string{"snap": c.param("snapname"), "force": c.param("force")})
}

func (s *Sim) runSnapshot(t *task) error {
	g, err := s.taskGuest(t)
	if err != nil {
		return err
	}
	name := t.Args["snap"]
	if t.Phase == 0 {
		if err := s.lockConfig(t, g.VMID); err != nil {
			return err
		}
		if g.conf.vals["template"] == "1" {
			return errors.New("you can't take a snapshot if it's a template")
		}
		if err := checkLock(g.conf); err != nil {
			return err
		}
		if g.conf.snaps[name] != nil {
			return fmt.Errorf("snapshot name '%s' already used", name)
		}
		if !s.hasFeature(&g.conf.section, "snapshot") {
			return errors.New("snapshot feature is not available")
		}
		s.prepareSnapshot(g, name, t.Args["description"])
		if g.Running {
			t.Args["ran"] = "1"
		}
		s.unlock(t, flockKey(g.VMID))
		return s.then(t, 1)
	}
	if t.Args["ran"] == "1" && !g.Running { // it died meanwhile: no error, the lock and the half of it stay (measured, 9.2.11)
		return errDone
	}
	lines, err := s.snapVolumes(t.node, g, name)
	t.Log = append(t.Log, lines...)
	if err != nil {
		return err
	}
	s.commitSnapshot(g, name)
	return errDone
}

// prepareSnapshot writes the section and locks the guest. PVE: __snapshot_prepare.
func (s *Sim) prepareSnapshot(g *guest, name, description string) {
	sec := g.conf.section.clone()
	for _, k := range append(sec.numbered("unused"), "lock", "digest", "snapstate", "snaptime") {
		sec.unset(k)
	}
	sec.desc = ""
	sec.set("snapstate", "prepare")
	sec.set("snaptime", strconv.FormatInt(s.now.Unix(), 10))
	if description != "" {
		sec.set("description", description)
	}
	g.conf.snaps[name] = sec
	g.conf.section.set("lock", "snapshot")
	g.conf.touch()
}

// commitSnapshot makes it the current one's parent. PVE: __snapshot_commit.
func (s *Sim) commitSnapshot(g *guest, name string) {
	if sec := g.conf.snaps[name]; sec != nil {
		sec.unset("snapstate")
	}
	g.conf.section.set("parent", name)
	g.conf.section.unset("lock")
	g.conf.touch()
}

// snapVolumes snapshots every volume of a guest.
func (s *Sim) snapVolumes(n *node, g *guest, name string) ([]string, error) {
	var lines []string
	for _, m := range g.conf.mountPoints() {
		if m.kind() != "volume" || name == "vzdump" && m.key != "rootfs" && m.props["backup"] != "1" {
			continue
		}
		v, p, err := s.volume(n, m.volid())
		if err != nil {
			return lines, err
		}
		_, vol, _ := strings.Cut(m.volid(), ":")
		if v == nil {
			return lines, fmt.Errorf("no such logical volume %s/%s", p.st.vg(), vol)
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
		if p.st.Type == "lvmthin" {
			lines = append(lines, `  Logical volume "snap_`+vol+"_"+name+`" created.`)
		}
	}
	return lines, nil
}

// unsnapVolumes removes a snapshot from every volume that has it.
func (s *Sim) unsnapVolumes(n *node, sec *section, name string) []string {
	var lines []string
	for _, m := range sec.mountPoints() {
		if m.kind() != "volume" {
			continue
		}
		v, p, err := s.volume(n, m.volid())
		if err != nil || v == nil {
			continue
		}
		if _, ok := v.Snapshots[name]; !ok {
			continue
		}
		delete(v.Snapshots, name)
		v.Order = without(v.Order, name)
		if p.st.Type == "lvmthin" {
			_, vol, _ := strings.Cut(m.volid(), ":")
			lines = append(lines, `  Logical volume "snap_`+vol+"_"+name+`" successfully removed.`)
		}
	}
	return lines
}

// undoSnapshot: a failed one cleans itself up.
func (s *Sim) undoSnapshot(t *task) {
	g, err := s.taskGuest(t)
	if err != nil || t.Phase == 0 {
		return
	}
	if sec := g.conf.snaps[t.Args["snap"]]; sec != nil {
		t.Log = append(t.Log, s.unsnapVolumes(t.node, sec, t.Args["snap"])...)
		delete(g.conf.snaps, t.Args["snap"])
	}
	g.conf.section.unset("lock")
	g.conf.touch()
}

// undoLock takes the lock line away that a task set.
func (s *Sim) undoLock(t *task) {
	if g, err := s.taskGuest(t); err == nil && t.Phase > 0 {
		g.conf.section.unset("lock")
		g.conf.touch()
	}
}

func (s *Sim) runDeleteSnapshot(t *task) error {
	g, err := s.taskGuest(t)
	if err != nil {
		return err
	}
	name := t.Args["snap"]
	if t.Phase == 0 {
		if err := s.lockMigration(t, g.VMID); err != nil {
			return err
		}
		if err := s.lockConfig(t, g.VMID); err != nil {
			return err
		}
		if err := checkLock(g.conf); err != nil {
			return err
		}
		sec := g.conf.snaps[name]
		if sec == nil {
			return fmt.Errorf("snapshot '%s' does not exist", name)
		}
		sec.set("snapstate", "delete")
		g.conf.section.set("lock", "snapshot-delete")
		g.conf.touch()
		s.unlock(t, flockKey(g.VMID))
		return s.then(t, 1)
	}
	sec := g.conf.snaps[name]
	if sec == nil {
		return fmt.Errorf("snapshot '%s' does not exist", name)
	}
	t.Log = append(t.Log, s.unsnapVolumes(t.node, sec, name)...)
	s.forgetSnapshot(g, name)
	g.conf.section.unset("lock")
	g.conf.touch()
	return errDone
}

// forgetSnapshot takes a section away and links its children to its parent.
func (s *Sim) forgetSnapshot(g *guest, name string) {
	parent := g.conf.snaps[name].vals["parent"]
	delete(g.conf.snaps, name)
	relink := func(sec *section) {
		if sec.vals["parent"] != name {
			return
		}
		if parent == "" {
			sec.unset("parent")
		} else {
			sec.set("parent", parent)
		}
	}
	relink(&g.conf.section)
	for _, sec := range g.conf.snaps {
		relink(sec)
	}
	g.conf.touch()
}
