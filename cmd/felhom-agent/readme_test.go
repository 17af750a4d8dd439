package main

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/httpstatus"
)

func documented(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReadme holds that the README stays what one can read in a minute.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n >= 120 {
		t.Errorf("the README has %d lines: fewer than 120, the rest belongs into docs", n)
	}
}

// TestModesInProse holds that each felhom-agent command in a document, also within a sentence, is one that the
// program takes; TestDocs runs those in blocks.
func TestModesInProse(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("`felhom-agent( -[^`]*)`").FindAllStringSubmatch(string(text), -1) {
			found++
			command, _, _ := strings.Cut(m[1], ">")
			if _, err := parse(strings.Fields(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(command, "X"))); err != nil {
				t.Errorf("%s: felhom-agent%s: %v", filepath.Base(file), m[1], err)
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d commands were found", found)
	}
}

// TestOperationsInDocs holds that docs tell of every key of the configuration, every exit code, every mode and
// every dependency.
func TestOperationsInDocs(t *testing.T) {
	operations := documented(t, "operations.md")
	for key := range config.Keys {
		if !strings.Contains(operations, "`"+key+"`") {
			t.Errorf("the key %s is not explained", key)
		}
	}
	for _, code := range []string{"0", "1", "2", "3", "4", "5", "6", "130, 143"} {
		if !strings.Contains(operations, fmt.Sprintf("\n| %s | ", code)) {
			t.Errorf("exit code %s is not in the table", code)
		}
	}
	all := operations + documented(t, "first-steps.md") + documented(t, "security.md")
	for _, m := range modes {
		if m.name != "" && !slices.Contains([]string{"version", "completion"}, m.name) && !strings.Contains(all, "--"+m.name) {
			t.Errorf("the mode --%s is not explained", m.name)
		}
	}
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	direct, _, _ := strings.Cut(string(module[bytes.Index(module, []byte("require (")):]), ")")
	dependencies := documented(t, "dependencies.md")
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+?)(?:/v\d+)? v`).FindAllStringSubmatch(direct, -1) {
		if !strings.Contains(dependencies, "\n| `"+m[1]) {
			t.Errorf("the dependency %s has no reason", m[1])
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9.]+/[^`]*)`").FindAllStringSubmatch(dependencies, -1) {
		if !strings.Contains(direct, "\t"+m[1]) {
			t.Errorf("%s has a reason, and is no dependency any more", m[1])
		}
	}
}

// TestPackagesInDocs holds that the map of packages is what the packages say of themselves; -update writes it.
func TestPackagesInDocs(t *testing.T) {
	list := exec.Command("go", "list", "-f", "{{.ImportPath}}\t{{.Doc}}", "./...")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var rows strings.Builder
	for line := range strings.Lines(string(out)) {
		path, synopsis, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		path = strings.TrimPrefix(path, module)
		if synopsis == "" {
			t.Errorf("package %s does not say what it holds", path)
		}
		synopsis = strings.TrimPrefix(synopsis, "Package "+path[strings.LastIndexByte(path, '/')+1:]+" ")
		fmt.Fprintf(&rows, "%-29s %s\n", path, synopsis)
	}
	inDocs(t, "design.md", "packages", "```text\n"+rows.String()+"```\n")
}

var description = regexp.MustCompile(`fqName: "(\w+)", help: "((?:[^"\\]|\\.)*)",.*? constLabels: \{.*?\}, variableLabels: \{(.*?)\}`)

// TestMetricsInDocs holds that the table of metrics is that of the program; -update writes it.
func TestMetricsInDocs(t *testing.T) {
	o := &httpstatus.Observer{}
	registry := o.Metrics()
	descs := make(chan *prometheus.Desc, 500)
	registry.Describe(descs)
	close(descs)
	var rows []string
	for d := range descs {
		m := description.FindStringSubmatch(d.String())
		if m == nil || !strings.HasPrefix(m[1], "felhom_") {
			continue
		}
		labels := "-"
		if m[3] != "" {
			labels = "`" + strings.ReplaceAll(m[3], ",", "`, `") + "`"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |", m[1], labels, strings.ReplaceAll(m[2], `\"`, `"`)))
	}
	slices.Sort(rows)
	if len(rows) < 15 {
		t.Fatalf("only %d metrics are described", len(rows))
	}
	inDocs(t, "json-and-metrics.md", "metrics", "| metric | labels | meaning |\n|---|---|---|\n"+strings.Join(rows, "\n")+"\n")
}

// inDocs holds that a generated part of a document is fresh; -update writes it.
func inDocs(t *testing.T, name, part, want string) {
	t.Helper()
	text := documented(t, name)
	head, rest, found := strings.Cut(text, "<!-- "+part+" -->\n")
	have, tail, ended := strings.Cut(rest, "<!-- end -->\n")
	if !found || !ended {
		t.Fatalf("docs/%s has no part %s", name, part)
	}
	if have == want {
		return
	}
	if flag.Lookup("update").Value.String() != "true" {
		t.Fatalf("docs/%s is stale; -update writes it:\n%s", name, want)
	}
	fresh := head + "<!-- " + part + " -->\n" + want + "<!-- end -->\n" + tail
	if err := os.WriteFile("../../docs/"+name, []byte(fresh), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestMessagesInDocs holds that the messages that docs explain are said by the program: each part of them between
// dots stands in a source file.
func TestMessagesInDocs(t *testing.T) {
	var source strings.Builder
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([^`]*)`").FindAllStringSubmatch(documented(t, "messages.md"), -1)
	if len(rows) < 20 {
		t.Fatalf("only %d messages are explained", len(rows))
	}
	for _, row := range rows {
		if strings.HasPrefix(row[1], "Assertion failed") || strings.Contains(row[1], "memroy") {
			continue // systemd's, and an example of a place
		}
		for _, part := range regexp.MustCompile(`\s*\.\.\.\s*|\(|\)`).Split(row[1], -1) {
			if part != "" && !strings.Contains(source.String(), part) {
				t.Errorf("no message says %q (of %q): the text has changed, or the message is gone", part, row[1])
			}
		}
	}
}
