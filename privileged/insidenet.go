package privileged

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const cloneNewNet = 0x40000000 // CLONE_NEWNET

// loopback are the addresses at which a container is asked: its own, within its own network.
var loopback = []struct {
	name string
	at   func(port int) syscall.Sockaddr
	kind int
}{
	{"127.0.0.1", func(port int) syscall.Sockaddr {
		return &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	}, syscall.AF_INET},
	{"::1", func(port int) syscall.Sockaddr { return &syscall.SockaddrInet6{Port: port, Addr: [16]byte{15: 1}} }, syscall.AF_INET6},
}

// connects answers whether a port takes connections.
func (c *inside) connects(ctx context.Context, port int) (map[string]string, error) {
	socket, at, err := c.dial(ctx, port)
	if err != nil {
		return refusedBy(err)
	}
	defer socket.Close()
	return map[string]string{"connected": at}, nil
}

// get answers the status of a GET.
func (c *inside) get(ctx context.Context, port int, url string) (map[string]string, error) {
	socket, _, err := c.dial(ctx, port)
	if err != nil {
		return refusedBy(err)
	}
	defer socket.Close()
	if _, err := io.WriteString(socket, "GET "+url+" HTTP/1.1\r\nHost: localhost\r\nUser-Agent: felhom-agent\r\nAccept: */*\r\nConnection: close\r\n\r\n"); err != nil {
		return refusedBy(err)
	}
	var head []byte
	for !bytes.Contains(head, []byte("\n")) && len(head) < 4096 {
		part := make([]byte, 512)
		n, err := socket.Read(part)
		head = append(head, part[:n]...)
		if err != nil && len(head) == 0 {
			return refusedBy(err)
		}
		if err != nil {
			break
		}
	}
	line, _, _ := strings.Cut(string(head), "\n")
	version, rest, _ := strings.Cut(line, " ")
	status, err := strconv.Atoi(rest[:min(3, len(rest))])
	if !strings.HasPrefix(version, "HTTP/1.") || err != nil || status < 100 || status > 999 {
		return nothing(errors.New("its answer is not HTTP")), nil
	}
	return map[string]string{"status": strconv.Itoa(status)}, nil
}

// refusedBy is the answer for a connection that the container did not take, or broke.
func refusedBy(err error) (map[string]string, error) {
	for _, theirs := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, syscall.ENETUNREACH, syscall.EADDRNOTAVAIL, syscall.EHOSTUNREACH} {
		if errors.Is(err, theirs) {
			return nothing(theirs), nil
		}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nothing(errors.New("it did not answer in time")), nil
	case errors.Is(err, io.EOF):
		return nothing(errors.New("it ended the connection without an answer")), nil
	}
	return nil, err
}

// dial connects to a port of a container from within its own network, which the link to the bridge is no part of. at says which address took it.
func (c *inside) dial(ctx context.Context, port int) (socket *os.File, at string, err error) {
	network, err := c.entry("ns/net", syscall.O_RDONLY)
	if err != nil {
		return nil, "", err
	}
	defer network.Close()
	own, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return nil, "", err
	}
	if theirs, err := network.Stat(); err != nil || os.SameFile(own, theirs) {
		return nil, "", errors.New("its network is that of the host")
	}
	for _, a := range loopback {
		if socket, err = dialIn(ctx, network, a.kind, a.at(port)); err == nil {
			return socket, a.name, nil
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, "", err
		}
	}
	return nil, "", err
}

// dialIn connects in a network namespace. A thread that was in it is never used for anything else: it ends with the goroutine.
func dialIn(ctx context.Context, network *os.File, kind int, to syscall.Sockaddr) (*os.File, error) {
	fd, err := apart(func() (int, error) {
		if _, _, errno := syscall.RawSyscall(sysSetns, network.Fd(), cloneNewNet, 0); errno != 0 {
			return -1, fmt.Errorf("cannot enter its network: %w", errno)
		}
		fd, err := syscall.Socket(kind, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			return -1, err
		}
		if err := syscall.Connect(fd, to); err != nil && err != syscall.EINPROGRESS {
			syscall.Close(fd)
			return -1, err
		}
		return fd, nil
	})
	if err != nil {
		return nil, err
	}
	return connected(ctx, fd)
}

// apart runs f on a thread of its own, which ends afterwards: what f changes of the thread stays with nobody. It is never the main thread, which
// would not end, and which is what /proc/self shows.
func apart(f func() (int, error)) (fd int, err error) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		if syscall.Gettid() == syscall.Getpid() {
			fd, err = apart(f) // elsewhere, for this goroutine keeps the main thread
			runtime.UnlockOSThread()
		} else { // the thread is never unlocked
			fd, err = f()
		}
		close(done)
	}()
	<-done
	return fd, err
}

// connected waits until a socket is connected, at most as long as ctx; the same bound holds for what is read and written then.
func connected(ctx context.Context, fd int) (*os.File, error) {
	socket := os.NewFile(uintptr(fd), "socket")
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(probeTime)
	}
	raw, err := socket.SyscallConn()
	if err = errors.Join(err, socket.SetDeadline(deadline)); err != nil {
		socket.Close()
		return nil, err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		code, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
		if err != nil {
			failed = err
			return true
		}
		if code != 0 {
			failed = syscall.Errno(code)
			return true
		}
		_, err = syscall.Getpeername(int(fd))
		return err == nil // not yet: wait
	})
	if failed != nil {
		err = failed
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	return socket, nil
}

// listens are the TCP ports that are listened on in the network of a container, in order.
func (c *inside) listens() ([]int, error) {
	var ports []int
	for _, name := range []string{"net/tcp", "net/tcp6"} {
		text, err := c.text(name)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) { // sl: ADDRESS:PORT ADDRESS:PORT STATE …, in hex; 0A is listening
			f := strings.Fields(line)
			if len(f) < 4 || f[3] != "0A" {
				continue
			}
			_, hex, _ := strings.Cut(f[1], ":")
			if port, err := strconv.ParseUint(hex, 16, 16); err == nil && !slices.Contains(ports, int(port)) {
				ports = append(ports, int(port))
			}
		}
	}
	slices.Sort(ports)
	return ports, nil
}

// survey answers what could be probed.
func (c *inside) survey(ctx context.Context) (map[string]string, error) {
	ports, err := c.listens()
	if err != nil {
		return nil, err
	}
	words := make([]string, len(ports))
	for i, port := range ports {
		words[i] = strconv.Itoa(port)
	}
	found := map[string]string{"ports": strings.Join(words, " ")}
	if units, err := c.activeServices(ctx); err == nil { // an init that is not systemd has ports too
		found["units"] = strings.Join(units, " ")
	}
	return found, nil
}
