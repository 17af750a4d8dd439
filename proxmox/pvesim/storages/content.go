package storages

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/jsontext"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// archiveTime is when an archive was made: by its name in the node's zone, else by its
// file. Of a time that the clocks show twice it is the earlier (Perl: Time::Local,
// "Ambiguous Local Times").
func archiveTime(n *world.Node, name string, v *world.Volume) int64 {
	const form = "2006_01_02-15_04_05"
	if m := world.DumpRE.FindStringSubmatch(name); m != nil && world.StampRE.MatchString(m[3]) {
		if t, err := time.ParseInLocation(form, m[3], n.Location); err == nil {
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
	return world.StampRE.MatchString(stamp) && err != nil
}

// Standard reports whether an archive bears a name that vzdump gives.
func Standard(name string) bool {
	m := world.DumpRE.FindStringSubmatch(name)
	return m != nil && world.StampRE.MatchString(m[3])
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// ListVolumes lists what a storage holds; what the caller may not see is left out in silence.
func ListVolumes(c *request.Call) error {
	cl := c.Cluster
	st, err := places.StorageOn(cl, c.Node, c.Param("storage"))
	if err != nil {
		return err
	}
	p, err := places.Of(cl, c.Node, st)
	if err != nil {
		return err
	}
	path := rights.OnStorage(st.ID)
	allocate, audit, space := cl.Rights.Can(c.Who, path, "Datastore.Allocate"), cl.Rights.Can(c.Who, path, "Datastore.Audit"), cl.Rights.Can(c.Who, path, "Datastore.AllocateSpace")
	only, want := 0, c.Param("content")
	if v := c.Param("vmid"); v != "" {
		only = notation.Atoi(v)
	}
	d := c.Data().List()
	for _, name := range slices.Sorted(maps.Keys(p.Items)) {
		v := p.Items[name]
		kind, owner, err := st.KindOf(name)
		if err != nil {
			continue
		}
		listed, allowed := owner, owner // PVE lists by one pattern, and asks for rights by another (PVE: Storage::Plugin)
		if kind == "backup" && p.Datastore == nil {
			listed, allowed = 0, 0
			if m := world.OwnedRE.FindStringSubmatch(name); m != nil {
				listed = notation.Atoi(m[1])
			}
			if m := world.OurDumpRE.FindStringSubmatch(name); m != nil {
				allowed = notation.Atoi(m[2])
			}
		}
		shown := kind
		if kind == "images" {
			if g := cl.Guests[owner]; g != nil && !g.Qemu {
				shown = "rootdir"
			}
			if v.Format == "subvol" {
				shown = "rootdir"
			}
		}
		if want != "" && want != shown || want == "" && !st.Holds(kind) && !st.Holds(shown) || only != 0 && only != listed {
			continue
		}
		switch {
		case allocate:
		case kind == "backup" && !(space && allowed != 0 && cl.Rights.Can(c.Who, rights.OnVM(allowed), "VM.Backup")),
			kind == "images" && !(audit && cl.Rights.Can(c.Who, rights.OnVM(owner), "VM.Config.Disk")),
			(kind == "vztmpl" || kind == "iso" || kind == "snippets") && !space && !audit:
			continue
		}
		if p.Datastore != nil {
			listSnapshot(c, d, st, name, v)
			continue
		}
		listVolume(d, c.Node, st, name, shown, v)
	}
	d.End()
	return nil
}

// listVolume writes one entry of a storage's contents; shown is its content type.
func listVolume(d *jsontext.Doc, n *world.Node, st *world.Storage, name, shown string, v *world.Volume) {
	kind, owner, _ := st.KindOf(name)
	d.Open().Str("volid", st.ID+":"+name).Str("content", shown).Num("size", v.Size)
	switch kind {
	case "backup":
		m := world.ArchiveRE.FindStringSubmatch(name)
		d.Num("ctime", archiveTime(n, name, v)).Str("format", m[2])
		subtype := "unknown"
		if dm := world.OurDumpRE.FindStringSubmatch(name); dm != nil && !impossible(dm[3]) {
			subtype = dm[1]
		}
		if m := world.OwnedRE.FindStringSubmatch(name); m != nil {
			d.Num("vmid", int64(notation.Atoi(m[1])))
		}
		d.Str("subtype", subtype)
		if v.Notes != "" {
			d.Str("notes", firstLine(v.Notes))
		}
		if v.Protected {
			d.Num("protected", 1)
		}
	case "images":
		d.Str("format", v.Format).Num("vmid", int64(owner))
		switch st.Type { // measured, libpve-storage 9.1.7
		case "lvmthin":
			d.Str("ctime", strconv.FormatInt(v.Created, 10))
		case "zfspool":
			d.Str("name", name).Null("parent")
		default:
			d.Num("ctime", v.Created).Num("used", v.Used).Null("parent")
		}
	default:
		format := name[strings.LastIndexByte(name, '.')+1:]
		if short, ok := map[string]string{"gz": "tgz", "xz": "txz", "zst": "tzst"}[format]; ok && kind == "vztmpl" {
			format = short
		}
		d.Num("ctime", v.Created).Str("format", format)
	}
	d.Close()
}

// volumeOf is the volume of the path, as full ID or the part after the colon.
func volumeOf(c *request.Call) (volid, name string, st *world.Storage, err error) {
	volid = c.Param("volume")
	id := c.Param("storage")
	if !strings.HasPrefix(volid, id+":") {
		if head, _, ok := strings.Cut(volid, ":"); ok && schema.StorageRE.MatchString(head) && !strings.Contains(head, "/") {
			return "", "", nil, refusal.BadParam("volume", "storage ID mismatch ("+head+" != "+id+")\n")
		}
		volid = id + ":" + volid
	}
	name = volid[len(id)+1:]
	if st = c.Cluster.Storages[id]; st == nil {
		return "", "", nil, refusal.Fail("storage '%s' does not exist", id)
	}
	return volid, name, st, nil
}

// GetVolume answers GET /nodes/{node}/storage/{storage}/content/{volume+}.
func GetVolume(c *request.Call) error {
	volid, name, st, err := volumeOf(c)
	if err != nil {
		return err
	}
	v, err := accessible(c, volid, name, st)
	if err != nil {
		return err
	}
	kind, _, _ := st.KindOf(name)
	used := (v.Size + 4095) / 4096 * 4096
	d := c.Data().Open().Str("path", st.PathOf(name))
	if kind == "images" {
		d.Num("size", v.Size).Num("used", v.Used).Str("format", v.Format).Close()
		return nil
	}
	size := v.Size
	if !strings.HasSuffix(name, ".tar") {
		size = used
	}
	d.Num("size", size).Num("used", used).Str("format", "raw")
	if kind == "backup" {
		d.Str("notes", v.Notes).Flag("protected", v.Protected)
	}
	d.Close()
	return nil
}

// accessible is a volume that exists and that the caller may use.
func accessible(c *request.Call, volid, name string, st *world.Storage) (*world.Volume, error) {
	kind, _, err := st.KindOf(name)
	if err != nil {
		return nil, err
	}
	if err := VolumeAccess(c.Cluster, c.Who, 0, volid, kind); err != nil {
		return nil, err
	}
	v, _, err := places.Find(c.Cluster, c.Node, volid)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, refusal.Fail("volume_size_info on '%s' failed - no format", volid)
	}
	return v, nil
}

// SetVolume sets the notes and the protection of an archive.
func SetVolume(c *request.Call) error {
	volid, name, st, err := volumeOf(c)
	if err != nil {
		return err
	}
	kind, owner, err := st.KindOf(name)
	if err != nil {
		return err
	}
	if err := VolumeAccess(c.Cluster, c.Who, 0, volid, kind); err != nil {
		return err
	}
	switch {
	case kind == "backup":
	case c.Has("notes") && st.IsDir():
		return refusal.Fail("only backups can have notes")
	case c.Has("notes"):
		return refusal.Fail("attribute 'notes' is not supported for storage type '%s'", st.Type)
	case c.Has("protected") && st.IsDir():
		return refusal.Fail("only backups support attribute 'protected'")
	case c.Has("protected"):
		return refusal.Fail("attribute 'protected' is not supported for storage type '%s'", st.Type)
	}
	v, p, err := places.Find(c.Cluster, c.Node, volid)
	if err != nil {
		return err
	}
	if p.Datastore != nil && v == nil {
		return p.Missing(volid)
	}
	if err := p.Refuses(name, world.Writes); err != nil {
		return refusal.Fail("%s", err.Error())
	}
	if v == nil { // a file of notes, beside an archive that is not there
		return nil
	}
	if kind == "backup" && c.Flag("protected") && !v.Protected && !c.Cluster.Rights.Can(c.Who, rights.OnStorage(st.ID), "Datastore.Allocate") {
		limit := 5
		if st.MaxProtected != nil {
			limit = *st.MaxProtected
		}
		count := 0
		for other, o := range p.Items {
			if _, id, _ := st.KindOf(other); id == owner && o.Protected {
				count++
			}
		}
		if limit >= 0 && count >= limit {
			return refusal.Fail("The number of protected backups per guest is limited to %d on storage '%s'", limit, st.ID)
		}
	}
	if notes, ok := c.Params["notes"]; ok {
		cl := c.Cluster
		if v.Noted == nil {
			v.OldNotes = v.Notes
		}
		at := cl.Now
		if v.Notes, v.Noted = notes, &at; p.Datastore != nil {
			v.Noted = nil // the server has it
		}
	}
	if c.Has("protected") {
		v.Protected = c.Flag("protected")
	}
	return nil
}

// DeleteVolume answers DELETE /nodes/{node}/storage/{storage}/content/{volume+}.
func DeleteVolume(c *request.Call) error {
	cl := c.Cluster
	volid, name, st, err := volumeOf(c)
	if err != nil {
		return err
	}
	kind, owner, err := st.KindOf(name)
	if err != nil {
		return err
	}
	if kind == "backup" && owner != 0 {
		if err := cl.Rights.Need(c.Who, rights.OnStorage(st.ID), "Datastore.AllocateSpace"); err != nil {
			return err
		}
		if err := cl.Rights.Need(c.Who, rights.OnVM(owner), "VM.Backup"); err != nil {
			return err
		}
	} else if err := cl.Rights.Need(c.Who, rights.OnStorage(st.ID), "Datastore.Allocate"); err != nil {
		return err
	}
	if _, err := places.StorageOn(cl, c.Node, st.ID); err != nil {
		return err
	}
	id := st.ID
	if owner != 0 {
		id = strconv.Itoa(owner) + "@" + st.ID
	}
	t := cl.Start(c.Node, "imgdel", id, c.Who.ID, 0, map[string]string{"volid": volid})
	if v := c.Param("delay"); v != "" {
		if err := cl.SleepUntil(c.Ctx, cl.Now.Add(time.Duration(notation.Atoi(v))*time.Second), func() bool { return t.End != 0 }); err != nil {
			return err
		}
		if t.End != 0 {
			if t.Status != "OK" {
				return refusal.Fail("%s", t.Status)
			}
			return nil
		}
	}
	return c.Started(t)
}

// RunDelete runs imgdel.
func RunDelete(cl *cluster.Cluster, t *world.Task) error {
	if t.Phase == 0 {
		volid := t.Args["volid"]
		v, p, err := places.Find(cl, t.Node, volid)
		if err != nil {
			return err
		}
		if v != nil && v.Protected {
			_, name, _ := strings.Cut(volid, ":")
			return fmt.Errorf("cannot remove protected volume '%s' on '%s'", name, p.Storage.ID)
		}
		return cl.Then(t, 1)
	}
	lines, err := places.Free(cl, t.Node, t.Args["volid"])
	if err != nil {
		return err
	}
	t.Log = append(t.Log, lines...)
	t.Logf("Removed volume '%s'", t.Args["volid"])
	return cluster.ErrDone
}
