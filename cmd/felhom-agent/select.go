package main

import (
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/spec"
)

// A selection is what --only means.
type selection struct {
	refs    []spec.Ref
	fitting []spec.Ref // of these, those that fit a kind or a glob: they count as looked at, not as named
}

// selected finds the objects that --only names: names and lists of them (web,dns), kinds (guests) and globs
// (restores/svc-*).
func selected(want *spec.Desired, typed []string) (s selection, err error) {
	add := func(refs []spec.Ref, fits bool) {
		for _, ref := range refs {
			if i := slices.Index(s.fitting, ref); i >= 0 && !fits {
				s.fitting = slices.Delete(s.fitting, i, i+1)
			}
			if !slices.Contains(s.refs, ref) {
				s.refs = append(s.refs, ref)
				if fits {
					s.fitting = append(s.fitting, ref)
				}
			}
		}
	}
	for _, list := range typed {
		for name := range strings.SplitSeq(list, ",") {
			if !pattern(name) {
				refs, err := named(want, "--only", []string{name})
				if err != nil {
					return selection{}, err
				}
				add(refs, false)
				continue
			}
			fits := slices.DeleteFunc(want.Refs(), func(ref spec.Ref) bool { return !fitting(name, ref) })
			if len(fits) == 0 {
				return selection{}, usagef("--only %s: nothing that is declared fits it", name)
			}
			add(fits, true)
		}
	}
	return s, nil
}

// pattern reports whether a name is a kind or a glob.
func pattern(name string) bool {
	return slices.Contains(spec.Kinds(), spec.Kind(name)) || strings.ContainsAny(name, "*?[")
}

// fitting reports whether an object is of the kind that a pattern names, or fits its glob. A glob without a kind is
// compared with the name alone.
func fitting(pattern string, ref spec.Ref) bool {
	if spec.Kind(pattern) == ref.Kind {
		return true
	}
	if strings.Contains(pattern, "/") {
		series, _, _ := strings.Cut(ref.Name, "/")
		whole, _ := path.Match(pattern, ref.String())
		part, _ := path.Match(pattern, spec.Ref{Kind: ref.Kind, Name: series}.String())
		return whole || part
	}
	fits, _ := path.Match(pattern, ref.Name)
	return fits
}

// named finds the objects that a flag names: restores/web, or web where that fits exactly one.
func named(want *spec.Desired, flag string, names []string) ([]spec.Ref, error) {
	var only []spec.Ref
	for _, name := range names {
		var fits []spec.Ref
		for _, ref := range want.Refs() {
			if o := want.Object(ref); o.Called(name) || ref.Name == name || o.Series() == name {
				fits = append(fits, ref)
			}
		}
		switch {
		case len(fits) == 1 || len(fits) > 1 && oneSeries(want, fits):
			only = append(only, fits...)
		case len(fits) == 0:
			return nil, usagef("%s %s: nothing of that name is declared%s", flag, name, config.Nearest(name, slices.Values(likely(want.Refs(), name))))
		default:
			return nil, usagef("%s %s fits %s: say which", flag, name, strings.Join(labels(fits), ", "))
		}
	}
	return only, nil
}

// oneSeries reports whether objects are what one name of the YAML stands for, one object per guest.
func oneSeries(want *spec.Desired, refs []spec.Ref) bool {
	return !slices.ContainsFunc(refs, func(ref spec.Ref) bool {
		return ref.Kind != refs[0].Kind || want.Object(ref).Series() != want.Object(refs[0]).Series()
	})
}

// likely are the names among which a mistyped one is sought: short ones for a short one.
func likely(refs []spec.Ref, name string) []string {
	all := labels(refs)
	if strings.Contains(name, "/") {
		return all
	}
	var short []string
	for _, ref := range refs {
		short = append(short, ref.Name)
	}
	if spec.Nearest(name, short) == "" {
		return all
	}
	return short
}

func labels(refs []spec.Ref) []string {
	var all []string
	for _, ref := range refs {
		all = append(all, ref.String())
	}
	return all
}
