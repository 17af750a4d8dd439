package laws

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// What is wrong with a mutant is said, so that no mutant passes that shows nothing.
func TestMutantsRot(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a.go"), []byte("package a\n\nvar one = 1\nvar two = 1\n\nvar one = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const head = "# a mistake\nlaw: plans\ntest: TestLawPlans\n"
	for name, c := range map[string]struct{ text, want, err string }{
		"applies":           {head + "--- a.go\n@@\n var one = 1\n-var two = 1\n+var two = 2\n", "package a\n\nvar one = 1\nvar two = 2\n\nvar one = 1\n", ""},
		"the first line":    {head + "--- a.go\n@@\n-package a\n+package b\n", "package b\n\nvar one = 1\nvar two = 1\n\nvar one = 1\n", ""},
		"gone":              {head + "--- a.go\n@@\n-var three = 1\n+var three = 3\n", "", "has rotted: a.go must have these lines once and has them 0 times"},
		"twice":             {head + "--- a.go\n@@\n-var one = 1\n+var one = 2\n", "", "has rotted: a.go must have these lines once and has them 2 times"},
		"half a line":       {head + "--- a.go\n@@\n-two = 1\n+two = 2\n", "", "has rotted"},
		"changes nothing":   {head + "--- a.go\n@@\n var two = 1\n", "", "or they stay as they are"},
		"matches nothing":   {head + "--- a.go\n@@\n+var three = 1\n", "", "has rotted"},
		"the file is gone":  {head + "--- b.go\n@@\n-var one = 1\n+var one = 2\n", "", "has rotted: open"},
		"not below":         {head + "--- ../a.go\n@@\n-var one = 1\n+var one = 2\n", "", "not a path below"},
		"no law":            {"test: TestLawPlans\n--- a.go\n@@\n-var two = 1\n+var two = 2\n", "", "needs a law"},
		"no test":           {"law: plans\n--- a.go\n@@\n-var two = 1\n+var two = 2\n", "", "needs a law, a test"},
		"no hunk":           {head + "--- a.go\n", "", "and a hunk"},
		"unknown key":       {head + "seed: 1\n--- a.go\n@@\n-var two = 1\n+var two = 2\n", "", "no such key"},
		"lines of no hunk":  {head + "--- a.go\n-var two = 1\n", "", "line 5"},
		"a line of nothing": {head + "--- a.go\n@@\nvar two = 1\n", "", "starts with a space"},
	} {
		m, err := parseMutant("it", c.text)
		changed := map[string]string{}
		if err == nil {
			changed, err = m.apply(root)
		}
		switch {
		case c.err == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.err == "" && changed["a.go"] != c.want:
			t.Errorf("%s: %q", name, changed["a.go"])
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "the mutant it")):
			t.Errorf("%s: %v, not %q", name, err, c.err)
		}
	}
}

// A mutant that is no program, one that is no mistake and one that dies before its law
// speaks are none that a law has caught.
func TestMutantsThatShowNothing(t *testing.T) {
	if *mutantsFlag == "" || reconciletest.RaceDetector {
		t.Skip("a run with -mutants all and without the race detector builds them")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("mutants are built by the go command: ", err)
	}
	root, _ := allMutants(t)
	const before = "law: retention\ntest: TestLawRetention\n--- reconcile/retention/retain.go\n@@\n \tvar drop []string\n"
	for name, c := range map[string]struct{ line, err string }{
		"no program": {"+\tdrop = 1\n", "cannot be built"},
		"no mistake": {"+\tdrop = nil\n", `the law "retention" does not catch the mutant it within 2 scenarios`},
		"dies":       {"+\tpanic(\"it dies\")\n", "ends before the law"},
	} {
		m, err := parseMutant("it", before+c.line)
		if err != nil {
			t.Fatal(err)
		}
		program, err := m.build(root, t.TempDir())
		if err == nil {
			_, _, err = m.caught(program, 2)
		}
		if err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, not %q", name, err, c.err)
		}
	}
}
