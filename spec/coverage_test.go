package spec

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A tag covers the guests that are declared with it, of snapshots as of backups; a snapshot object for several guests is
// one per guest, and its name means them all.
func TestCoverage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(file, []byte(`guests:
  web: {vmid: 111, config: {tags: [Shop, family]}}
  db: {vmid: 112, config: {tags: shop}}
  mail: {vmid: 113}
  gone: {vmid: 114, ensure: absent, backup: none}
snapshots:
  all: {guests: all, every: 1h}
  shop: {guests: "tag:SHOP", except: [db], every: 1h}
  listed: {guests: [web, mail], every: 1h}
  one: {guest: web, every: 1h}
backups:
  shop: {guests: "tag:shop", storage: local, every: 24h}
`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil {
		t.Fatal("an object called all is taken")
	}
	text, _ := os.ReadFile(file)
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "  all: {", "  every: {", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, s := range d.Snapshots {
		have = append(have, s.Ref.String()+" "+s.Series()+" "+s.Guest)
	}
	slices.Sort(have)
	want := []string{"snapshots/every/db every db", "snapshots/every/mail every mail", "snapshots/every/web every web",
		"snapshots/listed/mail listed mail", "snapshots/listed/web listed web", "snapshots/one one web", "snapshots/shop/web shop web"}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
	if have := d.BackupGuests(d.Backups["shop"]); !slices.Equal(have, []string{"db", "web"}) {
		t.Error(have)
	}
	if o := d.Object(Ref{KindSnapshot, "every/web"}); !o.Called("snapshots/every") || !o.Called("snapshots/every/web") || o.Called("snapshots/every/db") {
		t.Error("a name of a series means all of its objects")
	}
}
