package spec

import (
	"maps"
	"slices"
	"strings"
)

// LastBackups are the backups, by name, to whose storages the last backup of a guest may go
// before it is deleted: those that name it, or name all.
func (d *Desired) LastBackups(guest string) []*Backup {
	var all []*Backup
	for _, b := range d.Backups {
		if !slices.Contains(b.Except, guest) && (b.All || slices.Contains(b.Guests, guest)) {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(a, b *Backup) int { return strings.Compare(a.Ref.Name, b.Ref.Name) })
	return all
}

// AllGuests are the restores by name, then the guests by name. Nobody changes the list.
func (d *Desired) AllGuests() []*Guest {
	if d.guests != nil {
		return d.guests
	}
	all := make([]*Guest, 0, len(d.Restores)+len(d.Guests))
	for _, guests := range []map[string]*Guest{d.Restores, d.Guests} {
		for _, name := range slices.Sorted(maps.Keys(guests)) {
			all = append(all, guests[name])
		}
	}
	return all
}

// With is a copy in which a restore or guest stands in the place of the one of its name.
func (d *Desired) With(g *Guest) *Desired {
	with := *d
	with.Restores, with.Guests, with.guests = maps.Clone(d.Restores), maps.Clone(d.Guests), nil
	if g.Adopt {
		with.Guests[g.Ref.Name] = g
	} else {
		with.Restores[g.Ref.Name] = g
	}
	return &with
}

// Guest is the restore or guest of that name, nil where none is declared.
func (d *Desired) Guest(name string) *Guest {
	if g := d.Restores[name]; g != nil {
		return g
	}
	return d.Guests[name]
}

// BacksUp reports whether the backup covers a guest; see BackupGuests.
func (d *Desired) BacksUp(b *Backup, guest string) bool {
	if slices.Contains(b.Except, guest) {
		return false
	}
	if g := d.Guest(guest); g != nil && g.Absent {
		return false
	}
	return b.All && d.Guest(guest) != nil || !b.All && slices.Contains(b.Guests, guest)
}

// BackupGuests are the names of the guests that the backup covers, sorted:
// those it lists, or all restores and guests (goldens excepted), without
// those under except and those that are to be deleted.
func (d *Desired) BackupGuests(b *Backup) []string {
	var names []string
	if b.All {
		all := d.AllGuests()
		names = make([]string, 0, len(all))
		for _, g := range all {
			names = append(names, g.Ref.Name)
		}
	} else {
		names = slices.Clone(b.Guests)
	}
	names = slices.DeleteFunc(names, func(s string) bool {
		g := d.Guest(s)
		return slices.Contains(b.Except, s) || g != nil && g.Absent
	})
	slices.Sort(names)
	return names
}
