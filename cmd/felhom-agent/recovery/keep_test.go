package recovery

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/felhom/felhom-agent/spec"
)

// An edit between a pass and its kit is no mistake of anybody: the pass that reads it says what it is.
func TestNoKitOfWhatIsBeingEdited(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "guests.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const valid = "guests:\n  dns: {vmid: 101}\n"
	write(valid)
	want, err := spec.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := desiredFiles(dir, want)
	if err != nil || string(files["guests.yaml"]) != valid {
		t.Fatalf("as loaded: %q, %v", files, err)
	}
	for name, edit := range map[string]func(){
		"broken":  func() { write("guests: [\n") },
		"another": func() { write("guests:\n  dns: {vmid: 102}\n") },
		"removed": func() { os.Remove(file) },
	} {
		edit()
		if _, err := desiredFiles(dir, want); !errors.Is(err, errEdited) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
