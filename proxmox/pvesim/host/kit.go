package host

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

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
