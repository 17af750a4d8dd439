package spec

import (
	"slices"
	"testing"
)

// The names of an object are those that it has, and those that it and its guest had.
func TestNames(t *testing.T) {
	d := load(t, `
guests: {web: {vmid: 101, was: www}, db: {vmid: 102}}
snapshots:
  daily: {guests: all, every: 24h, was: nightly}
  one: {guest: web, every: 1h, was: first}
`)
	for ref, want := range map[Ref][]string{
		{KindGuest, "web"}:          {"guests/web", "guests/www"},
		{KindGuest, "db"}:           {"guests/db"},
		{KindSnapshot, "daily/web"}: {"snapshots/daily", "snapshots/daily/web", "snapshots/daily/www", "snapshots/nightly", "snapshots/nightly/web", "snapshots/nightly/www"},
		{KindSnapshot, "daily/db"}:  {"snapshots/daily", "snapshots/daily/db", "snapshots/nightly", "snapshots/nightly/db"},
		{KindSnapshot, "one"}:       {"snapshots/first", "snapshots/one"},
	} {
		o := d.Object(ref)
		if got := slices.Sorted(slices.Values(o.Names())); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", ref, got, want)
		}
		for _, name := range want {
			if called := name == ref.String() || name == "snapshots/daily" && o.Series() == "daily"; o.Called(name) != called {
				t.Errorf("%s is called %s: %v", ref, name, !called)
			}
		}
	}
}
