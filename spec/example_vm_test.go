package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The virtual machine that is a comment in the examples is one that can be declared.
func TestTheVMInTheExamples(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../examples/desired")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "guests.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "  # hass:\n")
	if !found {
		t.Fatal("there is none")
	}
	var lines []string
	for line := range strings.Lines("  # hass:\n" + block) {
		lines = append(lines, strings.Replace(line, "  # ", "  ", 1))
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "  # hass:\n"+block, strings.Join(lines, ""), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if g := d.Guests["hass"]; g == nil || !g.Type.VM() || g.Config.Drives["scsi0"].String() != "64G" || g.Restart != RestartAuto {
		t.Errorf("it is %+v", g)
	}
}
