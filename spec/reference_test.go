package spec_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/felhom/felhom-agent/spec"
)

// updating is the flag of the package's other tests.
func updating() bool { return flag.Lookup("update").Value.String() == "true" }

// A section is a table of the reference. Fields that several kinds have stand once.
type section struct {
	id, title, text string
	of              func(spec.Field) bool
}

func is(kind spec.Kind) func(spec.Field) bool {
	return func(f spec.Field) bool {
		return f.Kind == kind && !common(f) && (!strings.HasPrefix(f.Path, "config.") || kind == spec.KindGolden && !everywhere[f.Path])
	}
}

// common are the fields of every object.
func common(f spec.Field) bool {
	return slices.Contains([]string{"paused", "node", "was", "drift", "timeout", "despite"}, f.Path)
}

// everywhere are the paths below config that guests have.
var everywhere = func() map[string]bool {
	paths := map[string]bool{}
	for _, f := range spec.Fields() {
		if f.Kind == spec.KindRestore && strings.HasPrefix(f.Path, "config.") {
			paths[f.Path] = true
		}
	}
	return paths
}()

// sections are the reference. The text of guests says that they have what restores have; TestReference holds that.
var sections = []section{
	{"mounts", "`mounts`: USB disks", "A disk is found by the UUID of its file system. While it is disconnected, everything that needs it waits.", is(spec.KindMount)},
	{"golden", "`golden`: golden images", "A golden image is built once from a template, never runs, and is published as an archive. It also has the keys of [config](#config).", is(spec.KindGolden)},
	{"restores", "`restores`: guests created from an archive", "The sources under `from` are tried in order.", is(spec.KindRestore)},
	{"guests", "`guests`: existing guests", "Existing guests are adopted unchanged. They have the same keys as `restores`; `from` is optional and says how a lost guest is created again.", func(spec.Field) bool { return false }},
	{"snapshots", "`snapshots`", "Either `taken` (one named snapshot) or `every` (periodic snapshots).", is(spec.KindSnapshot)},
	{"backups", "`backups`", "Either `at` (a time of day) or `every` (a period).", is(spec.KindBackup)},
	{"tests", "`tests`: restore tests", "Either `at` (a time of day) or `every` (a period). See [restore tests](restore-tests.md).", is(spec.KindTest)},
	{"config", "`config`", "The configuration of a guest, under `golden`, `restores` and `guests`. Only declared keys are compared. `N` is a number, for example `net0`.",
		func(f spec.Field) bool { return f.Kind == spec.KindRestore && strings.HasPrefix(f.Path, "config.") }},
	{"every-object", "Every object", "These keys exist in all kinds.", func(f spec.Field) bool { return f.Kind == spec.KindMount && common(f) }},
}

const intro = "A desired state is a file, or a folder of files whose names end in `.yaml`. All files are read together. " +
	"`node` at the top of a file names the node of its objects. Keys that begin with `x-` are yours, for YAML anchors. An unknown key is an error."

// effects say when a change of a field takes effect.
var effects = []struct {
	class spec.Class
	text  string
}{
	{spec.Live, "at once, also on a running guest"},
	{spec.NeedsRestart, "at the next start of the guest; `restart: auto` allows the agent to restart it"},
	{spec.BirthOnly, "only when the object is created; a later difference is a note in the plan"},
	{spec.RootOnly, "through the root helper"},
	{spec.Agent, "in the agent alone; PVE does not know the key"},
}

// required are the keys that the schema demands, as "mounts.uuid".
func required(t *testing.T) map[string]bool {
	t.Helper()
	text, err := spec.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var root jsonschema.Schema
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, kind := range spec.Kinds() {
		for _, key := range root.Properties[kind.String()].AdditionalProperties.Required {
			keys[kind.String()+"."+key] = true
		}
	}
	return keys
}

func typeOf(f spec.Field) string {
	return strings.NewReplacer(" (map or PVE's string)", ", as a map or in PVE's form", "|", ", ").Replace(f.Type)
}

