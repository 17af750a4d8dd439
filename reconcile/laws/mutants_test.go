package laws

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

var mutantsFlag = flag.String("mutants", "", "the mutants to build, separated by commas, or all; without it a few")

// A mutant is the shipped source with one mistake in it, and the law that must see it.
// Its file in testdata/mutants says what the mistake is; then lines of KEY: VALUE:
// law, the one that must say so; test, the one that runs it; after, the number of seeds
// that are passed over, for they are known not to show the mistake and take long. Then
// for each source file a line of --- PATH, below the repository's root, and hunks, each
// behind a line of @@, as in a unified diff but without numbers.
type mutant struct {
	name, law, test string
	after           int
	hunks           []hunk
}

// hunk replaces whole lines of a file. What it replaces stands there exactly once.
type hunk struct{ path, old, new string }

// parseMutant reads a mutant's file.
func parseMutant(name, text string) (mutant, error) {
	m := mutant{name: name}
	path := ""
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		bad := func(what string) (mutant, error) {
			return mutant{}, fmt.Errorf("the mutant %s, line %d: %s: %q", name, i+1, what, line)
		}
		switch {
		case strings.HasPrefix(line, "--- "):
			path = line[len("--- "):]
			if !filepath.IsLocal(path) {
				return bad("not a path below the repository's root")
			}
		case line == "@@":
			if path == "" {
				return bad("a hunk of no file")
			}
			m.hunks = append(m.hunks, hunk{path: path})
		case path == "" && strings.HasPrefix(line, "#"):
		case path == "":
			key, value, _ := strings.Cut(line, ": ")
			switch key {
			case "law":
				m.law = value
			case "test":
				m.test = value
			case "after":
				n, err := strconv.Atoi(value)
				if err != nil {
					return bad("not a number")
				}
				m.after = n
			default:
				return bad("no such key")
			}
		case len(m.hunks) == 0 || m.hunks[len(m.hunks)-1].path != path || line == "" || !strings.ContainsRune(" -+", rune(line[0])):
			return bad("a line of a hunk starts with a space, - or +")
		default:
			h := &m.hunks[len(m.hunks)-1]
			if line[0] != '+' {
				h.old += line[1:] + "\n"
			}
			if line[0] != '-' {
				h.new += line[1:] + "\n"
			}
		}
	}
	if m.law == "" || m.test == "" || len(m.hunks) == 0 {
		return mutant{}, fmt.Errorf("the mutant %s needs a law, a test and a hunk", name)
	}
	return m, nil
}

// apply returns the changed files by their paths below the root.
func (m mutant) apply(root string) (map[string]string, error) {
	changed := map[string]string{}
	for _, h := range m.hunks {
		if _, ok := changed[h.path]; !ok {
			text, err := os.ReadFile(filepath.Join(root, h.path))
			if err != nil {
				return nil, fmt.Errorf("the mutant %s has rotted: %w", m.name, err)
			}
			changed[h.path] = "\n" + string(text)
		}
		if n := strings.Count(changed[h.path], "\n"+h.old); n != 1 || h.old == "" || h.old == h.new {
			return nil, fmt.Errorf("the mutant %s has rotted: %s must have these lines once and has them %d times, or they stay as they are:\n%s", m.name, h.path, n, h.old)
		}
		changed[h.path] = strings.Replace(changed[h.path], "\n"+h.old, "\n"+h.new, 1)
	}
	for path, text := range changed {
		changed[path] = text[1:]
	}
	return changed, nil
}

// build makes the program of this package's tests with the mutant in the place of the
// shipped source, which stays as it is.
func (m mutant) build(root, dir string) (program string, err error) {
	changed, err := m.apply(root)
	if err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for path, text := range changed {
		file := filepath.Join(dir, strings.ReplaceAll(path, "/", "+"))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
		overlay.Replace[filepath.Join(root, path)] = file
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600); err != nil {
		return "", err
	}
	program = filepath.Join(dir, "laws.test")
	build := exec.Command("go", "test", "-c", "-ldflags", "-s -w", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the mutant %s cannot be built: %w\n%s", m.name, err, out)
	}
	return program, nil
}

