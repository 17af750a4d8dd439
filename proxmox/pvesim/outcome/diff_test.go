package outcome_test

import (
	"testing"

	"github.com/felhom/felhom-agent/proxmox/pvesim/outcome"
)

func TestDiffNamesWhatALineIsAbout(t *testing.T) {
	a := "guest 1\n    cores: 1\n    memory: 2\nnode x\n  mount a\n"
	b := "guest 1\n    cores: 1\n    memory: 3\nnode x\n  mount a\n  mount b\n"
	want := "  guest 1\n-     memory: 2\n+     memory: 3\n  node x\n+   mount b\n"
	if got := outcome.Diff(a, b); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := outcome.Diff(a, a); got != "" {
		t.Errorf("a text and itself differ: %s", got)
	}
}
