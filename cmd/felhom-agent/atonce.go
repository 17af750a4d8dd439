package main

import (
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/spec"
)

// madeNow finds what --now names: backups, backups of one guest, and periodic snapshots, by their full names.
func madeNow(want *spec.Desired, names []string) (map[string]bool, error) {
	found := map[string]bool{}
	for _, name := range names {
		object, guest := name, ""
		if kind, rest, ok := strings.Cut(name, "/"); ok {
			if first, second, more := strings.Cut(rest, "/"); more {
				object, guest = kind+"/"+first, second
			}
		}
		refs, err := named(want, "--now", []string{object})
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			full, err := madeOf(want, name, ref, guest, len(refs) > 1)
			if err != nil {
				return nil, err
			}
			if full != "" {
				found[full] = true
			}
		}
	}
	return found, nil
}

// madeOf is what is made at once of an object: all of it, or the part of one guest. Of a series with one object per guest
// it is "" for those of other guests.
func madeOf(want *spec.Desired, name string, ref spec.Ref, guest string, series bool) (string, error) {
	var guests []string
	switch ref.Kind {
	case spec.KindBackup:
		guests = want.BackupGuests(want.Backups[ref.Name])
	case spec.KindTest:
		guests = want.TestGuests(want.Tests[ref.Name])
	case spec.KindSnapshot:
		s := want.Snapshots[ref.Name]
		if s.Every == 0 {
			return "", usagef("--now %s: it is taken once, not by a schedule; fix: felhom-agent --once --only %s", name, ref)
		}
		guests = []string{s.Guest}
	default:
		return "", usagef("--now %s: only backups, snapshots and restore tests are made at once", name)
	}
	switch {
	case guest == "" || strings.HasSuffix(ref.Name, "/"+guest):
		return ref.String(), nil
	case slices.Contains(guests, guest):
		return ref.String() + "/" + guest, nil
	case series && want.Snapshots[want.Object(ref).Series()+"/"+guest] != nil:
		return "", nil
	}
	return "", usagef("--now %s: %s has no guest %s, but %s", name, ref, guest, strings.Join(guests, ", "))
}

// madeIn is the object of what is made at once.
func madeIn(want *spec.Desired, name string) spec.Ref {
	kind, object, _ := strings.Cut(name, "/")
	ref := spec.Ref{Kind: spec.Kind(kind), Name: object}
	if want.Object(ref) == nil { // a guest of it
		ref.Name, _, _ = strings.Cut(object, "/")
	}
	return ref
}
