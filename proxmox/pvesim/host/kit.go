package host

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// KeepKit writes a recovery kit into dir/felhom-recovery/node/name, all of it or nothing, and keeps the newest
// ones, as many as keep says.
func (h *Host) KeepKit(dir, owner, name string, files map[string][]byte, keep int) error {
	return h.locked(func(n *world.Node) error {
		m := n.MountAt(dir)
		d, rel := n.Inside(path.Clean(dir))
		switch {
		case m.Ghost != nil || d == nil:
			return fmt.Errorf("mkdir %s/felhom-recovery: input/output error", dir)
		case slices.Contains(strings.Split(m.Options, ","), "ro"):
			return fmt.Errorf("mkdir %s/felhom-recovery: read-only file system", dir)
		case n.Immutable(dir) || !n.Exists(dir):
			return fmt.Errorf("mkdir %s/felhom-recovery: %w", dir, fs.ErrPermission)
		}
		base := path.Join(rel, "felhom-recovery", owner)
		if d.Files == nil {
			d.Files = make(map[string]string)
		}
		for file, text := range files {
			d.Files[path.Join(base, name, file)] = string(text)
		}
		kits := n.PlainNames(path.Join(dir, "felhom-recovery", owner))
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

// KeepTemplate copies a container template beside the recovery kits of dir.
func (h *Host) KeepTemplate(dir, owner, from, sha512 string, _ int64) error {
	return h.locked(func(n *world.Node) error {
		name := path.Base(from)
		v := templateAt(h.cl, n, from)
		d, rel := n.Inside(path.Clean(dir))
		switch {
		case v == nil:
			return fmt.Errorf("open %s: %w", from, fs.ErrNotExist)
		case d == nil || n.MountAt(dir).Ghost != nil || !n.Exists(dir):
			return fmt.Errorf("mkdir %s/felhom-recovery: input/output error", dir)
		case sha512 != "" && world.SHA512(v.TemplateText(name)) != sha512:
			return fmt.Errorf("its SHA-512 is another one")
		}
		if d.Files == nil {
			d.Files = make(map[string]string)
		}
		d.Files[path.Join(rel, "felhom-recovery", owner, "templates", name)] = v.TemplateText(name)
		return nil
	})
}

// templateAt is the container template whose file is at a path.
func templateAt(cl *cluster.Cluster, n *world.Node, at string) *world.Volume {
	for _, st := range cl.Storages {
		if !st.IsDir() || at != st.File("vztmpl/"+path.Base(at)) {
			continue
		}
		if d, rel := n.Inside(path.Clean(st.Path)); d != nil {
			return d.Dirs[rel]["vztmpl/"+path.Base(at)]
		}
	}
	return nil
}

// PutTemplate puts a container template on a storage of the host.
func PutTemplate(h *Host, storage, name string, v *world.Volume) error {
	return h.locked(func(n *world.Node) error {
		st := h.cl.Storages[storage]
		if st == nil || !st.IsDir() || !st.Holds("vztmpl") {
			return fmt.Errorf("storage '%s' does not support templates", storage)
		}
		putTemplate(n, st, name, v)
		return nil
	})
}

func putTemplate(n *world.Node, st *world.Storage, name string, v *world.Volume) {
	d, rel := n.Inside(path.Clean(st.Path))
	if d.Dirs == nil {
		d.Dirs = make(map[string]world.Store)
	}
	if d.Dirs[rel] == nil {
		d.Dirs[rel] = make(world.Store)
	}
	d.Dirs[rel]["vztmpl/"+name] = v
}

// PutFile puts a plain file on what is mounted at the host's path name; text nil removes it. It is for stories.
func PutFile(h *Host, name string, text []byte) error {
	return h.locked(func(n *world.Node) error {
		d, rel := n.Inside(path.Clean(name))
		switch {
		case d == nil || n.MountAt(name).Ghost != nil:
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
