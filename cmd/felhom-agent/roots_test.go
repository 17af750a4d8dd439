package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/privileged"
)

// TestCheckKnowsTheRoots: a host path that this machine's fence would refuse is a mistake of the YAML; what the fence
// allows is none, and neither is what nobody can know here.
func TestCheckKnowsTheRoots(t *testing.T) {
	file := filepath.Join(t.TempDir(), "desired.yaml")
	if err := os.WriteFile(file, []byte("guests: {a: {vmid: 111, config: {mp0: {host: /tank/media, mp: /media}}}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	defer func(before func() (privileged.Folders, error)) { rootFolders = before }(rootFolders)
	for name, c := range map[string]struct {
		roots    []string
		err      error
		simulate bool
		want     string
	}{
		"not allowed": {roots: []string{"/mnt", "/srv"}, want: "/tank/media is not below /mnt or /srv; the root helper mounts and binds only there"},
		"allowed":     {roots: []string{"/mnt", "/tank"}, want: "1 object in 1 file is valid.\n"},
		"not known":   {err: errors.New("permission denied"), want: "1 object in 1 file is valid.\n"},
		"simulated":   {roots: []string{"/tank"}, simulate: true, want: "/tank/media is not below /mnt; the root helper"},
	} {
		t.Run(name, func(t *testing.T) {
			rootFolders = func() (privileged.Folders, error) { return privileged.Folders{Roots: c.roots}, c.err }
			var out bytes.Buffer
			code, err := runCheck(t.Context(), &command{path: file, simulate: c.simulate}, &console.Console{Stdout: &out, Stderr: &out})
			if err != nil || !strings.Contains(out.String(), c.want) || (code == exit.OK) != strings.Contains(c.want, "valid") {
				t.Errorf("exit code %d, %v\n%s", code, err, &out)
			}
		})
	}
}
