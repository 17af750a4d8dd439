package pvesim

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// archiveTime is when an archive was made: by its name in the node's zone, else by its
// file. Of a time that the clocks show twice it is the earlier (Perl: Time::Local,
// "Ambiguous Local Times").
func (s *Sim) archiveTime(n *node, name string, v *volume) int64 {
	const form = "2006_01_02-15_04_05"
	if m := dumpRE.FindStringSubmatch(name); m != nil && stampRE.MatchString(m[3]) {
		if t, err := time.ParseInLocation(form, m[3], n.zone); err == nil {
			if earlier := t.Add(-time.Hour); earlier.Format(form) == m[3] {
				t = earlier
			}
			return t.Unix()
		}
	}
	return v.Created
}

// impossible reports whether a name has the form of a time and is none: 2026_02_31-10_00_00.
func impossible(stamp string) bool {
	_, err := time.Parse("2006_01_02-15_04_05", stamp)
	return stampRE.MatchString(stamp) && err != nil
}

// standard reports whether an archive bears a name that vzdump gives.
func standard(name string) bool {
	m := dumpRE.FindStringSubmatch(name)
	return m != nil && stampRE.MatchString(m[3])
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// contentList lists what a storage holds; what the caller may not see is left out in silence.
func contentList(c *call) error {
	s := c.s
	st, err := s.storageOn(c.node, c.param("storage"))
	if err != nil {
		return err
	}
	p, err := s.place(c.node, st)
	if err != nil {
		return err
	}
	path := onStorage(st.ID)
	allocate, audit, space := s.can(c.who, path, "Datastore.Allocate"), s.can(c.who, path, "Datastore.Audit"), s.can(c.who, path, "Datastore.AllocateSpace")
	only, want := 0, c.param("content")
	if v := c.param("vmid"); v != "" {
		only = atoi(v)
	}
	d := c.data().list()
	for _, name := range sortedKeys(p.items) {
		v := p.items[name]
		kind, owner, err := st.kindOf(name)
		if err != nil {
			continue
		}
		listed, allowed := owner, owner // PVE lists by one pattern, and asks for rights by another (PVE: Storage::Plugin)
		if kind == "backup" && p.datastore == nil {
			listed, allowed = 0, 0
			if m := ownedRE.FindStringSubmatch(name); m != nil {
				listed = atoi(m[1])
			}
			if m := ourDumpRE.FindStringSubmatch(name); m != nil {
				allowed = atoi(m[2])
			}
		}
		shown := kind
		if kind == "images" {
			if g := s.guests[owner]; g != nil && !g.Qemu {
				shown = "rootdir"
			}
			if v.Format == "subvol" {
				shown = "rootdir"
			}
		}
		if want != "" && want != shown || want == "" && !st.holds(kind) && !st.holds(shown) || only != 0 && only != listed {
			continue
		}
		switch {
		case allocate:
		case kind == "backup" && !(space && allowed != 0 && s.can(c.who, onVM(allowed), "VM.Backup")),
			kind == "images" && !(audit && s.can(c.who, onVM(owner), "VM.Config.Disk")),
			(kind == "vztmpl" || kind == "iso" || kind == "snippets") && !space && !audit:
			continue
		}
		if p.datastore != nil {
			c.listSnapshot(d, st, name, v)
			continue
		}
		d.open().str("volid", st.ID+":"+name).str("content", shown).num("size", v.Size)
		switch kind {
		case "backup":
			m := archiveRE.FindStringSubmatch(name)
			d.num("ctime", s.archiveTime(c.node, name, v)).str("format", m[2])
			subtype := "unknown"
			if dm := ourDumpRE.FindStringSubmatch(name); dm != nil && !impossible(dm[3]) {
				subtype = dm[1]
			}
			if listed != 0 {
				d.num("vmid", int64(listed))
			}
			d.str("subtype", subtype)
			if v.Notes != "" {
				d.str("notes", firstLine(v.Notes))
			}
			if v.Protected {
				d.num("protected", 1)
			}
		case "images":
			d.str("format", v.Format).num("vmid", int64(owner))
			switch st.Type { // measured, libpve-storage 9.1.7
			case "lvmthin":
				d.str("ctime", strconv.FormatInt(v.Created, 10))
			case "zfspool":
				d.str("name", name).null("parent")
			default:
				d.num("ctime", v.Created).num("used", v.Used).null("parent")
			}
		default:
			format := name[strings.LastIndexByte(name, '.')+1:]
			if short, ok := map[string]string{"gz": "tgz", "xz": "txz", "zst": "tzst"}[format]; ok && kind == "vztmpl" {
				format = short
			}
			d.num("ctime", v.Created).str("format", format)
		}
		d.close()
	}
	d.end()
	return nil
}

// volumeOf is the volume of the path, as full ID or the part after the colon.
func (c *call) volumeOf() (volid, name string, st *storage, err error) {
	volid = c.param("volume")
	id := c.param("storage")
	if !strings.HasPrefix(volid, id+":") {
		if head, _, ok := strings.Cut(volid, ":"); ok && storageRE.MatchString(head) && !strings.Contains(head, "/") {
			return "", "", nil, badParam("volume", "storage ID mismatch ("+head+" != "+id+")\n")
		}
		volid = id + ":" + volid
	}
	name = volid[len(id)+1:]
	if st = c.s.storages[id]; st == nil {
		return "", "", nil, fail("storage '%s' does not exist", id)
	}
	return volid, name, st, nil
}

func contentGet(c *call) error {
	volid, name, st, err := c.volumeOf()
	if err != nil {
		return err
	}
	v, err := c.accessible(volid, name, st)
	if err != nil {
		return err
	}
	kind, _, _ := st.kindOf(name)
	used := (v.Size + 4095) / 4096 * 4096
	d := c.data().open().str("path", st.path(name))
	if kind == "images" {
		d.num("size", v.Size).num("used", v.Used).str("format", v.Format).close()
		return nil
	}
	size := v.Size
	if !strings.HasSuffix(name, ".tar") {
		size = used
	}
	d.num("size", size).num("used", used).str("format", "raw")
	if kind == "backup" {
		d.str("notes", v.Notes).flag("protected", v.Protected)
	}
	d.close()
	return nil
}

// accessible is a volume that exists and that the caller may use.
func (c *call) accessible(volid, name string, st *storage) (*volume, error) {
	kind, _, err := st.kindOf(name)
	if err != nil {
		return nil, err
	}
	if err := c.s.volumeAccess(c.who, 0, volid, kind); err != nil {
		return nil, err
	}
	v, _, err := c.s.volume(c.node, volid)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, fail("volume_size_info on '%s' failed - no format", volid)
	}
	return v, nil
}

