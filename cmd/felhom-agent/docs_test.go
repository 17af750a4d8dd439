package main_test

import (
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// root is the repository, seen from this package.
const root = "../.."

var update = flag.Bool("update", false, "write what the programs print into the documents and pictures")

// TestDocs runs every command of the README and of docs, and compares what they print with what the documents
// show. `go test ./cmd/felhom-agent -run TestDocs -update` puts the new output there. The first words behind ```
// say what a block is:
//
//	console        "$ COMMAND" lines with their output, in a folder of the document's own, which has the examples
//	console host   the same on a Proxmox VE host: felhom-agent runs against a simulated node that is served by
//	               HTTPS with its root helper; other programs are vetted (see vet)
//	console repo   the same in a clone of this repository; go is vetted
//	sh [host|repo] commands whose output is not shown
//	yaml FILE      a file of that name in the document's folder, checked by felhom-agent --check
//	yaml, json     an example, which is valid by itself
//	text           a drawing, not checked
//
// A command that does not exit with 0 says so in a comment: "# exit code 2". A line "..." in the output stands for
// any lines. Blocks indented by four spaces are sh, in the README repo as well.
func TestDocs(t *testing.T) {
	t.Parallel()
	pvesim := simulator(t)
	for _, file := range documents(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			d := &document{session: newSession(t, pvesim), lines: strings.Split(string(text), "\n")}
			for _, b := range blocks(d.lines) {
				d.run(t, b)
			}
			if fresh := strings.Join(d.fresh(), "\n"); *update && fresh != string(text) {
				if err := os.WriteFile(file, []byte(fresh), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// documents are the README and all of docs.
func documents(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(root + "/docs/*.md")
	if err != nil || len(files) < 10 {
		t.Fatalf("docs has %d documents, %v", len(files), err)
	}
	return append(files, root+"/README.md")
}

// A block is a part of a document that is no prose.
type block struct {
	kind  string // the first word behind ```
	args  []string
	first int // the line after ```
	last  int // the line of the closing ```
}

var fence = regexp.MustCompile("^( *)```(.*)$")

// blocks finds the blocks of a document.
func blocks(lines []string) []block {
	var all []block
	for i := 0; i < len(lines); i++ {
		if m := fence.FindStringSubmatch(lines[i]); m != nil {
			b := block{first: i + 1}
			if words := strings.Fields(m[2]); len(words) > 0 {
				b.kind, b.args = words[0], words[1:]
			}
			for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "```"; i++ {
			}
			b.last = i
			all = append(all, b)
		} else if strings.HasPrefix(lines[i], "    ") && (i == 0 || lines[i-1] == "") {
			b := block{kind: "sh", args: []string{"repo"}, first: i}
			for ; i < len(lines) && strings.HasPrefix(lines[i], "    "); i++ {
			}
			b.last = i
			all = append(all, b)
		}
	}
	return all
}

// A document is one that is being tested.
type document struct {
	*session
	lines   []string
	changes []change
}

// A change puts lines in the place of others.
type change struct {
	first, last int
	lines       []string
}

func (d *document) fresh() []string {
	lines := d.lines
	for i := len(d.changes) - 1; i >= 0; i-- {
		c := d.changes[i]
		lines = append(lines[:c.first:c.first], append(c.lines, lines[c.last:]...)...)
	}
	return lines
}

func (d *document) run(t *testing.T, b block) {
	place := ""
	if len(b.args) > 0 {
		place = b.args[0]
	}
	text := strings.Join(d.lines[b.first:b.last], "\n")
	switch b.kind {
	case "console":
		d.console(t, b, place)
	case "sh":
		for i := b.first; i < b.last; i++ {
			command := strings.TrimSpace(d.lines[i])
			for strings.HasSuffix(command, "\\") {
				i++
				command += "\n" + d.lines[i]
			}
			if command != "" && command[0] != '#' {
				d.command(t, i, place, command)
			}
		}
	case "yaml":
		d.yaml(t, b, place, text)
	case "json":
		decoder := json.NewDecoder(strings.NewReader(text))
		for {
			var v any
			if err := decoder.Decode(&v); err == io.EOF {
				break
			} else if err != nil {
				t.Errorf("line %d: %v", b.first, err)
				break
			}
		}
	case "text":
	default:
		t.Errorf("line %d: ```%s says not what the block is", b.first, b.kind)
	}
}

// yaml checks an example; one with a name is a file that commands below may use.
func (d *document) yaml(t *testing.T, b block, name, text string) {
	var v map[string]any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil || len(v) == 0 {
		t.Errorf("line %d: %v", b.first, err)
	}
	if name == "" {
		return
	}
	path := filepath.Join(d.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	check := "felhom-agent --check " + name
	if filepath.Base(name) == "agent.yaml" {
		check = "felhom-agent --check --config " + name + " examples/desired"
	}
	d.command(t, b.first, "", check)
}

// console runs the commands of a block and compares what they print.
func (d *document) console(t *testing.T, b block, place string) {
	for i := b.first; i < b.last; {
		command, ok := strings.CutPrefix(d.lines[i], "$ ")
		if !ok {
			t.Errorf("line %d: %q belongs to no command", i+1, d.lines[i])
			return
		}
		at := i
		for i++; i < b.last && strings.HasSuffix(command, "\\"); i++ {
			command += "\n" + d.lines[i]
		}
		first := i
		for i < b.last && !strings.HasPrefix(d.lines[i], "$ ") {
			i++
		}
		out, ran := d.command(t, at, place, command)
		if !ran {
			continue
		}
		shown := d.lines[first:i]
		fresh := printed(out)
		if same(shown, fresh) {
			continue
		}
		fresh = elided(shown, fresh)
		if *update {
			d.changes = append(d.changes, change{first, i, fresh})
			continue
		}
		t.Errorf("line %d: %s\nis shown to print\n%s\nand prints\n%s\n(go test ./cmd/felhom-agent -run TestDocs -update puts it there)",
			at+1, command, strings.Join(shown, "\n"), strings.Join(fresh, "\n"))
	}
}
