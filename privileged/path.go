package privileged

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

const (
	oPath          = 0x200000   // O_PATH
	atSymlink      = 0x100      // AT_SYMLINK_NOFOLLOW
	getFlags       = 0x80086601 // FS_IOC_GETFLAGS on 64 bit
	setFlags       = 0x40086602 // FS_IOC_SETFLAGS on 64 bit
	immutableFlag  = 0x10       // FS_IMMUTABLE_FL
	mountPointMode = 0o755
)

var errSymlink = errors.New("a symbolic link is in the way")

// walk opens a directory step by step and follows no symbolic link.
func (m *Machine) walk(name string) (*os.File, error) {
	root := m.root
	if root == "" {
		root = "/"
	}
	fd, err := syscall.Open(root, oPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	at := "/"
	for _, part := range strings.Split(strings.Trim(name, "/"), "/") {
		if part == "" {
			break
		}
		at = path.Join(at, part)
		next, err := openPart(fd, part)
		syscall.Close(fd)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: at, Err: err}
		}
		fd = next
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openPart opens a directory in a directory, but no symbolic link.
func openPart(dir int, name string) (int, error) {
	for {
		fd, err := syscall.Openat(dir, name, oPath|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
		switch err {
		case nil:
			return fd, nil
		case syscall.EINTR:
			continue
		case syscall.ENOTDIR, syscall.ELOOP:
			if mode, e := lstatAt(dir, name); e == nil && mode&fs.ModeSymlink != 0 {
				return -1, errSymlink
			}
		}
		return -1, err
	}
}

// privateDir refuses a directory in which somebody other than root could exchange what a path leads through.
func privateDir(fd int, at string) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: at, Err: err}
	}
	if int(st.Uid) != os.Geteuid() && st.Uid != 0 || st.Mode&0o022 != 0 && st.Mode&syscall.S_ISVTX == 0 {
		return fmt.Errorf("%s may be changed by others than root, so what lies below it could be exchanged: chown root %s; chmod go-w %s", at, quote(at), quote(at))
	}
	return nil
}

// statAt is lstat of an entry of a directory.
func statAt(dir int, name string) (st syscall.Stat_t, err error) {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return st, err
	}
	_, _, errno := syscall.Syscall6(sysFstatat, uintptr(dir), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&st)), atSymlink, 0, 0)
	if errno != 0 {
		return st, errno
	}
	return st, nil
}

// lstatAt is the mode of an entry of a directory.
func lstatAt(dir int, name string) (fs.FileMode, error) {
	st, err := statAt(dir, name)
	if err != nil {
		return 0, err
	}
	return modeOf(st), nil
}

func modeOf(st syscall.Stat_t) fs.FileMode {
	mode := fs.FileMode(st.Mode & 0o777)
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		mode |= fs.ModeDir
	case syscall.S_IFLNK:
		mode |= fs.ModeSymlink
	case syscall.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case syscall.S_IFBLK:
		mode |= fs.ModeDevice
	case syscall.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case syscall.S_IFSOCK:
		mode |= fs.ModeSocket
	}
	return mode
}

// OpenFolder implements [Host].
func (m *Machine) OpenFolder(name string) (same func() error, close func(), err error) {
	f, err := m.walk(name)
	if errors.Is(err, syscall.ENOTDIR) {
		err = fmt.Errorf("%s: it is not a directory", name)
	}
	if err != nil {
		return nil, nil, err
	}
	same = func() error {
		now, err := m.walk(name)
		if err != nil {
			return err
		}
		defer now.Close()
		before, err := f.Stat()
		if err != nil {
			return err
		}
		if info, err := now.Stat(); err != nil || !os.SameFile(before, info) {
			return errors.Join(errors.New("another directory stands there now"), err)
		}
		return nil
	}
	return same, func() { f.Close() }, nil
}

// Stat implements [Host].
func (m *Machine) Stat(name string) (fs.FileMode, string, error) {
	dir, err := m.walk(path.Dir(name))
	if err != nil {
		return 0, "", err
	}
	defer dir.Close()
	st, err := statAt(int(dir.Fd()), path.Base(name))
	mode := modeOf(st)
	if err == nil && mode&fs.ModeSymlink != 0 {
		err = errSymlink
	}
	if err != nil {
		return 0, "", &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	if mode.IsDir() { // its times are of its entries; of a cgroup they are of the moment in which the kernel read it in
		return mode, strconv.FormatUint(st.Ino, 10), nil
	}
	return mode, fmt.Sprintf("%d %d %d.%09d", st.Ino, st.Size, st.Ctim.Sec, st.Ctim.Nsec), nil
}

// MakeMountPoint implements [Host].
func (m *Machine) MakeMountPoint(name string) (immutable bool, err error) {
	parts := strings.Split(strings.Trim(name, "/"), "/")
	for i := range parts { // make what is missing, in directories that are root's alone
		at := "/" + path.Join(parts[:i]...)
		dir, err := m.walk(at)
		if err != nil {
			return false, err
		}
		if err := privateDir(int(dir.Fd()), at); err != nil {
			dir.Close()
			return false, err
		}
		err = syscall.Mkdirat(int(dir.Fd()), parts[i], mountPointMode)
		dir.Close()
		if err != nil && err != syscall.EEXIST {
			return false, &fs.PathError{Op: "mkdir", Path: path.Join(at, parts[i]), Err: err}
		}
	}
	handle, err := m.walk(name)
	if err != nil {
		return false, err
	}
	defer handle.Close()
	dir, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", handle.Fd()))
	if err != nil {
		return false, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(1)
	switch {
	case err != nil && err != io.EOF:
		return false, err
	case len(names) > 0:
		return false, fmt.Errorf("%s is not empty (it holds %q): what is in it would be hidden by the disk. Move it away, as root", name, names[0])
	}
	return setImmutable(dir), nil
}

// setImmutable sets what `chattr +i` sets; false where the file system does not know it.
func setImmutable(dir *os.File) bool {
	var flags uint64 // the kernel reads and writes an int of it
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), getFlags, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return false
	}
	if flags&immutableFlag != 0 {
		return true
	}
	flags |= immutableFlag
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), setFlags, uintptr(unsafe.Pointer(&flags)))
	return errno == 0
}
