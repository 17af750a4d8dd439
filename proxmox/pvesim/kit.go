package pvesim

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
)

// What stands on a disk besides archives: plain files, such as a recovery kit.

// plainFile is a file of a disk that is mounted on the host.
func (n *node) plainFile(name string) (text string, ok bool) {
	if m := n.mountAt(name); m == nil || m.Ghost != nil {
		return "", false
	}
	d, rel := n.inside(path.Clean(name))
	if d == nil {
		return "", false
	}
	text, ok = d.Files[rel]
	return text, ok
}

// plainNames are the names in a folder of a disk that is mounted on the host.
func (n *node) plainNames(name string) (names []string) {
	if m := n.mountAt(name); m == nil || m.Ghost != nil {
		return nil
	}
	d, rel := n.inside(path.Clean(name))
	if d == nil {
		return nil
	}
	for file := range d.Files {
		if rest, ok := strings.CutPrefix(file, strings.TrimSuffix(rel, "/")+"/"); ok {
			first, _, _ := strings.Cut(rest, "/")
			if !contains(names, first) {
				names = append(names, first)
			}
		}
	}
	sort.Strings(names)
	return names
}

// KeepKit writes a recovery kit into dir/felhom-recovery/node/name, all of it or nothing, and keeps the newest
// ones, as many as keep says.
func (h *Host) KeepKit(dir, owner, name string, files map[string][]byte, keep int) error {
	return h.locked(func(n *node) error {
		m := n.mountAt(dir)
		d, rel := n.inside(path.Clean(dir))
		switch {
		case m.Ghost != nil || d == nil:
			return fmt.Errorf("mkdir %s/felhom-recovery: input/output error", dir)
		case slices.Contains(strings.Split(m.Options, ","), "ro"):
			return fmt.Errorf("mkdir %s/felhom-recovery: read-only file system", dir)
		case n.immutable(dir) || !n.exists(dir):
			return fmt.Errorf("mkdir %s/felhom-recovery: %w", dir, fs.ErrPermission)
		}
		base := path.Join(rel, "felhom-recovery", owner)
		if d.Files == nil {
			d.Files = make(map[string]string)
		}
		for file, text := range files {
			d.Files[path.Join(base, name, file)] = string(text)
		}
		kits := n.plainNames(path.Join(dir, "felhom-recovery", owner))
		kits = slices.DeleteFunc(kits, func(kit string) bool { return !strings.HasSuffix(kit, "Z") })
		for _, old := range kits[:max(0, len(kits)-keep)] {
			for file := range d.Files {
				if strings.HasPrefix(file, path.Join(base, old)+"/") {
					delete(d.Files, file)
				}
			}
		}
		return nil
	})
}

// PutFile puts a plain file on what is mounted at the host's path name; text nil removes it. It is for stories.
func (s *Sim) PutFile(name string, text []byte) error {
	return s.Host(s.Node()).locked(func(n *node) error {
		d, rel := n.inside(path.Clean(name))
		switch {
		case d == nil || n.mountAt(name).Ghost != nil:
			return fmt.Errorf("open %s: input/output error", name)
		case text == nil:
			delete(d.Files, rel)
		default:
			if d.Files == nil {
				d.Files = make(map[string]string)
			}
			d.Files[rel] = string(text)
		}
		return nil
	})
}

// Strip is a node on which Proxmox has just been installed: of storages local and local-lvm, of users
// root@pam, no template. Call it after Reinstall.
func (s *Sim) Strip() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w.Storages = slices.DeleteFunc(s.w.Storages, func(st *storage) bool { return st.ID != "local" && st.ID != "local-lvm" })
	s.w.Access = access{Users: []*user{{ID: "root@pam", Password: "pvesim"}}}
	s.w.Pools, s.w.Jobs, s.w.Tags = nil, nil, nil
	for _, n := range s.w.Nodes {
		root := n.diskOf(n.mountAt("/"))
		root.Files = nil
		for dir := range root.Dirs {
			root.Dirs[dir] = make(store)
		}
		for id := range n.Pools {
			if id != "local-lvm" {
				delete(n.Pools, id)
			}
		}
	}
	clear(s.storages)
	s.reset()
	if err := s.index(); err != nil {
		panic("pvesim: strip: " + err.Error())
	}
}
