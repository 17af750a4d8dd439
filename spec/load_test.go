package spec

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-multierror"
)

var update = flag.Bool("update", false, "write the error texts of testdata/bad anew")

// Each testdata/bad/X.yaml, or folder X, has X.txt beside it: what Load says.
func TestBad(t *testing.T) {
	entries, err := os.ReadDir("testdata/bad")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".txt") {
			continue
		}
		path := filepath.Join("testdata/bad", e.Name())
		t.Run(e.Name(), func(t *testing.T) {
			d, err := Load(path)
			if err == nil {
				t.Fatalf("loaded %d objects, want mistakes", d.Len())
			}
			if d != nil {
				t.Error("a Desired beside an error")
			}
			checkMistakes(t, err)
			golden := strings.TrimSuffix(path, ".yaml") + ".txt"
			got := strings.ReplaceAll(err.Error(), path, filepath.Base(path)) + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("other mistakes than %s (-want +got):\n%s", golden, diff)
			}
		})
	}
}

// checkMistakes holds every error to the form: a multierror of *Error, sorted,
// each with a place, a message and a fix, in one line.
func checkMistakes(t *testing.T, err error) {
	t.Helper()
	var all *multierror.Error
	if !errors.As(err, &all) {
		t.Fatalf("%T is no *multierror.Error", err)
	}
	var last *Error
	for _, err := range all.Errors {
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%T is no *Error", err)
		}
		switch {
		case e.File == "":
			t.Errorf("no file: %v", e)
		case e.Field != "" && e.Line == 0:
			t.Errorf("no line: %v", e)
		case e.Message == "" || strings.HasSuffix(e.Message, "."):
			t.Errorf("no message, or one with a full stop: %v", e)
		case e.Fix == "" || !strings.ContainsAny(e.Fix[len(e.Fix)-1:], ".?") || unicode.IsLower(rune(e.Fix[0])) && !strings.HasPrefix(e.Fix, "expected "):
			t.Errorf("the fix is no sentence: %v", e)
		case strings.ContainsAny(e.Error(), "\n\r"):
			t.Errorf("more than one line: %q", e)
		case last != nil && (e.File < last.File || e.File == last.File && e.Line < last.Line):
			t.Errorf("not sorted: %v after %v", e, last)
		}
		last = e
	}
}

// The texts that the documentation of the command line shows.
func TestWording(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"bind of a disk's root": {
			yaml: "mounts: {media: {uuid: 51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77, path: /mnt/usb/media}}\n" +
				"guests:\n  jellyfin:\n    vmid: 113\n    config:\n      mp0: {mount: media, mp: /media}\n",
			want: "pve1.yaml:6: guests.jellyfin.config.mp0: binds the root of a disk; while it is disconnected, the guest starts with an empty /media. Give a folder: folder: library.",
		},
		"did you mean": {
			yaml: "guests:\n  web:\n    vmid: 112\n    config: {memroy: 2G}\n",
			want: "pve1.yaml:4: guests.web.config.memroy: unknown key. Did you mean memory?",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pve1.yaml")
			write(t, path, c.yaml)
			_, err := Load(path)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
