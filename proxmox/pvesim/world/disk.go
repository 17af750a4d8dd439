package world

import (
	"time"
)

// Sync has everything on the disk.
func (d *Disk) Sync() {
	for _, items := range d.Dirs {
		for _, v := range items {
			v.Written, v.Noted, v.OldNotes = nil, nil, ""
		}
	}
}

// flushAge is how long a written archive waits in memory for the kernel to write it out.
const flushAge = 30 * time.Second

// Copy is the disk as it is now.
func (d *Disk) Copy() *Disk {
	c := *d
	c.Dirs = make(map[string]Store, len(d.Dirs))
	for dir, items := range d.Dirs {
		c.Dirs[dir] = make(Store, len(items))
		for name, v := range items {
			w := *v
			c.Dirs[dir][name] = &w
		}
	}
	c.Folders = append([]string(nil), d.Folders...)
	return &c
}

// Lose is what a pulled disk does not have of what was written last.
func (d *Disk) Lose(now time.Time) {
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

// Taken is the room on a file system that is not free.
func (d *Disk) Taken() int64 {
	used := d.Used
	for _, items := range d.Dirs {
		for _, v := range items {
			used += v.Occupies()
		}
	}
	return min(used, d.Size)
}

// Free is the room that is left, in bytes.
func (d *Disk) Free() int64 { return max(0, d.Size-d.Taken()) }
