package recovery

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/felhom/felhom-agent/reconcile"
)

// files are the agent's own files on a host: below a root, and with another place for some folders.
type files struct {
	place func(path string) string
	now   func() time.Time
}

// ReadFile implements [Host].
func (f files) ReadFile(path string) ([]byte, error) { return os.ReadFile(f.place(path)) }

// List implements [Host].
func (f files) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(f.place(dir))
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Origins implements [Host].
func (f files) Origins() map[string]string {
	journal, err := reconcile.ReadJournal(filepath.Dir(f.place(stateFile)))
	if err != nil {
		return nil // it is only shown
	}
	defer journal.Close()
	origins := map[string]string{}
	for _, e := range journal.History(reconcile.HistoryFilter{}) {
		if _, from, ok := strings.Cut(e.Text, " from "); ok && e.Verb == "restore" && e.Result == "ok" {
			_, name, _ := strings.Cut(e.Object, "/")
			origins[name] = from
		}
	}
	return origins
}

// WriteFile implements [Host].
func (f files) WriteFile(path string, text []byte, mode fs.FileMode) error {
	to := f.place(path)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	beside := to + ".recovery"
	if err := writeFile(beside, text, mode); err != nil {
		return err
	}
	if path != markFile { // what a recovery notes for itself is nobody else's
		if err := f.keep(to); err != nil {
			return err
		}
	}
	if err := os.Rename(beside, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// WriteFolder implements [Host].
func (f files) WriteFolder(dir string, all map[string][]byte) error {
	to := f.place(dir)
	beside := to + ".recovery"
	if err := errors.Join(os.RemoveAll(beside), os.MkdirAll(beside, 0o755)); err != nil {
		return err
	}
	for name, text := range all {
		if !filepath.IsLocal(name) || filepath.Base(name) != name {
			return fmt.Errorf("invalid file name %q", name)
		}
		if err := writeFile(filepath.Join(beside, name), text, 0o644); err != nil {
			return err
		}
	}
	if err := syncDir(beside); err != nil {
		return err
	}
	if empty := os.Remove(to); empty != nil && !errors.Is(empty, fs.ErrNotExist) { // it goes only where it is empty
		if err := f.keep(to); err != nil {
			return err
		}
	}
	if err := os.Rename(beside, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// keep moves what is at a path aside, under a name with the date that is free.
func (f files) keep(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	stamp := path + "." + f.now().Format("2006-01-02T15-04-05")
	to := stamp
	for n := 2; exists(to); n++ {
		to = fmt.Sprintf("%s-%d", stamp, n)
	}
	if info.Mode().IsRegular() { // a second name: at no moment is there no file
		return os.Link(path, to)
	}
	return os.Rename(path, to)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// writeFile writes a whole file, and has it on the disk. It belongs to whom its folder does, so that the service can read what root puts into its
// state directory.
func writeFile(path string, text []byte, mode fs.FileMode) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Chmod(mode))
	if info, e := os.Stat(filepath.Dir(path)); e == nil && os.Geteuid() == 0 {
		owner := info.Sys().(*syscall.Stat_t)
		err = errors.Join(err, file.Chown(int(owner.Uid), int(owner.Gid)))
	}
	return errors.Join(err, file.Sync(), file.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
