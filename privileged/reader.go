package privileged

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// readableHost is the part of a [Host] that changes nothing, as long as [Host.Run] is only given programs that read.
type readableHost interface {
	Run(ctx context.Context, program string, args []string, progress func(line string)) (output []byte, exit int, err error)
	BlockDevices() ([]string, error)
	MountTables() ([][]byte, error)
	MountInfo(pid int) ([]byte, error)
	ReadDir(path string) ([]string, error)
	ReadFile(path string) ([]byte, error)
	SyncFS(path string) error
	Exclusive(device string) error
	CheckArchive(ctx context.Context, path string) (fault, unchecked string, err error)
	Probe(ctx context.Context, vmid int, ask map[string]string) (found map[string]string, err error)
	Stat(path string) (mode fs.FileMode, stamp string, err error)
}

// reader answers for a request what stands on the machine: files, facts of the kernel, mount tables, root's policy. By its type it cannot change
// anything there. A query gets no more than that, and an operation ([job]) asks it first.
type reader struct {
	admitted
	ctx   context.Context
	local *Local // what this process and others carry out, and what is remembered of disks
	host  readableHost
}

// read reads a file of the host; nil when there is none.
func (r reader) read(path string) ([]byte, error) {
	data, err := r.host.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &FailedError{Op: r.op, Reason: fmt.Sprintf("cannot read %s: %v", path, err)}
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

// fact is a short file of the kernel's or udev's; "" where there is none.
func (r reader) fact(name string) string {
	data, err := r.host.ReadFile(name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// number is a file of the kernel's that holds one number.
func (r reader) number(name string) (int64, error) {
	data, err := r.host.ReadFile(name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}