// caught runs the mutant's test until its law speaks, and returns the seed and what the
// law says.
func (m mutant) caught(program string, scenarios int) (seed, says string, err error) {
	run := exec.Command(program, "-test.run", "^"+m.test+"$", "-test.timeout", "20m", "-test.parallel", "1",
		"-law.only", m.law, "-law.from", strconv.Itoa(m.after), "-law.n", strconv.Itoa(scenarios))
	var out bytes.Buffer
	run.Stdout, run.Stderr = &out, &out
	err = run.Run()
	if err == nil {
		return "", "", fmt.Errorf("the law %q does not catch the mutant %s within %d scenarios of %s", m.law, m.name, scenarios, m.test)
	}
	said := regexp.MustCompile(`(?m)` + m.test + ` -law\.seed (\d+): (` + regexp.QuoteMeta(m.law) + `: .*)$`).FindStringSubmatch(out.String())
	if _, failed := errors.AsType[*exec.ExitError](err); !failed || said == nil {
		return "", "", fmt.Errorf("the mutant %s ends before the law %q has said anything: %w\n%s", m.name, m.law, err, out.String())
	}
	return said[1], said[2], nil
}

// allMutants are those in testdata, by name, and the repository's root.
func allMutants(t *testing.T) (root string, all []mutant) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/mutants/*.patch")
	if err != nil || len(files) == 0 {
		t.Fatalf("no mutants: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseMutant(strings.TrimSuffix(filepath.Base(file), ".patch"), string(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return root, all
}

// TestMutantsApply: each mutant fits the source as it is now.
func TestMutantsApply(t *testing.T) {
	root, all := allMutants(t)
	for _, m := range all {
		if _, err := m.apply(root); err != nil {
			t.Error(err)
		}
	}
}

// TestLawsCatchMutants builds mutants of the shipped source, as many at once as -parallel
// says. The law that each breaks must say so within 5,000 scenarios.
func TestLawsCatchMutants(t *testing.T) {
	if testing.Short() || reconciletest.RaceDetector {
		t.Skip("a run without -short and the race detector builds mutants")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("mutants are built by the go command: ", err)
	}
	root, all := allMutants(t)
	chosen := chooseMutants(t, all)
	scenarios := 5000
	if *lawN > 0 {
		scenarios = *lawN
	}
	begin := time.Now()
	var mu sync.Mutex
	var table []string // of those that were caught
	t.Cleanup(func() {
		slices.Sort(table)
		t.Logf("%d of %d caught, of %d mutants, in %.0f s:\n%s", len(table), len(chosen), len(all), time.Since(begin).Seconds(), strings.Join(table, ""))
	})
	for _, m := range chosen {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			program, err := m.build(root, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			built := time.Since(start)
			seed, says, err := m.caught(program, scenarios)
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			table = append(table, fmt.Sprintf("%-24s %-14s %-18s seed %-4s built in %4.1f s, caught in %4.1f s\n", m.name, m.law, m.test, seed, built.Seconds(), (time.Since(start)-built).Seconds()))
			mu.Unlock()
			t.Log(says)
		})
	}
}

// chooseMutants takes those of the flag; without it three that are quickly caught.
func chooseMutants(t *testing.T, all []mutant) []mutant {
	t.Helper()
	names := strings.Split(*mutantsFlag, ",")
	switch *mutantsFlag {
	case "all":
		return all
	case "":
		names = []string{"drop-the-marker-check", "never-equal", "skip-the-fsync"}
	}
	var chosen []mutant
	for _, name := range names {
		i := slices.IndexFunc(all, func(m mutant) bool { return m.name == name })
		if i < 0 {
			t.Fatalf("testdata/mutants has no %s.patch", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen
}
