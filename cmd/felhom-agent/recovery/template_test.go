package recovery

import (
	"crypto/sha512"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
)

// A copy on a disk that may be anybody's is taken where it is a regular file with the right hash, and replaces nothing.
func TestCopyTemplate(t *testing.T) {
	text := strings.Repeat("a template\n", 1000)
	hash := sha512.Sum512([]byte(text))
	right := hex.EncodeToString(hash[:])
	for name, c := range map[string]struct {
		set  func(disk, to string) error
		sum  string
		want string
	}{
		"the copy":     {func(string, string) error { return nil }, right, ""},
		"without hash": {func(string, string) error { return nil }, "", ""},
		"killed before": {func(_, to string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(to), "."+filepath.Base(to)+".recovery"), []byte("a temp"), 0o644)
		}, right, ""},
		"cut off": {func(disk, _ string) error { return os.Truncate(disk+"/x.tar.gz", 100) }, right, "was altered or cut off"},
		"altered": {func(disk, _ string) error { return os.WriteFile(disk+"/x.tar.gz", []byte("another"), 0o644) }, right, "was altered or cut off"},
		"none":    {func(disk, _ string) error { return os.Remove(disk + "/x.tar.gz") }, right, "no such file"},
		"a link": {func(disk, _ string) error {
			return again(disk, func(at string) error { return os.Symlink("/etc/passwd", at) })
		}, "", "not a regular file"},
		"a pipe": {func(disk, _ string) error {
			return again(disk, func(at string) error { return syscall.Mkfifo(at, 0o600) })
		}, "", "not a regular file"},
		"a folder":  {func(disk, _ string) error { return again(disk, func(at string) error { return os.Mkdir(at, 0o755) }) }, "", "not a regular file"},
		"something": {func(_, to string) error { return os.WriteFile(to, []byte("mine"), 0o644) }, right, "exists already"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, to := t.TempDir(), filepath.Join(t.TempDir(), "x.tar.gz")
			if err := os.WriteFile(dir+"/x.tar.gz", []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := c.set(dir, to); err != nil {
				t.Fatal(err)
			}
			disk, err := kit.OpenDisk(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer disk.Close()
			err = copyTemplate(disk, "x.tar.gz", to, c.sum)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatal(err)
			}
			have, _ := os.ReadFile(to)
			left, _ := os.ReadDir(filepath.Dir(to))
			switch {
			case c.want == "" && (string(have) != text || len(left) != 1):
				t.Errorf("the copy has %d bytes, the folder has %v", len(have), left)
			case c.want == "exists already" && string(have) != "mine", c.want != "" && c.want != "exists already" && len(left) != 0:
				t.Errorf("left: %v, %q", left, have)
			}
		})
	}
}

// again puts something else in place of the copy.
func again(disk string, put func(at string) error) error {
	if err := os.Remove(disk + "/x.tar.gz"); err != nil {
		return err
	}
	return put(disk + "/x.tar.gz")
}
