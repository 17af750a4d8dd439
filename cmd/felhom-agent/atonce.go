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
		ref := refs[0]
		var guests []string
		switch ref.Kind {
		case spec.KindBackup:
			guests = want.BackupGuests(want.Backups[ref.Name])
		case spec.KindTest:
			guests = want.TestGuests(want.Tests[ref.Name])
		case spec.KindSnapshot:
			s := want.Snapshots[ref.Name]
			if s.Every == 0 {
				return nil, usagef("--now %s: it is taken once, not by a schedule; fix: felhom-agent --once --only %s", name, ref)
			}
			guests = []string{s.Guest}
		default:
			return nil, usagef("--now %s: only backups, snapshots and restore tests are made at once", name)
		}
		if guest != "" && !slices.Contains(guests, guest) {
			return nil, usagef("--now %s: %s has no guest %s, but %s", name, ref, guest, strings.Join(guests, ", "))
		}
		full := ref.String()
		if guest != "" {
			full += "/" + guest
		}
		found[full] = true
	}
	return found, nil
}
