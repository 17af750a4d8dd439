package pvesim

import (
	"errors"
	"strings"
)

// dropIdlePending removes pending values that are in force already. PVE: cleanup_pending.
func (s *Sim) dropIdlePending(conf *config) {
	for _, k := range conf.pending.keys() {
		v, _ := conf.pending.get(k)
		if now, ok := conf.section.get(k); ok && now == v {
			conf.pending.unset(k)
		}
	}
}

// applyPending moves pending changes into force; the errors are by key.
func (s *Sim) applyPending(n *node, g *guest, now func(key string, deleted bool) bool) map[string]string {
	conf := g.conf
	errs := make(map[string]string)
	note := func(key string, err error) {
		verb := "unable to apply pending change " + key + " : "
		if g.Running {
			verb = "unable to hotplug " + key + ": "
		}
		errs[key] = verb + err.Error()
	}
	for _, k := range append([]string(nil), conf.pending.del...) {
		if !now(k, true) {
			continue
		}
		if err := s.applyDelete(n, g, k); err != nil {
			note(k, err)
			continue
		}
		conf.pending.del = without(conf.pending.del, k)
	}
	for _, k := range conf.pending.keys() {
		if !now(k, false) {
			continue
		}
		v, _ := conf.pending.get(k)
		if err := s.applySet(n, g, k, v); err != nil {
			note(k, err)
			conf.pending.unset(k)
			continue
		}
		conf.pending.unset(k)
	}
	conf.touch()
	return errs
}

func (s *Sim) applyDelete(n *node, g *guest, key string) error {
	conf := g.conf
	switch kind := strings.TrimRight(key, "0123456789"); {
	case kind == "mp" && key != kind:
		if m, err := parseMountPoint(key, conf.vals[key]); err == nil && m.kind() == "volume" {
			delete(conf.vals, key)
			s.parkVolume(g, m.volid())
		}
	case kind == "unused" && key != kind:
		volid := conf.vals[key]
		for _, snap := range conf.snaps {
			for _, m := range snap.mountPoints() {
				if m.volid() == volid {
					conf.section.unset(key) // the line goes, the volume stays (measured on zfs and lvm-thin, 9.2.11)
					return nil
				}
			}
		}
		if s.owns(g, volid) {
			if _, err := s.free(n, volid); err != nil {
				return err
			}
		}
	}
	conf.section.unset(key)
	return nil
}

// owns reports whether a volume's name says that it is the guest's.
func (s *Sim) owns(g *guest, volid string) bool {
	id, name, _ := strings.Cut(volid, ":")
	st := s.storages[id]
	if st == nil {
		return false
	}
	_, owner, err := st.kindOf(name)
	return err == nil && owner == g.VMID
}

// parkVolume keeps a volume that is no longer mounted as unusedN.
func (s *Sim) parkVolume(g *guest, volid string) {
	conf := g.conf
	if volumeKind(volid) != "volume" || !s.owns(g, volid) {
		return
	}
	for _, m := range conf.section.mountPoints() {
		if m.volid() == volid {
			return
		}
	}
	for i := 0; i < 256; i++ {
		k := "unused" + itoa(i)
		if conf.vals[k] == volid {
			return
		}
		if conf.vals[k] == "" {
			conf.vals[k] = volid
			return
		}
	}
}

func (s *Sim) applySet(n *node, g *guest, key, v string) error {
	conf := g.conf
	if kind := strings.TrimRight(key, "0123456789"); kind != "mp" || key == kind {
		if kind == "net" && g.Running && bridgeless(v) {
			return errors.New("unable to get bridge setting")
		}
		conf.section.set(key, v)
		return nil
	}
	m, err := parseMountPoint(key, v)
	if err != nil {
		return err
	}
	if m.kind() == "volume" {
		if d := newDiskRE.FindStringSubmatch(m.volid()); d != nil {
			size := parseSize(d[2] + "G")
			volid, _, err := s.alloc(n, g.VMID, d[1], size)
			if err != nil {
				return err
			}
			m.props["volume"], m.props["size"] = volid, formatSize(size)
		} else if vol, p, err := s.volume(n, m.volid()); err == nil && vol != nil {
			m.props["size"] = formatSize(vol.Size)
		} else if g.Running { // a hot mount wants it now, not at the next start
			if err == nil {
				err = p.missing(m.volid())
			}
			return err
		}
	}
	old, had := conf.vals[key]
	conf.vals[key] = m.print()
	if had {
		if was, err := parseMountPoint(key, old); err == nil && was.volid() != m.volid() {
			s.parkVolume(g, was.volid())
		}
	}
	for _, u := range conf.numbered("unused") {
		if conf.vals[u] == m.volid() {
			delete(conf.vals, u)
		}
	}
	if g.Running {
		if h, err := s.holdOf(n, m); err != nil {
			return err
		} else {
			g.Holds = append(g.Holds, h)
		}
	}
	return nil
}
