package privileged

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Machine is the real host. Its methods need root.
type Machine struct {
	root string
	lane *laneFile // of the act that it works for, if any
}

// NewMachine is the machine that this process runs on. A root other than "" is put before every path, also those of programs (for tests).
func NewMachine(root string) *Machine { return &Machine{root: strings.TrimSuffix(root, "/")} }

// during is the machine for one act: its programs print to the lane's file, and those that work for long keep the lane locked while they live.
func (m *Machine) during(lane *laneFile) *Machine {
	os.Remove(lane.output())
	return &Machine{root: m.root, lane: lane}
}

const maxProgramOutput = 4 << 20

// Run implements [Host]; of a look the output is what the program prints on standard output alone, unless it fails. It goes to a file, so that it can go on when nobody reads any more. The end of ctx kills it and all that
// it started; for acts ctx has no end.
func (m *Machine) Run(ctx context.Context, program string, args []string, progress func(line string)) (output []byte, exit int, err error) {
	if !path.IsAbs(program) {
		return nil, 0, fmt.Errorf("%s is not an absolute path", program)
	}
	var out, errs *os.File
	if m.lane != nil {
		out, err = os.OpenFile(m.lane.output(), os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
		errs = out
	} else if out, err = scratch(); err == nil { // a look: what is to be read must not be mixed with warnings
		defer out.Close()
		errs, err = scratch()
	}
	if err != nil {
		return nil, 0, err
	}
	defer errs.Close()
	begin, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, 0, err
	}

	cmd := exec.Command(m.root+program, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if m.lane != nil && program == pct { // not mount: what it leaves behind may live as long as the disk stays mounted
		cmd.ExtraFiles = []*os.File{m.lane.lock}
	}
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	follow := follower{file: out, at: begin, line: progress}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case err = <-ended:
			waiting = false
		case <-tick.C:
			follow.read()
		case <-ctx.Done():
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			select {
			case <-ended:
			case <-time.After(time.Second): // it hangs in the kernel, at a disk that does not answer, and ends when that does
			}
			return nil, 0, ctx.Err()
		}
	}
	follow.read()
	follow.end()
	output, readErr := section(out, begin)
	if err != nil && errs != out {
		warnings, _ := section(errs, 0)
		output = append(output, warnings...)
	}
	var bad *exec.ExitError
	switch {
	case err == nil:
		return output, 0, readErr
	case errors.As(err, &bad) && bad.Exited():
		return output, bad.ExitCode(), readErr
	case errors.As(err, &bad):
		return output, 128 + int(bad.Sys().(syscall.WaitStatus).Signal()), readErr
	}
	return output, 0, err
}

// scratch is a file without a name.
func scratch() (*os.File, error) {
	f, err := os.CreateTemp("", "felhom-fence-")
	if err == nil {
		os.Remove(f.Name())
	}
	return f, err
}

// section is what a file holds from an offset on, at most its last 4 MiB.
func section(f *os.File, from int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	from = max(from, info.Size()-maxProgramOutput)
	return io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
}

// follower hands the lines of a growing file on.
type follower struct {
	file    *os.File
	at      int64
	pending []byte
	line    func(string)
}

func (f *follower) read() {
	if f.line == nil {
		return
	}
	buf := make([]byte, 64<<10)
	for {
		n, _ := f.file.ReadAt(buf, f.at)
		if n == 0 {
			return
		}
		f.at += int64(n)
		f.pending = append(f.pending, buf[:n]...)
		for {
			i := bytes.IndexAny(f.pending, "\r\n")
			if i < 0 {
				break
			}
			f.line(string(f.pending[:i]))
			f.pending = f.pending[i+1:]
		}
		if len(f.pending) > 64<<10 {
			f.end()
		}
	}
}

func (f *follower) end() {
	if f.line != nil && len(f.pending) > 0 {
		f.line(string(f.pending))
	}
	f.pending = nil
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
	if err := m.trusted(name); err != nil {
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
func (m *Machine) trusted(name string) error {
	for p := path.Clean(name); ; p = path.Dir(p) {
		info, err := os.Stat(m.root + p)
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
	if err := m.trusted(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
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
