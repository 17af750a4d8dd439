package pvesim

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
)

// storageDigest is storage.cfg's.
func (s *Sim) storageDigest() string {
	var d doc
	for _, st := range s.w.Storages {
		d.storageConfig(st, "")
	}
	sum := sha1.Sum(d.b)
	return hex.EncodeToString(sum[:])
}

func (d *doc) storageConfig(st *storage, digest string) {
	d.open().str("storage", st.ID).str("type", st.Type).str("content", strings.Join(st.Content, ",")).str("digest", digest)
	if st.Path != "" {
		d.str("path", st.Path)
	}
	d.serverConfig(st)
	if st.Type == "lvmthin" || st.Type == "lvm" {
		d.str("vgname", st.vg())
	}
	if st.Type == "lvmthin" {
		thin := st.Pool
		if thin == "" {
			thin = "data"
		}
		d.str("thinpool", thin)
	} else if st.Pool != "" {
		d.str("pool", st.Pool)
	}
	if st.Mountpoint != "" {
		d.str("is_mountpoint", st.Mountpoint)
	}
	if st.Prune != "" {
		d.str("prune-backups", st.Prune)
	}
	if st.MaxProtected != nil {
		d.num("max-protected-backups", int64(*st.MaxProtected))
	}
	if len(st.Nodes) > 0 {
		d.str("nodes", strings.Join(st.Nodes, ","))
	}
	if st.Shared {
		d.num("shared", 1)
	}
	if st.Disable {
		d.num("disable", 1)
	}
	d.close()
}

func storageList(c *call) error {
	digest := c.s.storageDigest()
	d := c.data().list()
	for _, st := range c.s.w.Storages {
		if t := c.param("type"); t != "" && t != st.Type || c.s.needAny(c.who, onStorage(st.ID), "Datastore.Audit", "Datastore.AllocateSpace") != nil {
			continue
		}
		d.storageConfig(st, digest)
	}
	d.end()
	return nil
}

func storageGet(c *call) error {
	st := c.s.storages[c.param("storage")]
	if st == nil {
		return fail("storage '%s' does not exist", c.param("storage"))
	}
	c.data().storageConfig(st, c.s.storageDigest())
	return nil
}

// state writes what a storage's status is on a node, without opening or closing.
func (s *Sim) state(d *doc, n *node, st *storage) {
	d.str("type", st.Type).str("content", strings.Join(st.Content, ",")).flag("enabled", !st.Disable).flag("shared", st.Shared)
	var p *place
	if !st.Disable {
		p, _ = s.place(n, st)
	}
	if p == nil {
		d.num("active", 0).num("total", 0).num("used", 0).num("avail", 0)
		return
	}
	d.num("active", 1).num("total", p.total).num("used", p.used()).num("avail", p.avail())
}

func nodeStorages(c *call) error {
	s := c.s
	d := c.data().list()
	want := splitList(c.param("content"))
	for _, st := range s.w.Storages {
		if !st.on(c.node.Name) || s.needAny(c.who, onStorage(st.ID), "Datastore.Audit", "Datastore.AllocateSpace") != nil {
			continue
		}
		if id := c.param("storage"); id != "" && id != st.ID || c.flag("enabled") && st.Disable {
			continue
		}
		if len(want) > 0 {
			any := false
			for _, w := range want {
				any = any || st.holds(w)
			}
			if !any {
				continue
			}
		}
		d.open().str("storage", st.ID)
		s.state(d, c.node, st)
		if p, err := s.place(c.node, st); err == nil && !st.Disable && p.total > 0 {
			d.float("used_fraction", float64(p.used())/float64(p.total))
		}
		d.close()
	}
	d.end()
	return nil
}

func storageStatus(c *call) error {
	st := c.s.storages[c.param("storage")]
	if st == nil {
		return fail("storage '%s' does not exist", c.param("storage"))
	}
	if !st.on(c.node.Name) {
		return fail("storage '%s' is not available on node '%s'", st.ID, c.node.Name)
	}
	d := c.data().open()
	c.s.state(d, c.node, st)
	d.close()
	return nil
}
