package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// mostBytes is the most that agent.yaml or a file with a secret may have.
const mostBytes = 1 << 20

// readDeadline is for what calls itself a regular file and has nothing to give, as /proc/kmsg.
const readDeadline = 2 * time.Second

// readFile reads a regular file of at most mostBytes bytes. It never waits for a FIFO or a device, and does not believe the size: files
// of /proc have none.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if err := regular(name, info); err != nil { // before it is opened: to open a device may do something
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err == nil {
		err = regular(name, info) // it may have been exchanged
	}
	if err != nil {
		return nil, err
	}
	_ = f.SetReadDeadline(time.Now().Add(readDeadline)) // fails for those that never wait
	text, err := io.ReadAll(io.LimitReader(f, mostBytes+1))
	if err == nil && len(text) > mostBytes {
		err = &os.PathError{Op: "read", Path: name, Err: errLarge}
	}
	return text, err
}

var (
	errLarge   = fmt.Errorf("it has more than %d MiB", mostBytes>>20)
	errSpecial = errors.New("it is not a regular file")
)

func regular(name string, info os.FileInfo) error {
	switch {
	case !info.Mode().IsRegular():
		return &os.PathError{Op: "read", Path: name, Err: errSpecial}
	case info.Size() > mostBytes:
		return &os.PathError{Op: "read", Path: name, Err: errLarge}
	}
	return nil
}