// markdown is docs/yaml.md.
func markdown(t *testing.T) string {
	must := required(t)
	var b strings.Builder
	fmt.Fprintf(&b, "# YAML reference\n\n<!-- Generated: go test ./spec -run TestReference -update -->\n\n%s\n\n", wrapped(intro))
	fmt.Fprintf(&b, "The [examples](../examples/desired) have one commented file per kind.\n\n| takes effect | a change is carried out |\n|---|---|\n")
	for _, e := range effects {
		fmt.Fprintf(&b, "| %s | %s |\n", e.class, e.text)
	}
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", s.title, wrapped(s.text))
		head := "\n| key | value | takes effect | meaning |\n|---|---|---|---|\n"
		for _, f := range spec.Fields() {
			if !s.of(f) {
				continue
			}
			star, key := "", f.Path
			if s.id == "config" {
				key = strings.TrimPrefix(key, "config.")
			}
			if must[f.Kind.String()+"."+f.Path] {
				star = " (required)"
			}
			fmt.Fprintf(&b, "%s| `%s`%s | %s | %s | %s |\n", head, key, star, typeOf(f), f.Class, f.Doc)
			head = ""
		}
	}
	return b.String()
}

// wrapped is a paragraph in lines of at most 118 characters.
func wrapped(text string) string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > 118 {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return strings.Join(append(lines, line), "\n")
}

// troff is the manual page felhom-agent.yaml(5).
func troff(t *testing.T) string {
	must := required(t)
	var b strings.Builder
	b.WriteString(".\\\" Generated: go test ./spec -run TestReference -update\n.TH FELHOM-AGENT.YAML 5 \"\" \"felhom-agent\" \"File formats\"\n")
	b.WriteString(".SH NAME\nfelhom-agent.yaml \\- the desired state of a Proxmox VE node\n.SH DESCRIPTION\n" + roff(intro) + "\n.SH WHEN A CHANGE TAKES EFFECT\n")
	for _, e := range effects {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s.\n", roff(string(e.class)), roff(e.text))
	}
	for _, s := range sections {
		fmt.Fprintf(&b, ".SH %s\n%s\n", strings.ToUpper(roff(s.title)), roff(s.text))
		for _, f := range spec.Fields() {
			if !s.of(f) {
				continue
			}
			star, key := "", f.Path
			if s.id == "config" {
				key = strings.TrimPrefix(key, "config.")
			}
			if must[f.Kind.String()+"."+f.Path] {
				star = ", required"
			}
			fmt.Fprintf(&b, ".TP\n.BR %s \" (%s%s; %s)\"\n%s\n", roff(key), strings.ReplaceAll(roff(typeOf(f)), `"`, `\(dq`), star, f.Class, roff(f.Doc))
		}
	}
	b.WriteString(".SH FILES\n.TP\n.I /etc/felhom-agent/desired/\nThe folder that is read by default.\n.TP\n.I /usr/share/doc/felhom-agent/examples/desired/\nOne commented file per kind.\n")
	b.WriteString(".SH SEE ALSO\n.BR felhom\\-agent (8)\n")
	return b.String()
}

// roff escapes a text of the reference for a manual page.
func roff(text string) string {
	text = regexp.MustCompile("`([^`]*)`").ReplaceAllString(text, "\x01$1\x02") // bold, when all else is escaped
	text = strings.NewReplacer("[config](#config)", "config", "\x01", `\fB`, "\x02", `\fP`, `\`, `\e`, "-", `\-`, "–", `\(en`, "≥", `\(>=`, `""`, `\(dq\(dq`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

// TestReference holds that docs/yaml.md and felhom-agent.yaml(5) are what the language says of itself, that they
// name every field, and that the page has no mistakes. `go test ./spec -run TestReference -update` writes both.
func TestReference(t *testing.T) {
	for _, f := range spec.Fields() {
		found := slices.ContainsFunc(sections, func(s section) bool { return s.of(f) })
		twin := func(kind spec.Kind) bool {
			return slices.ContainsFunc(spec.Fields(), func(g spec.Field) bool {
				return g.Kind == kind && g.Path == f.Path && g.Type == f.Type && (g.Doc == f.Doc || kind == spec.KindRestore)
			})
		}
		switch {
		case found:
		case common(f) && twin(spec.KindMount):
		case f.Kind == spec.KindGuest && twin(spec.KindRestore):
		case f.Kind == spec.KindGolden && strings.HasPrefix(f.Path, "config.") && twin(spec.KindRestore):
		default:
			t.Errorf("%s.%s stands nowhere in the reference", f.Kind, f.Path)
		}
	}
	page := "../cmd/felhom-agent/packaging/felhom-agent.yaml.5"
	for file, want := range map[string]string{"../docs/yaml.md": markdown(t), page: troff(t)} {
		if updating() {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(file); err != nil || string(have) != want {
			t.Errorf("%s is stale: go test ./spec -run TestReference -update writes it (%v)", file, err)
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("there is no groff here to read the manual page: apt-get install groff-base")
	}
	out, err := exec.Command(groff, "-man", "-ww", "-Tutf8", "-z", page).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("the manual page: %v\n%s", err, out)
	}
}
