package kit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// Disk is a folder of this machine as a [Folder], for a disk that may be anybody's. Close it after use.
type Disk struct{ root *os.Root }

// OpenDisk opens a folder.
func OpenDisk(dir string) (Disk, error) {
	root, err := os.OpenRoot(dir)
	return Disk{root}, err
}

// Close lets go of the folder.
func (d Disk) Close() error { return d.root.Close() }

// Entries implements [Folder].
func (d Disk) Entries(dir string) ([]Entry, error) {
	info, err := d.root.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is a link or a file, not a folder", dir)
	}
	f, err := d.root.OpenFile(dir, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found, err := f.ReadDir(mostFiles + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	entries := make([]Entry, 0, len(found))
	for _, e := range found {
		entries = append(entries, Entry{Name: e.Name(), Dir: e.IsDir(), Regular: e.Type().IsRegular()})
	}
	return entries, err
}

// Read implements [Folder].
func (d Disk) Read(file string, most int64) ([]byte, error) {
	f, err := d.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s makes the kit larger than a kit may be", file)
	}
	return text, err
}

// Open opens a regular file.
func (d Disk) Open(file string) (*os.File, error) {
	if err := fits(d.root.Lstat(file)); err != nil { // before it is opened: to open a device may do something
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	f, err := d.root.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := fits(f.Stat()); err != nil { // it may have been exchanged
		f.Close()
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return f, nil
}

// Stat is the size in bytes of a regular file, and when it was changed.
func (d Disk) Stat(file string) (size int64, changed time.Time, err error) {
	info, err := d.root.Lstat(file)
	if err = fits(info, err); err != nil {
		return 0, changed, err
	}
	return info.Size(), info.ModTime(), nil
}

func fits(info fs.FileInfo, err error) error {
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is a link, a device or a folder, not a regular file")
	}
	return err
}
