package privileged

import (
	"context"
	"os"
	"syscall"
)

// SocketRunner talks to the fence behind a unix socket: the way of the installed service, whose unit may neither gain privileges nor make mounts that
// the host sees. It does without package net, which the fence does not link.
type SocketRunner struct {
	Path string // default [SocketPath]
}

// Ask implements [Asker].
func (r *SocketRunner) Ask(ctx context.Context, q Query) (Answer, error) {
	return answerOf(r.talk(ctx, request{Query: &q}, nil))
}

// Do implements [Runner].
func (r *SocketRunner) Do(ctx context.Context, op Op, progress func(line string)) (Result, error) {
	return resultOf(r.talk(ctx, request{Op: &op}, progress))
}

func (r *SocketRunner) talk(ctx context.Context, req request, progress func(string)) (response, error) {
	if err := req.check(); err != nil {
		return response{}, err
	}
	path := r.Path
	if path == "" {
		path = SocketPath
	}
	conn, err := dial(path)
	if err != nil {
		return response{}, &UnreachableError{Way: "socket " + path, Reason: err.Error(), Fix: "Is felhom-fence.socket running, and is this user in its group? systemctl status felhom-fence.socket"}
	}
	over := func(err error, accepted bool) error {
		return &UnreachableError{Way: "socket " + path, Reason: err.Error(), Sent: accepted}
	}
	return exchange(ctx, half{conn}, conn, req, progress, over, func() {})
}

// half is a connection of which Close only ends what we say.
type half struct{ *os.File }

func (h half) Close() error {
	raw, err := h.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) { err = syscall.Shutdown(int(fd), syscall.SHUT_WR) }); e != nil {
		return e
	}
	return err
}

// dial connects to a unix socket. It never waits: where nobody takes connections and their queue is full, that is an error (EAGAIN).
func dial(path string) (*os.File, error) {
	const open = syscall.SOCK_STREAM | syscall.SOCK_CLOEXEC | syscall.SOCK_NONBLOCK // the last one also so that Close wakes whoever reads
	fd, err := syscall.Socket(syscall.AF_UNIX, open, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return os.NewFile(uintptr(fd), path), nil
}
