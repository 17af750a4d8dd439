package pvesim

import (
	"path"
	"strings"
	"time"
)

// Plug plugs the disk with a file system's UUID in. Where its old device name is still
// in use it gets the next free one.
func (s *Sim) Plug(uuid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	for _, n := range s.w.Nodes {
		for _, d := range n.Disks {
			if d.UUID != uuid || !d.Absent {
				continue
			}
			d.Absent = false
			d.Instance++
			if d.Device == "" || s.inUse(n, d.Device) {
				d.Device = s.freeDevice(n)
			}
		}
	}
}

func (s *Sim) inUse(n *node, device string) bool {
	for _, m := range n.Mounts {
		if m.Device == device {
			return true
		}
	}
	for _, d := range n.Disks {
		if !d.Absent && d.Device == device {
			return true
		}
	}
	for _, g := range s.w.Guests {
		for _, h := range g.Holds {
			if g.Running && h.Source == device {
				return true
			}
		}
	}
	return false
}

func (s *Sim) freeDevice(n *node) string {
	for c := 'b'; c <= 'z'; c++ {
		if dev := "/dev/sd" + string(c) + "1"; !s.inUse(n, dev) {
			return dev
		}
	}
	return "/dev/sdaa1"
}

// flushAge is how long a written archive waits in memory for the kernel to write it out.
const flushAge = 30 * time.Second

// Unplug pulls the disk with a file system's UUID out. What was mounted stays mounted
// and goes on showing what the page cache has; an archive that was written within the
// last seconds and not synced is gone from the disk, one that was written within half a
// minute is cut off. systemd unmounts what a line in the fstab describes, unless
// something is still writing there.
func (s *Sim) Unplug(uuid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	for _, n := range s.w.Nodes {
		for _, d := range n.Disks {
			if d.UUID != uuid || d.Absent {
				continue
			}
			for _, m := range n.Mounts {
				if m.UUID == uuid && m.Ghost == nil {
					m.Ghost = d.copy()
				}
			}
			d.lose(s.now)
			d.Absent = true
			for _, f := range n.fstabLines() {
				if spec := strings.Trim(f[0], `"`); spec != "UUID="+uuid && (d.Label == "" || spec != "LABEL="+d.Label) {
					continue
				}
				if m := n.mountAt(f[1]); m.Target == path.Clean(f[1]) && m.UUID == uuid {
					_ = s.unmount(n, m.Target, false)
				}
			}
		}
	}
}

// Hang makes the disk with a file system's UUID answer no more, or again: a program that
// reads it hangs until it is killed. What is cached of a mounted one is still there.
func (s *Sim) Hang(uuid string, hangs bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.w.Nodes {
		for _, d := range n.Disks {
			if d.UUID == uuid {
				d.Hangs = hangs
			}
		}
	}
}

// copy is the disk as it is now.
func (d *disk) copy() *disk {
	c := *d
	c.Dirs = make(map[string]store, len(d.Dirs))
	for dir, items := range d.Dirs {
		c.Dirs[dir] = make(store, len(items))
		for name, v := range items {
			w := *v
			c.Dirs[dir][name] = &w
		}
	}
	c.Folders = append([]string(nil), d.Folders...)
	return &c
}

// lose is what a pulled disk does not have of what was written last.
func (d *disk) lose(now time.Time) {
	for _, items := range d.Dirs {
		for name, v := range items {
			if v.Noted != nil && now.Sub(*v.Noted) < flushAge {
				v.Notes = v.OldNotes
			}
			v.Noted, v.OldNotes = nil, ""
			if v.Written == nil {
				continue
			}
			switch age := now.Sub(*v.Written); {
			case age < 5*time.Second:
				delete(items, name)
			case age < flushAge:
				v.Whole, v.Notes = v.Size, "" // a file of their own, written last
				v.Size = v.Size * 13 / 35
			}
			v.Written = nil
		}
	}
}