// contentPut sets the notes and the protection of an archive.
func contentPut(c *call) error {
	volid, name, st, err := c.volumeOf()
	if err != nil {
		return err
	}
	kind, owner, err := st.kindOf(name)
	if err != nil {
		return err
	}
	if err := c.s.volumeAccess(c.who, 0, volid, kind); err != nil {
		return err
	}
	switch {
	case kind == "backup":
	case c.has("notes") && st.isDir():
		return fail("only backups can have notes")
	case c.has("notes"):
		return fail("attribute 'notes' is not supported for storage type '%s'", st.Type)
	case c.has("protected") && st.isDir():
		return fail("only backups support attribute 'protected'")
	case c.has("protected"):
		return fail("attribute 'protected' is not supported for storage type '%s'", st.Type)
	}
	v, p, err := c.s.volume(c.node, volid)
	if err != nil {
		return err
	}
	if p.datastore != nil && v == nil {
		return p.missing(volid)
	}
	if err := p.refuses(name, writes); err != nil {
		return fail("%s", err.Error())
	}
	if v == nil { // a file of notes, beside an archive that is not there
		return nil
	}
	if kind == "backup" && c.flag("protected") && !v.Protected && !c.s.can(c.who, onStorage(st.ID), "Datastore.Allocate") {
		limit := 5
		if st.MaxProtected != nil {
			limit = *st.MaxProtected
		}
		count := 0
		for other, o := range p.items {
			if _, id, _ := st.kindOf(other); id == owner && o.Protected {
				count++
			}
		}
		if limit >= 0 && count >= limit {
			return fail("The number of protected backups per guest is limited to %d on storage '%s'", limit, st.ID)
		}
	}
	if notes, ok := c.params["notes"]; ok {
		s := c.s
		if v.Noted == nil {
			v.OldNotes = v.Notes
		}
		at := s.now
		if v.Notes, v.Noted = notes, &at; p.datastore != nil {
			v.Noted = nil // the server has it
		}
	}
	if c.has("protected") {
		v.Protected = c.flag("protected")
	}
	return nil
}

func contentDelete(c *call) error {
	s := c.s
	volid, name, st, err := c.volumeOf()
	if err != nil {
		return err
	}
	kind, owner, err := st.kindOf(name)
	if err != nil {
		return err
	}
	if kind == "backup" && owner != 0 {
		if err := s.need(c.who, onStorage(st.ID), "Datastore.AllocateSpace"); err != nil {
			return err
		}
		if err := s.need(c.who, onVM(owner), "VM.Backup"); err != nil {
			return err
		}
	} else if err := s.need(c.who, onStorage(st.ID), "Datastore.Allocate"); err != nil {
		return err
	}
	if _, err := s.storageOn(c.node, st.ID); err != nil {
		return err
	}
	id := st.ID
	if owner != 0 {
		id = itoa(owner) + "@" + st.ID
	}
	t := s.start(c.node, "imgdel", id, c.who.id, 0, map[string]string{"volid": volid})
	if v := c.param("delay"); v != "" {
		if err := s.sleepUntil(c.ctx, s.now.Add(time.Duration(atoi(v))*time.Second), func() bool { return t.End != 0 }); err != nil {
			return err
		}
		if t.End != 0 {
			if t.Status != "OK" {
				return fail("%s", t.Status)
			}
			return nil
		}
	}
	return c.upid(t)
}

func (s *Sim) runDelete(t *task) error {
	if t.Phase == 0 {
		volid := t.Args["volid"]
		v, p, err := s.volume(t.node, volid)
		if err != nil {
			return err
		}
		if v != nil && v.Protected {
			_, name, _ := strings.Cut(volid, ":")
			return fmt.Errorf("cannot remove protected volume '%s' on '%s'", name, p.st.ID)
		}
		return s.then(t, 1)
	}
	lines, err := s.free(t.node, t.Args["volid"])
	if err != nil {
		return err
	}
	t.Log = append(t.Log, lines...)
	t.log("Removed volume '%s'", t.Args["volid"])
	return errDone
}
