package pvesim

import (
	"errors"
	"fmt"
	"strings"
)

func snapshotRollback(c *call) error {
	return c.worker("vzrollback", map[string]string{"snap": c.param("snapname"), "start": c.param("start")})
}

func (s *Sim) runRollback(t *task) error {
	g, err := s.taskGuest(t)
	if err != nil {
		return err
	}
	name := t.Args["snap"]
	sec := g.conf.snaps[name]
	switch t.Phase {
	case 0:
		if err := s.lockMigration(t, g.VMID); err != nil {
			return err
		}
		if err := s.lockConfig(t, g.VMID); err != nil {
			return err
		}
		if g.conf.vals["template"] == "1" {
			return errors.New("you can't rollback if it's a template")
		}
		if sec == nil {
			return fmt.Errorf("snapshot '%s' does not exist", name)
		}
		if st := sec.vals["snapstate"]; st != "" {
			return fmt.Errorf("unable to rollback to incomplete snapshot (snapstate = %s)", st)
		}
		if err := s.rollbackPossible(t.node, sec, name); err != nil {
			return err
		}
		if err := checkLock(g.conf); err != nil {
			return err
		}
		s.halt(g)
		g.conf.section.set("lock", "rollback")
		g.conf.touch()
		s.unlock(t, flockKey(g.VMID))
		return s.then(t, 1)
	}
	if sec == nil {
		return fmt.Errorf("snapshot '%s' does not exist", name)
	}
	g.Journal = false
	for _, m := range sec.mountPoints() {
		v, p, err := s.volume(t.node, m.volid())
		if err != nil {
			return err
		}
		if v == nil {
			continue
		}
		data, open := strings.CutSuffix(v.Snapshots[name], "~")
		g.Journal = g.Journal || open
		v.Data = data
		if size := parseSize(m.props["size"]); size > 0 && (p.st.Type == "zfspool" || p.st.Type == "lvmthin") { // it takes the size back with it
			v.Size = size
		}
		if p.st.Type == "lvmthin" {
			_, vol, _ := strings.Cut(m.volid(), ":")
			t.log(`  Logical volume "%s" successfully removed.`, vol)
			t.log(`  Logical volume "%s" created.`, vol)
			t.log("  Logical volume %s/%s changed.", p.st.vg(), vol)
		}
	}
	s.rollbackConfig(g, name)
	if t.Args["start"] == "1" {
		s.start(t.node, "vzstart", t.ID, t.User, 0, nil)
	}
	return errDone
}

// rollbackPossible: every volume must have the snapshot; on ZFS it must be the newest.
func (s *Sim) rollbackPossible(n *node, sec *section, name string) error {
	for _, m := range sec.mountPoints() {
		if m.kind() != "volume" {
			continue
		}
		v, p, err := s.volume(n, m.volid())
		if err != nil {
			return err
		}
		if v == nil {
			return fmt.Errorf("volume '%s' does not exist", m.volid())
		}
		if p.st.Type == "zfspool" && len(v.Order) > 0 && v.Order[len(v.Order)-1] != name {
			return fmt.Errorf("can't rollback, '%s' is not most recent snapshot on '%s'", name, m.volid())
		}
	}
	return nil
}

// rollbackConfig puts the snapshot's section in force; description and unused volumes
// stay, and volumes that only the old config has become unused.
func (s *Sim) rollbackConfig(g *guest, name string) {
	old := g.conf.section
	now := g.conf.snaps[name].clone()
	for _, k := range []string{"snaptime", "snapstate", "lock"} {
		now.unset(k)
	}
	now.desc = old.desc
	now.set("parent", name)
	for _, k := range old.numbered("unused") {
		now.set(k, old.vals[k])
	}
	g.conf.section = *now
	g.conf.pending = newSection()
	for _, m := range old.mountPoints() {
		s.parkVolume(g, m.volid())
	}
	used := make(map[string]bool)
	for _, m := range now.mountPoints() {
		used[m.volid()] = true
	}
	for _, k := range g.conf.section.numbered("unused") {
		if used[g.conf.section.vals[k]] {
			g.conf.section.unset(k)
		}
	}
	g.conf.touch()
}
