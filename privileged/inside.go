package privileged

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// inside is a container that runs, by its first process. Nothing is read by a path of the host: the container shapes its own.
type inside struct {
	proc *os.File // /proc/PID; what is opened in it is that process's, or nothing
	vmid int
}

// errNotRunning says that a container has no first process.
var errNotRunning = errors.New("it does not run")

// Probe implements [Host].
func (m *Machine) Probe(ctx context.Context, vmid int, ask map[string]string) (found map[string]string, err error) {
	out, _, err := m.Run(ctx, lxcInfo, []string{"-n", strconv.Itoa(vmid), "-p", "-H"}, nil)
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || pid <= 1 { // it prints no number, or -1, for what does not run
		return nothing(errNotRunning), nil
	}
	c, err := insideOf(m.root, pid, vmid)
	if errors.Is(err, errNotRunning) {
		return nothing(err), nil
	}
	if err != nil {
		return nil, err
	}
	type reply struct {
		found map[string]string
		err   error
	}
	replies := make(chan reply, 1)
	go func() { // what is the container's may keep the kernel waiting
		defer c.proc.Close()
		found, err := c.probe(ctx, ask)
		replies <- reply{found, err}
	}()
	select {
	case r := <-replies:
		return r.found, r.err
	case <-ctx.Done():
		return nothing(errors.New("it did not answer in time")), nil
	}
}

// nothing is the answer that there is nothing, and why.
func nothing(why error) map[string]string { return map[string]string{"no": why.Error()} }

// insideOf holds the first process of a container, and makes sure that it is that container's by its cgroup: its number may be another's by now.
func insideOf(root string, pid, vmid int) (*inside, error) {
	proc, err := os.OpenFile(root+"/proc/"+strconv.Itoa(pid), oPath|syscall.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNotRunning
	}
	if err != nil {
		return nil, err
	}
	c := &inside{proc, vmid}
	text, err := c.text("cgroup")
	switch {
	case err != nil:
		proc.Close()
		return nil, err
	case !inCgroup(text, vmid):
		proc.Close()
		return nil, fmt.Errorf("process %d is not in the cgroup of container %d", pid, vmid)
	}
	return c, nil
}

// inCgroup reports whether the text of /proc/PID/cgroup is that of a process of a container: 0::/lxc/VMID/ns/…
func inCgroup(text string, vmid int) bool {
	top := "/lxc/" + strconv.Itoa(vmid)
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) == 3 && parts[0] == "0" && (parts[2] == top || strings.HasPrefix(parts[2], top+"/")) {
			return true
		}
	}
	return false
}

// text is a short file of the kernel's about the first process.
func (c *inside) text(name string) (string, error) {
	f, err := c.entry(name, syscall.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if errors.Is(err, syscall.ESRCH) {
		err = errNotRunning
	}
	return string(data), err
}

// entry opens something in /proc/PID that every process has.
func (c *inside) entry(name string, flags int) (*os.File, error) {
	fd, err := syscall.Openat(int(c.proc.Fd()), name, flags|syscall.O_CLOEXEC, 0)
	if err == syscall.ENOENT || err == syscall.ESRCH {
		return nil, errNotRunning
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

const (
	sysOpenat2     = 437
	resolveInRoot  = 0x10 // RESOLVE_IN_ROOT
	resolveNoMagic = 0x02 // RESOLVE_NO_MAGICLINKS
)

// find opens a handle of what a path of the container leads to, links resolved as the container does it, never out of it.
func (c *inside) find(name string) (*os.File, error) {
	root, err := c.entry("root", oPath|syscall.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if own, err := os.Stat("/"); err == nil {
		if info, err := root.Stat(); err != nil || os.SameFile(own, info) {
			return nil, errors.New("its root is that of the host")
		}
	}
	path, err := syscall.BytePtrFromString(name)
	if err != nil {
		return nil, err
	}
	how := struct{ flags, mode, resolve uint64 }{oPath | syscall.O_CLOEXEC, 0, resolveInRoot | resolveNoMagic}
	for range 100 {
		fd, _, errno := syscall.Syscall6(sysOpenat2, root.Fd(), uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
		switch errno {
		case 0:
			return os.NewFile(fd, name), nil
		case syscall.EAGAIN, syscall.EINTR: // something was renamed on the way
		default:
			return nil, &fs.PathError{Op: "open", Path: name, Err: errno}
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EAGAIN}
}

// stores are the file systems that keep files, by their numbers (statfs(2)). What is read of others may act, as /proc/kmsg, or wait for the container, as FUSE.
var stores = map[uint64]bool{0xef53: true, 0x58465342: true, 0x9123683e: true, 0x2fc12fc1: true, 0xf2f52010: true, 0x01021994: true, 0x794c7630: true}

var errNoStore = errors.New("it is not on a file system that keeps files")

// stored makes sure that a handle is one of a file or folder on a file system that keeps them.
func stored(f *os.File, kind uint32) (st syscall.Stat_t, err error) {
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return st, err
	}
	if st.Mode&syscall.S_IFMT != kind {
		return st, errors.New(map[uint32]string{syscall.S_IFREG: "it is not a regular file", syscall.S_IFDIR: "it is not a folder", syscall.S_IFSOCK: "it is not a socket"}[kind])
	}
	var on syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &on); err != nil {
		return st, err
	}
	if !stores[uint64(on.Type)&0xffffffff] {
		return st, errNoStore
	}
	return st, nil
}

// reopened is what a handle stands for, opened for reading.
func reopened(handle *os.File, flags int) (*os.File, error) {
	return os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(handle.Fd())), os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY|flags, 0)
}

// probe answers one question; see [Host].
func (c *inside) probe(ctx context.Context, ask map[string]string) (map[string]string, error) {
	found, err := c.answer(ctx, ask)
	if errors.Is(err, errNotRunning) {
		return nothing(errNotRunning), nil
	}
	return found, err
}

func (c *inside) answer(ctx context.Context, ask map[string]string) (map[string]string, error) {
	port, _ := strconv.Atoi(ask["port"])
	switch ask["what"] {
	case "system", "unit":
		return c.askSystemd(ctx, ask)
	case "process":
		return c.processes(ctx, ask["name"])
	case "tcp":
		return c.connects(ctx, port)
	case "http":
		return c.get(ctx, port, ask["url"])
	case "file":
		return c.file(ctx, ask["file"], ask["hash"] != "")
	case "newest":
		return c.newest(ctx, ask["file"])
	case "survey":
		return c.survey(ctx)
	}
	return nil, fmt.Errorf("unknown probe %q", ask["what"])
}

// processes counts the processes of a container that have a name, by the kernel's word (at most 15 bytes of it).
func (c *inside) processes(ctx context.Context, name string) (map[string]string, error) {
	all, err := os.Open(c.proc.Name() + "/..")
	if err != nil {
		return nil, err
	}
	defer all.Close()
	pids, err := all.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	count := 0
	for _, pid := range pids {
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		dir := c.proc.Name() + "/../" + pid
		text, err := os.ReadFile(dir + "/cgroup")
		if err != nil || !inCgroup(string(text), c.vmid) {
			continue
		}
		stat, err := os.ReadFile(dir + "/stat") // PID (NAME) STATE …
		open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
		if err == nil && open >= 0 && end > open && string(stat[open+1:end]) == name[:min(len(name), 15)] && !bytes.HasPrefix(stat[end+1:], []byte(" Z")) {
			count++
		}
	}
	if count == 0 {
		return nothing(errors.New("there is no such process")), nil
	}
	return map[string]string{"processes": strconv.Itoa(count)}, nil
}
