package storages

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/jsontext"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
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
	d.B = slices.Grow(d.B, 128*len(p.Items))
	for _, name := range slices.Sorted(maps.Keys(p.Items)) {
		v := p.Items[name]
		kind, owner, err := st.KindOf(name)
		if err != nil {
			continue
		}
		listed, allowed := owner, owner
		if kind == "backup" && p.Datastore == nil {
			listed, allowed = owners(name)
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
		listVolume(d, c.Node, st, v, named{name: name, kind: kind, shown: shown, owner: owner})
	}
	d.End()
	return nil
}

// owners are the guests of an archive in a folder: PVE lists by one pattern, and asks for rights by another. PVE: Storage::Plugin.
func owners(name string) (listed, allowed int) {
	if m := world.OwnedRE.FindStringSubmatch(name); m != nil {
		listed = notation.Atoi(m[1])
	}
	if m := world.OurDumpRE.FindStringSubmatch(name); m != nil {
		allowed = notation.Atoi(m[2])
	}
	return listed, allowed
}

// named is what a volume's name says.
type named struct {
	name, kind string
	shown      string // its content type in a list
	owner      int
}

// listVolume writes one entry of a storage's contents.
func listVolume(d *jsontext.Doc, n *world.Node, st *world.Storage, v *world.Volume, its named) {
	name := its.name
	d.Open().Str("volid", st.ID+":"+name).Str("content", its.shown).Num("size", v.Size)
	switch its.kind {
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
		d.Str("format", v.Format).Num("vmid", int64(its.owner))
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
		if short, ok := map[string]string{"gz": "tgz", "xz": "txz", "zst": "tzst"}[format]; ok && its.kind == "vztmpl" {
			format = short
		}
		d.Num("ctime", v.Created).Str("format", format)
	}
	d.Close()
}
