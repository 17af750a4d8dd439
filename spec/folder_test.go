package spec

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// FuzzFolder: whatever a folder holds (files, links, pipes, folders, by any names), it loads or every mistake is
// told in the form; nothing from outside of the folder is read or quoted, and the fingerprint is that of what was
// read. An input is lines "KIND NAME CONTENT", divided by form feeds.
func FuzzFolder(f *testing.F) {
	const outside = "guests: {leaked-4b5a4968: {vmid: 666}}\n"
	for _, s := range []string{
		"f a.yaml guests: {web: {vmid: 111}}",
		"f a.yaml guests: {web: {vmid: 111}}\fl b.yaml ../outside",
		"d ..1\ff ..1/a.yaml guests: {web: {vmid: 111}}\fl ..data ..1\fl a.yaml ..data/a.yaml",
		"l a.yaml a.yaml\fp b.yml\fd c.yaml\ff d.json {}\ff \x1b[2J.yaml x\ff \n.yaml y",
		"l a.yaml /proc/self/environ\fl b.yaml /dev/zero\fl .up ..\fl c.yaml .up/outside\fl d.yaml .up",
		"f a.yaml x-a: &a {bridge: vmbr0}\nguests: {w: {vmid: 111, config: {net0: *a}}}\ff b.yaml guests: {w: {vmid: 112}}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<14 || strings.Count(text, "<<") > 30 {
			t.Skip("sizes and bombs have tests of their own")
		}
		top := t.TempDir()
		dir := filepath.Join(top, "desired")
		write(t, filepath.Join(top, "outside"), outside)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, entry := range strings.Split(text, "\f") {
			kind, rest, _ := strings.Cut(entry, " ")
			name, content, _ := strings.Cut(rest, " ")
			if !filepath.IsLocal(name) { // the folder is made, not its surroundings
				continue
			}
			// What cannot be made is not there.
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			switch kind {
			case "f":
				_ = root.WriteFile(name, []byte(content), 0o644)
			case "l":
				_ = root.Symlink(content, name)
			case "d":
				_ = root.MkdirAll(name, 0o755)
			case "p":
				if filepath.Base(name) == name {
					_ = syscall.Mkfifo(filepath.Join(dir, name), 0o644)
				}
			}
			root.Close()
		}
		d, err := Load(dir)
		sum, sumErr := Fingerprint(dir)
		if err != nil {
			if d != nil {
				t.Fatal("a Desired beside an error")
			}
			checkMistakes(t, err)
			if strings.Contains(err.Error(), "leaked") || strings.ContainsFunc(strings.ReplaceAll(err.Error(), "\n", ""), func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("it says %q", err)
			}
			return
		}
		if sumErr != nil || sum != d.Hash || d.Len() == 0 || d.Object(Ref{KindGuest, "leaked-4b5a4968"}) != nil {
			t.Fatalf("%d objects of %q, hash %s, fingerprint %s, %v", d.Len(), d.Files, d.Hash, sum, sumErr)
		}
	})
}
