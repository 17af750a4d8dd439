// Package host is what root finds on the machine of a node: its files, and the programs that can be
// run there. It is what the root helper of felhom-agent meets instead of a real host.
package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Host is the machine of a simulated node.
type Host struct {
	cl   *cluster.Cluster
	node string
}

// New is the machine of a node.
func New(cl *cluster.Cluster, node string) *Host { return &Host{cl: cl, node: node} }

// locked runs f with the node of the host, the clock settled.
func (h *Host) locked(f func(n *world.Node) error) error {
	defer h.cl.Enter()()
	n := h.cl.World.Node(h.node)
	if n == nil {
		return fmt.Errorf("pvesim: there is no node %q", h.node)
	}
	return f(n)
}

// NodeName is where /etc/pve/local points.
func (h *Host) NodeName() (name string, err error) {
	err = h.locked(func(n *world.Node) error {
		name = n.Name
		if n.Local != "" {
			name = n.Local
		}
		return nil
	})
	return name, err
}

// ReadFile reads one of the host's files; fs.ErrNotExist when the simulator knows none there.
func (h *Host) ReadFile(name string) (text []byte, err error) {
	err = h.locked(func(n *world.Node) error {
		text, err = machine.ReadFile(h.cl, n, name)
		return err
	})
	return text, err
}

