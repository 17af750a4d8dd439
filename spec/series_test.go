package spec

import (
	"slices"
	"testing"
)

// The names of an object are those by which it is called or was called, and no others.
func TestNames(t *testing.T) {
	for _, o := range []Object{
		{Ref: Ref{KindRestore, "web"}}, {Ref: Ref{KindRestore, "web"}, Was: "www"},
		{Ref: Ref{KindSnapshot, "hourly"}, Was: "daily"}, {Ref: Ref{KindSnapshot, "hourly/web"}}, {Ref: Ref{KindSnapshot, "hourly/web"}, Was: "daily"},
	} {
		for _, kind := range []string{"restores", "snapshots"} {
			for _, name := range []string{"web", "www", "hourly", "daily", "hourly/web", "daily/web", "hourly/www", "daily/www", "web/web"} {
				name = kind + "/" + name
				if want := o.Called(name) || o.Had(name); slices.Contains(o.Names(), name) != want {
					t.Errorf("%s, earlier %q: %v has %s, want %v", o.Ref, o.Was, o.Names(), name, want)
				}
			}
		}
	}
}
