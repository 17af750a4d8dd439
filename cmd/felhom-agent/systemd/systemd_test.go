package systemd

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A service manager that hangs, until no more can be told to it, keeps nobody.
func TestAManagerThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	t.Setenv("NOTIFY_SOCKET", path)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	for err == nil { // until its queue is full
		var fd int
		if fd, err = syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0); err == nil {
			err = syscall.Sendto(fd, []byte("WATCHDOG=1"), 0, &syscall.SockaddrUnix{Name: path})
			syscall.Close(fd)
		}
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	go func() { told <- send("STATUS=converged 6 of 6", 50*time.Millisecond) }()
	select {
	case err := <-told:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(time.Minute): // only a hang gets here
		t.Fatal("it is waited for without end")
	}
}
