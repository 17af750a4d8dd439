package world

import (
	"time"
)

// A Disk is one file system, plugged in or not.
type Disk struct {
	UUID      string           `yaml:"uuid,omitempty"` // none: no file system that could be mounted
	Label     string           `yaml:"label,omitempty"`
	FS        string           `yaml:"fs,omitempty"`
	Device    string           `yaml:"device,omitempty"`
	Absent    bool             `yaml:"absent,omitempty"`
	Instance  int              `yaml:"instance,omitempty"` // how often it was plugged in
	Size      int64            `yaml:"size"`
	Used      int64            `yaml:"used,omitempty"` // besides what storages keep on it
	Model     string           `yaml:"model,omitempty"`
	Serial    string           `yaml:"serial,omitempty"`
	WWN       string           `yaml:"wwn,omitempty"`
	Transport string           `yaml:"transport,omitempty"`
	Member    string           `yaml:"member,omitempty"`  // UUID_SUB of a btrfs; one of its own unless given
	Left      []string         `yaml:"left,omitempty"`    // file systems whose signatures are on it too: blkid cannot tell which it is
	Holders   []string         `yaml:"holders,omitempty"` // what the kernel built on it
	Failing   bool             `yaml:"failing,omitempty"` // SMART says so
	Hangs     bool             `yaml:"hangs,omitempty"`   // what reads it never returns
	Folders   []string         `yaml:"folders,omitempty"`
	Locked    []string         `yaml:"immutable,omitempty"` // folders with chattr +i
	Dirs      map[string]Store `yaml:"dirs,omitempty"`      // what directory storages keep, by path in this file system

	Files map[string]string `yaml:"files,omitempty"` // plain files, by path in this file system
}

// A Mount is one line of the host's mount table.
type Mount struct {
	Device   string `yaml:"device"`
	UUID     string `yaml:"uuid"`
	Instance int    `yaml:"instance,omitempty"`
	Target   string `yaml:"target"`
	FS       string `yaml:"fs"`
	Options  string `yaml:"options"`
	Ghost    *Disk  `yaml:"ghost,omitempty"` // the disk was pulled: what the page cache still shows
}

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
