package privileged

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Machine is the real host. Its methods need root.
type Machine struct {
	root  string
	queue *queueFile // of the operation that it works for, if any
}

// NewMachine is the machine that this process runs on. A root other than "" is put before every path, also those of programs (for tests).
func NewMachine(root string) *Machine { return &Machine{root: strings.TrimSuffix(root, "/")} }

// during is the machine for one operation: its programs print to the queue's file, and those that work for long keep the queue locked while they live.
func during(m *Machine, queue *queueFile) *Machine {
	os.Remove(queue.output())
	return &Machine{root: m.root, queue: queue}
}

// NodeName implements [Host]. PVE points /etc/pve/local to nodes/NAME.
func (m *Machine) NodeName() (string, error) {
	target, err := os.Readlink(m.root + "/etc/pve/local")
	if err != nil {
		return "", err
	}
	name, ok := strings.CutPrefix(target, "nodes/")
	if !ok || nodeName(name) != "" {
		return "", fmt.Errorf("/etc/pve/local points to %q", target)
	}
	return name, nil
}

// ReadFile implements [Host]. It refuses a file that somebody else could have written: what the fence reads decides what root does.
func (m *Machine) ReadFile(name string) ([]byte, error) {
	if err := trusted(m.root, name); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(m.root+name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	return io.ReadAll(io.LimitReader(f, maxProgramOutput))
}

// trusted makes sure that a file and the directories that lead to it belong to the user whom the fence runs as, and that nobody else may write them.
func trusted(root, name string) error {
	for p := path.Clean(name); ; p = path.Dir(p) {
		info, err := os.Stat(root + p)
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		if int(stat.Uid) != os.Geteuid() && stat.Uid != 0 {
			return fmt.Errorf("%s belongs to user %d, not to root: chown root:root %s", p, stat.Uid, p)
		}
		if info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("%s may be written by others: chmod go-w %s", p, p)
		}
		if p == "/" || p == "." {
			return nil
		}
	}
}

// ReplaceFile implements [Host]: write beside, fsync, rename, fsync the directory. A kill at any point leaves the old or the new file, whole.
func (m *Machine) ReplaceFile(name string, old, new []byte) error {
	if err := trusted(m.root, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	real := m.root + name
	mode, uid, gid := fs.FileMode(0o644), os.Geteuid(), os.Getegid()
	now, err := os.ReadFile(real)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		info, err := os.Lstat(real)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is not a regular file", name)
		}
		stat := info.Sys().(*syscall.Stat_t)
		mode, uid, gid = info.Mode().Perm(), int(stat.Uid), int(stat.Gid)
	}
	if !bytes.Equal(now, old) {
		return fmt.Errorf("%s was changed in between by another program", name)
	}
	beside := filepath.Join(filepath.Dir(real), "."+filepath.Base(real)+".felhom-new")
	if err := os.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by one that was killed
		return err
	}
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(writeAll(f, new, mode, uid, gid), f.Close())
	if err == nil {
		err = os.Rename(beside, real)
	}
	if err != nil {
		os.Remove(beside)
		return err
	}
	return syncDir(filepath.Dir(real))
}

func writeAll(f *os.File, data []byte, mode fs.FileMode, uid, gid int) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Chown(uid, gid); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// SyncFS implements [Host] with syncfs(2), which package syscall does not have.
func (m *Machine) SyncFS(name string) error {
	d, err := m.walk(name)
	if err != nil {
		return err
	}
	defer d.Close()
	// The kernel does not sync through a path handle: open the directory itself.
	f, err := os.Open("/proc/self/fd/" + strconv.Itoa(int(d.Fd())))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, errno := syscall.Syscall(sysSyncfs, f.Fd(), 0, 0); errno != 0 {
		return &fs.PathError{Op: "syncfs", Path: name, Err: errno}
	}
	return nil
}

// Exclusive implements [Host]: the kernel refuses O_EXCL on a block device that anything has mounted, in any mount namespace.
func (m *Machine) Exclusive(device string) error {
	f, err := os.OpenFile(m.root+device, os.O_RDONLY|os.O_EXCL|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