// ReplaceFile replaces a file whose content is still old.
func (h *Host) ReplaceFile(name string, old, new []byte) error {
	return h.locked(func(n *world.Node) error {
		now, err := machine.ReadFile(h.cl, n, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if !bytes.Equal(now, old) {
			return fmt.Errorf("%s was changed by somebody else meanwhile", name)
		}
		if name == "/etc/fstab" {
			n.Fstab = string(new)
			return nil
		}
		if strings.HasPrefix(name, "/etc/pve/") {
			return fmt.Errorf("%s: not by this way", name)
		}
		if n.Files == nil {
			n.Files = make(map[string]string)
		}
		n.Files[name] = string(new)
		return nil
	})
}

// Stat is lstat; the stamp is another one when a file was written, or a cgroup made anew.
func (h *Host) Stat(p string) (mode fs.FileMode, stamp string, err error) {
	err = h.locked(func(n *world.Node) error {
		p = path.Clean(p)
		var ok bool
		if stamp, ok = machine.TaskList(n, p); ok {
			mode = 0o640
			return nil
		}
		if stamp, ok = machine.Group(h.cl, n, p); ok {
			mode = fs.ModeDir | 0o755
			return nil
		}
		switch {
		case n.HasDevice(p):
			mode = fs.ModeDevice | 0o660
			for _, d := range n.Disks {
				if d.Device == p || world.WholeDisk(d.Device) == p {
					return nil
				}
			}
			mode |= fs.ModeCharDevice
		case n.Exists(p):
			mode = fs.ModeDir | 0o755
		default:
			if text, err := machine.ReadFile(h.cl, n, p); err == nil {
				mode, stamp = 0o644, string(text)
				return nil
			}
			return fmt.Errorf("lstat %s: %w", p, fs.ErrNotExist)
		}
		return nil
	})
	return mode, stamp, err
}

// OpenFolder finds a directory; same fails when it is no longer there.
func (h *Host) OpenFolder(p string) (same func() error, close func(), err error) {
	same = func() error {
		mode, _, err := h.Stat(p)
		if err == nil && !mode.IsDir() {
			err = fmt.Errorf("%s: it is no directory", p)
		}
		return err
	}
	return same, func() {}, same()
}

// CheckArchive finds out whether an archive is as it was written: fault is what is wrong.
func (h *Host) CheckArchive(ctx context.Context, p string) (fault, unchecked string, err error) {
	err = h.locked(func(n *world.Node) error {
		store, name := archiveAt(n, p)
		v := store[name]
		switch {
		case v == nil:
			return fmt.Errorf("open %s: %w", p, fs.ErrNotExist)
		case v.Garbage:
			fault = "its contents are not whole: unsupported format"
		case v.Whole > v.Size:
			fault = "its contents are not whole: premature end"
		}
		return nil
	})
	return fault, "", err
}

// archiveAt is what a file below the dump directory of a storage is called there; the store is nil where no disk is.
func archiveAt(n *world.Node, p string) (store world.Store, name string) {
	d, rel := n.Inside(p)
	if d == nil || n.MountAt(p).Ghost != nil {
		return nil, ""
	}
	dir, file := path.Split(rel)
	return d.Dirs[path.Clean(strings.TrimSuffix(path.Clean(dir), "dump"))], "backup/" + file
}

// runRm removes an archive behind PVE's back.
func runRm(p *process) (int, error) {
	_, rest := p.flags("")
	for _, file := range rest {
		store, name := archiveAt(p.n, file)
		if store[name] == nil {
			return p.complain(1, "rm: cannot remove '%s': No such file or directory", file), nil
		}
		delete(store, name)
	}
	return 0, nil
}

// MakeMountPoint makes sure of an empty directory, immutable where the file system knows that.
func (h *Host) MakeMountPoint(p string) (immutable bool, err error) {
	err = h.locked(func(n *world.Node) error {
		p = path.Clean(p)
		for _, m := range n.Mounts {
			if m.Target == p {
				return fmt.Errorf("%s: something is mounted there", p)
			}
		}
		d, rel := n.Inside(p)
		if d == nil || n.MountAt(p).Ghost != nil {
			return fmt.Errorf("%s: Input/output error", p)
		}
		for _, f := range d.Folders {
			if f != rel && world.Under(f, rel) {
				return fmt.Errorf("%s is not empty", p)
			}
		}
		for dir, items := range d.Dirs {
			if world.Under(dir, rel) && len(items) > 0 {
				return fmt.Errorf("%s is not empty", p)
			}
		}
		n.Mkdir(p)
		switch d.FS {
		case "ext4", "ext3", "xfs", "btrfs":
			if !slices.Contains(d.Locked, rel) {
				d.Locked = append(d.Locked, rel)
			}
			immutable = true
		}
		return nil
	})
	return immutable, err
}

// SyncFS writes out the file system that a path lies on.
func (h *Host) SyncFS(p string) error {
	return h.locked(func(n *world.Node) error {
		if n.MountAt(p).Ghost != nil {
			return fmt.Errorf("syncfs %s: Input/output error", p)
		}
		if d, _ := n.Inside(p); d != nil {
			d.Sync()
		}
		return nil
	})
}

// Exclusive fails while a mount of the host or of a guest holds the device.
func (h *Host) Exclusive(device string) error {
	return h.locked(func(n *world.Node) error {
		if !n.HasDevice(device) {
			return fmt.Errorf("open %s: %w", device, fs.ErrNotExist)
		}
		for _, m := range n.Mounts {
			if m.Device == device {
				return fmt.Errorf("open %s: device or resource busy", device)
			}
		}
		for _, g := range h.cl.World.Guests {
			for _, hold := range g.Holds {
				if g.Node == n.Name && g.Running && hold.Source == device {
					return fmt.Errorf("open %s: device or resource busy", device)
				}
			}
		}
		return nil
	})
}

// SealRootfs takes the machine's identity out of a container that `pct mount` mounted.
// What is left depends on nothing but what was there; sealing twice is sealing once.
func (h *Host) SealRootfs(_ context.Context, p string) (done []string, err error) {
	err = h.locked(func(n *world.Node) error {
		id := strings.TrimSuffix(strings.TrimPrefix(path.Clean(p), "/var/lib/lxc/"), "/rootfs")
		g := h.cl.Guests[notation.Atoi(id)]
		if g == nil || g.Node != n.Name || !g.Mounted || path.Clean(p) != "/var/lib/lxc/"+id+"/rootfs" {
			return fmt.Errorf("%s: there is no root file system of a container", p)
		}
		m, err := lxcconf.ParseMountPoint("rootfs", g.Conf.Vals["rootfs"])
		if err != nil {
			return err
		}
		v, _, err := places.Find(h.cl, n, m.Volid())
		if err != nil {
			return err
		}
		if v == nil {
			return fmt.Errorf("volume '%s' does not exist", m.Volid())
		}
		if !strings.HasSuffix(v.Data, sealed) {
			v.Data = strings.TrimSuffix(v.Data, "*") + sealed
			done = append(done, "machine-id is empty", "6 SSH host key files are gone", "new SSH host keys are made at the first boot")
		}
		return nil
	})
	return done, err
}

// sealed ends the fingerprint of what was sealed: the next start is a first one.
const sealed = "^*"
