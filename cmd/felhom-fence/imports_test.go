package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The program that is root has no network, no HTTP and nothing of ours but the fence.
func TestImports(t *testing.T) {
	const module = "github.com/felhom/felhom-agent"
	for pkg, ours := range map[string][]string{
		module + "/cmd/felhom-fence": {module + "/cmd/felhom-fence", module + "/privileged"},
		module + "/privileged":       {module + "/privileged"},
	} {
		out, err := exec.Command("go", "list", "-deps", pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, dep := range strings.Fields(string(out)) {
			switch {
			case dep == "net", dep == "net/http", dep == "os/user", dep == "plugin", dep == "C":
				t.Errorf("%s reaches %s", pkg, dep)
			case strings.HasPrefix(dep, module) && !slices.Contains(ours, dep):
				t.Errorf("%s reaches %s", pkg, dep)
			case strings.Contains(strings.Split(dep, "/")[0], ".") && !strings.HasPrefix(dep, module):
				t.Errorf("%s reaches %s: only the standard library is allowed", pkg, dep)
			}
		}
	}
}
