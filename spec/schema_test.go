package spec

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"gopkg.in/yaml.v3"
)

func resolved(t testing.TB) *jsonschema.Resolved {
	t.Helper()
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// plainJSON is the YAML as an editor hands it to the schema.
func plainJSON(t testing.TB, text []byte) any {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		t.Fatal(err)
	}
	days(&n)
	var v any
	if err := n.Decode(&v); err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(j, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// days makes texts of dates, as YAML 1.2 has it.
func days(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!timestamp" {
		n.Tag = "!!str"
	}
	for _, c := range n.Content {
		days(c)
	}
}

// offered is a line of the language that is commented out.
var offered = regexp.MustCompile(`(?m)^ +(# )[a-z0-9]+: .*$`)

// The examples load, hold together, and every one alone fits the schema.
func TestExamples(t *testing.T) {
	const dir = "../examples/desired"
	d, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	counts := []int{len(d.Mounts), len(d.Golden), len(d.Restores), len(d.Guests), len(d.Snapshots), len(d.Backups)}
	if !slices.Equal(counts, []int{2, 2, 4, 1, 2, 2}) {
		t.Errorf("objects by kind are %v", counts)
	}
	if !slices.Equal(d.Files, []string{"backups.yaml", "golden.yaml", "guests.yaml", "mounts.yaml", "restores.yaml", "snapshots.yaml"}) {
		t.Errorf("files are %v", d.Files)
	}
	for name, g := range d.Restores {
		if len(g.From) < 2 || g.From[0].Newest != "usb-backup" {
			t.Errorf("%s is made from %+v: its own backup must come first", name, g.From)
		}
	}
	schema, lines := resolved(t), 0
	for _, name := range d.Files {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(plainJSON(t, text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, at := range offered.FindAllSubmatchIndex(text, -1) { // a line that a person may take in as it stands
			with := slices.Concat(text[:at[2]], text[at[3]:])
			if err := schema.Validate(plainJSON(t, with)); err != nil {
				t.Errorf("%s with %s: %v", name, text[at[2]:at[1]], err)
			}
			lines++
		}
	}
	if lines < 8 {
		t.Errorf("%d lines are offered", lines)
	}
	if sum, err := Fingerprint(dir); err != nil || sum != d.Hash {
		t.Errorf("Fingerprint is %s, %v, Hash %s", sum, err, d.Hash)
	}
}

// The schema takes what Load takes and refuses what an editor should show.
func TestSchema(t *testing.T) {
	schema := resolved(t)
	if err := schema.Validate(plainJSON(t, []byte(household(20)))); err != nil {
		t.Errorf("a household: %v", err)
	}
	for _, text := range []string{
		"guest: {}", "guests: {a: {}}", "guests: {a: {vmid: '111'}}", "guests: {a: {vmid: 99}}", "guests: {a: {vmid: 111, colour: blue}}",
		"guests: {a: {vmid: 111, config: {memory: 2GB}}}", "guests: {a: {vmid: 111, config: {net32x: {}}}}", "guests: {a: {vmid: 111, config: {features: {keyctl: true}}}}",
		"restores: {a: {vmid: 111}}", "backups: {a: {storage: usb, keep: 0}}", "backups: {a: {guest: b, storage: usb, every: 1h, keep: pbs}}", "snapshots: {a: {guest: b, every: 1h, keep: server}}", "snapshots: {a: {guest: b, ensure: present}}", "node: [pve1]",
	} {
		if schema.Validate(plainJSON(t, []byte(text))) == nil {
			t.Errorf("the schema takes %s", text)
		}
		path := filepath.Join(t.TempDir(), "a.yaml")
		write(t, path, text)
		if _, err := Load(path); err == nil {
			t.Errorf("Load takes %s", text)
		}
	}
}

// Every line of the table is documented, stands once, and is in the schema.
func TestFields(t *testing.T) {
	known := map[string]bool{}
	for _, f := range Fields() {
		id := f.Kind.String() + "." + f.Path
		if known[id] {
			t.Errorf("%s stands twice", id)
		}
		known[id] = true
		if f.Doc == "" || !strings.HasSuffix(f.Doc, ".") || f.Type == "" || f.Class == "" {
			t.Errorf("%s is not described: %+v", id, f)
		}
		if !slices.Contains([]Class{Live, NeedsRestart, BirthOnly, RootOnly, Agent}, f.Class) {
			t.Errorf("%s is of no class: %q", id, f.Class)
		}
	}
	for _, id := range []string{
		"restores.config.netN.ip", "guests.config.mpN.folder", "golden.features.keyctl", "backups.keep.daily", "snapshots.taken",
		"mounts.uuid", "restores.rollback.loses", "guests.drift", "restores.from.newest", "golden.publish.revision", "restores.rootfs.size",
	} {
		if !known[id] {
			t.Errorf("%s is missing", id)
		}
	}
	for _, id := range []string{"restores.config.features.keyctl", "restores.config.hostname", "guests.rootfs.storage"} {
		if known[id] {
			t.Errorf("%s is in the language", id)
		}
	}
}

// The classes of configuration keys are what PVE does on a running guest
// (PVE: LXC::Config, vmconfig_hotplug_pending).
func TestClasses(t *testing.T) {
	class := map[string]Class{}
	for _, f := range Fields() {
		if key, ok := strings.CutPrefix(f.Path, "config."); ok && f.Kind == KindRestore {
			class[key] = f.Class
		}
	}
	for want, keys := range map[Class][]string{
		Live:         {"description", "onboot", "startup", "protection", "cores", "tags", "memory", "swap", "cpulimit", "cpuunits", "netN"},
		NeedsRestart: {"features", "nameserver", "searchdomain", "timezone", "console", "tty", "cmode", "debug", "entrypoint", "mpN"},
		RootOnly:     {"devN"},
	} {
		for _, key := range keys {
			if class[key] != want {
				t.Errorf("%s is %q, want %q", key, class[key], want)
			}
		}
	}
}
