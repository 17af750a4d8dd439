package reconcile

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

var update = flag.Bool("update", false, "write what the stories print into their files")

// TestStories runs the stories in testdata/story: what people do to the desired
// state, to the node and to its disks, and what the agent then plans and does. A
// story is a txtar file with YAML files, its steps, and what they print:
//
//	once FILE        converge to FILE and print the run's last lines
//	only NAME FILE   the same with --only NAME
//	quiet FILE       converge to FILE; it must end with exit code 0
//	plan FILE        print the plan
//	shell COMMAND    a command of root on the node
//	do METHOD PATH KEY=VALUE...   a call of root@pam (blanks in values as +)
//	config VMID      print the guest's config as the node has it, without its description
//	hold NAME, release NAME
//	plug UUID, unplug UUID, advance DURATION
//	forget           the agent is installed anew: its journal is gone
//	world OLD NEW    the fresh node is another one: NEW stands for OLD in its world file (first of all)
//	burn             the host burns down and is set up anew, as pvesim -reinstall does
func TestStories(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "story", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			var steps, printed string
			for _, f := range archive.Files {
				switch f.Name {
				case "steps":
					steps = string(f.Data)
				case "prints":
					printed = string(f.Data)
				default:
					if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			got := ""
			synctest.Test(t, func(t *testing.T) { got = tell(t, dir, steps) })
			if got == printed {
				return
			}
			if !*update {
				t.Errorf("it prints something else (-want +got; -update accepts it):\n%s", cmp.Diff(printed, got))
				return
			}
			for i := range archive.Files {
				if archive.Files[i].Name == "prints" {
					archive.Files[i].Data = []byte(got)
				}
			}
			if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// tell carries out the steps of a story and returns what they print.
func tell(t *testing.T, dir, steps string) string {
	var out strings.Builder
	sim := pvesim.New()
	b := newBench(t, sim)
	load := func(name string) *spec.Desired {
		want, err := spec.Load(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return want
	}
	for step := range strings.Lines(steps) {
		step = strings.TrimSpace(step)
		verb, rest, _ := strings.Cut(step, " ")
		switch verb {
		case "", "#":
			continue
		}
		out.WriteString("$ " + step + "\n")
		switch verb {
		case "once", "quiet":
			b.events.Reset()
			report := b.once(load(rest))
			if verb == "once" {
				out.WriteString(b.closing(report))
			} else if report.ExitCode() != 0 {
				t.Fatalf("%s: exit code %d\n%s\n%s", step, report.ExitCode(), b.events, b.closing(report))
			}
		case "only":
			name, file, _ := strings.Cut(rest, " ")
			ref, err := spec.ParseRef(name)
			if err != nil {
				t.Fatal(err)
			}
			b.agent.O.Only = []spec.Ref{ref}
			out.WriteString(b.closing(b.once(load(file))))
			b.agent.O.Only = nil
		case "plan":
			_, text := b.plan(load(rest))
			lines := strings.SplitAfterN(text, "\n", 3) // the first line has the time and the hash of the files
			out.WriteString(lines[len(lines)-1])
		case "shell":
			printed, err := sim.Shell(sim.Node(), rest)
			if err != nil {
				t.Fatalf("%s: %v %s", step, err, printed)
			}
		case "do":
			words := strings.Fields(rest)
			params := map[string]string{}
			for _, pair := range words[2:] {
				key, value, _ := strings.Cut(pair, "=")
				params[key] = strings.ReplaceAll(value, "+", " ")
			}
			if status, body := sim.Do("root@pam", words[0], words[1], params); status != 200 {
				t.Fatalf("%s: %d %s", step, status, body)
			}
			sim.Advance(time.Minute)
		case "config":
			printed, err := sim.Shell(sim.Node(), "pct config "+rest)
			if err != nil {
				t.Fatalf("%s: %v %s", step, err, printed)
			}
			for line := range strings.Lines(printed) {
				if !strings.HasPrefix(line, "description: ") {
					out.WriteString(line)
				}
			}
		case "plug":
			sim.Plug(rest)
		case "unplug":
			sim.Unplug(rest)
		case "advance":
			d, err := time.ParseDuration(rest)
			if err != nil {
				t.Fatal(err)
			}
			sim.Advance(d)
		case "hold":
			if err := b.agent.O.Store.AddHold(Hold{Name: rest, Kind: HoldPerson, By: "anna", Why: "looking at it", Since: sim.Now()}); err != nil {
				t.Fatal(err)
			}
		case "release":
			if _, err := b.agent.O.Store.Release(rest); err != nil {
				t.Fatal(err)
			}
		case "burn":
			sim.Reinstall()
			b = newBench(t, sim)
		case "forget":
			b = newBench(t, sim)
		case "world":
			world, err := sim.Save()
			if err != nil {
				t.Fatal(err)
			}
			old, with, _ := strings.Cut(rest, " ")
			if n := strings.Count(string(world), old); n != 1 {
				t.Fatalf("%s: it is there %d times\n%s", step, n, world)
			}
			if sim, err = pvesim.Load([]byte(strings.Replace(string(world), old, with, 1))); err != nil {
				t.Fatal(err)
			}
			b = newBench(t, sim)
		default:
			t.Fatalf("unknown step %q", step)
		}
	}
	return out.String()
}
