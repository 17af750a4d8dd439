package node

import (
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// Index arranges what the storages hold by volume and by guest. It is made once,
// when all that a look reads has been read.
func (o *Observed) Index(want *spec.Desired) {
	if o.ByID != nil {
		return
	}
	volumes := 0
	for _, state := range o.Storages {
		volumes += len(state.Content)
	}
	all := make([]*proxmox.StorageContent, 0, volumes)
	objects := make([]string, 0, volumes) // whose marker their notes bear, of this owner
	o.ByID = make(map[string]*proxmox.StorageContent, volumes)
	o.Checkable = map[string]bool{}
	o.Listed = map[string]time.Time{}
	o.marks = make(map[string]noted, volumes)
	for _, id := range text.Keys(o.Storages) {
		content := o.Storages[id].Content
		for i := range content {
			v := &content[i]
			all = append(all, v)
			m, ok := o.mark(v.Notes)
			if ok = ok && m.Owner == o.Owner; ok {
				objects = append(objects, text.OrElse(m.Facts["guest"], m.Object))
			} else {
				objects = append(objects, "")
			}
			if right := rightTime(o, *v); v.Content == "backup" && !right.Equal(v.CTime) {
				o.Listed[v.VolID], v.CTime = v.CTime, right
			}
			o.ByID[v.VolID] = v
			if o.Host != nil && v.Content == "backup" && WholenessOf(o, *v) == Unproven {
				if _, ok := CheckableFile(o, want, *v); ok {
					o.Checkable[v.VolID] = true
				}
			}
		}
	}
	o.ByGuest = grouped(all, len(o.Guests), func(i int) proxmox.VMID { return all[i].VMID })
	o.ByObject = grouped(all, len(o.Guests), func(i int) string { return objects[i] })
}

// grouped puts the volumes together that have one key, in their order. The zero key is none. Those of one key
// lie together in the lists of most storages, so most groups are parts of the whole.
func grouped[K comparable](all []*proxmox.StorageContent, most int, keyOf func(i int) K) map[K][]*proxmox.StorageContent {
	groups := make(map[K][]*proxmox.StorageContent, most)
	var none K
	for from, to := 0, 0; from < len(all); from = to {
		key := keyOf(from)
		for to++; to < len(all) && keyOf(to) == key; to++ {
		}
		if key == none {
			continue
		}
		if group := all[from:to:to]; len(groups[key]) == 0 {
			groups[key] = group
		} else {
			groups[key] = append(groups[key], group...)
		}
	}
	return groups
}

// noted is what the notes of an archive say.
type noted struct {
	marker marker.Marker
	one    bool // they bear one marker
}

// TakeIndex takes over the index of a look that saw the same on all storages. It is only read.
func TakeIndex(o, old *Observed) {
	o.ByID, o.ByGuest, o.ByObject, o.Checkable, o.Listed, o.marks = old.ByID, old.ByGuest, old.ByObject, old.Checkable, old.Listed, old.marks
}

// MarkerOf is the one marker in the notes of an archive. Notes that are listed are read once.
func (o *Observed) MarkerOf(notes string) (marker.Marker, bool) {
	if has, known := o.marks[notes]; known {
		return has.marker, has.one
	}
	return marker.OneMarker(notes)
}

func (o *Observed) mark(notes string) (marker.Marker, bool) {
	has, known := o.marks[notes]
	if !known {
		has.marker, has.one = marker.ReadOne(notes)
		o.marks[notes] = has
	}
	return has.marker, has.one
}
