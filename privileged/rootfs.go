package privileged

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// maxEntries is how many names a folder of SSH keys may hold: each of them is the container's to make.
const maxEntries = 10_000

// UnexpectedError says that a thing in a container's root file system is not of the type that it must have.
type UnexpectedError struct {
	Path string // in the container, without a leading slash, e.g. etc/ssh
	Is   string // e.g. "a FIFO"
	Want string // e.g. "a folder"
}

func (e *UnexpectedError) Error() string {
	return fmt.Sprintf("%s is %s; expected %s", e.Path, e.Is, e.Want)
}

// rootfs is a container's root file system while it is sealed.
type rootfs struct {
	ctx     context.Context
	fd      int                 // of its root
	owner   *syscall.Stat_t     // whose etc is: the container's root, as the host numbers it
	folders map[string]*os.Root // opened without following a link; nil for those that are not there
}

// folder opens a directory step by step and follows no link; nil when there is none.
func (r *rootfs) folder(name string) (*os.Root, error) {
	fd, err := syscall.Dup(r.fd)
	if err != nil {
		return nil, err
	}
	defer func() { syscall.Close(fd) }()
	at := ""
	for part := range strings.SplitSeq(name, "/") {
		at = path.Join(at, part)
		next, err := openPart(fd, part)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			if mode, e := lstatAt(fd, part); e == nil && !mode.IsDir() {
				return nil, &UnexpectedError{at, typeName(mode), "a folder"}
			}
			return nil, &fs.PathError{Op: "open", Path: at, Err: err}
		}
		syscall.Close(fd)
		fd = next
	}
	return os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", fd))
}

func (r *rootfs) close() {
	for _, dir := range r.folders {
		if dir != nil {
			dir.Close()
		}
	}
}

// entry is what stands in a folder under a name, a link as itself; nil for nothing.
func (r *rootfs) entry(dir, name string) (fs.FileInfo, error) {
	if r.folders[dir] == nil {
		return nil, nil
	}
	info, err := r.folders[dir].Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return info, err
}

// file reports whether a folder has a file of this name. What also names may stand there in its place and is left alone.
func (r *rootfs) file(dir, name string, also fs.FileMode) (bool, error) {
	info, err := r.entry(dir, name)
	switch {
	case err != nil || info == nil:
		return false, err
	case info.Mode().IsRegular():
		return true, nil
	case also != 0 && info.Mode().Type() == also:
		return false, nil
	}
	return false, &UnexpectedError{path.Join(dir, name), typeName(info.Mode()), "a file"}
}

// names lists a folder, in parts: it may hold more names than there is memory.
func (r *rootfs) names(dir string) (names []string, err error) {
	if r.folders[dir] == nil {
		return nil, nil
	}
	d, err := r.folders[dir].OpenFile(".", os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	for {
		some, err := d.Readdirnames(256)
		names = append(names, some...)
		switch {
		case err == io.EOF:
			return names, nil
		case err != nil:
			return nil, err
		case len(names) > maxEntries:
			return nil, &UnexpectedError{dir, fmt.Sprintf("a folder of more than %d names", maxEntries), "one of SSH keys"}
		case r.ctx.Err() != nil:
			return nil, r.ctx.Err()
		}
	}
}

// program reports whether the container has a file there; links count as far as they stay within it. Nothing is opened.
func (r *rootfs) program(name string) bool {
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", r.fd))
	if err != nil {
		return false
	}
	defer root.Close()
	info, err := root.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// mkdirs makes a folder and those that lead to it, owned by the container's root, and opens it.
func (r *rootfs) mkdirs(dir string) error {
	if r.folders[dir] != nil {
		return nil
	}
	parent := path.Dir(dir)
	up, err := r.folder(parent)
	if err != nil {
		return err
	}
	if up == nil {
		if err := r.mkdirs(parent); err != nil {
			return err
		}
		up = r.folders[parent]
	} else {
		defer up.Close()
	}
	if err := up.Mkdir(path.Base(dir), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := up.Lchown(path.Base(dir), int(r.owner.Uid), int(r.owner.Gid)); err != nil {
		return err
	}
	r.folders[dir], err = r.folder(dir)
	return err
}

// write replaces a file by a new one: a link or a file with many names in its place is not written through.
func (r *rootfs) write(dir, name, text string) error {
	at := r.folders[dir]
	if err := at.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := at.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Chown(int(r.owner.Uid), int(r.owner.Gid)), f.Chmod(0o644), f.Sync(), f.Close())
}

// typeName is the type of a file in words.
func typeName(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return "a file"
	case fs.ModeDir:
		return "a folder"
	case fs.ModeSymlink:
		return "a link"
	case fs.ModeNamedPipe:
		return "a FIFO"
	case fs.ModeSocket:
		return "a socket"
	}
	return "a device"
}
