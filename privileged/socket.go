package privileged

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
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
		return response{}, &UnreachableError{Way: "socket " + path, Reason: err.Error(), Cure: "Is felhom-fence.socket running, and is this user in its group? systemctl status felhom-fence.socket"}
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

// dial connects to a unix socket.
func dial(path string) (*os.File, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // so that Close wakes whoever reads
		syscall.Close(fd)
		return nil, os.NewSyscallError("setnonblock", err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Caller says who is behind the open file fd of the fence: for a socket the peer, whom the policy must let in; else the user whom sudo names, or root.
func (m *Machine) Caller(fd int, getenv func(string) string) (who string, err error) {
	peer, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err == syscall.ENOTSOCK {
		if user := printable(getenv("SUDO_USER")); user != "" {
			return "sudo user " + user, nil
		}
		return "root", nil
	}
	if err != nil {
		return "", os.NewSyscallError("getsockopt", err)
	}
	if peer.Uid == 0 {
		return fmt.Sprintf("root (pid %d)", peer.Pid), nil
	}
	p, err := (&scene{host: m, op: "the request"}).policy()
	if err != nil {
		return "", err
	}
	users, err := m.ReadFile("/etc/passwd")
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(users), "\n") {
		f := strings.Split(line, ":")
		if len(f) < 3 || f[2] != strconv.FormatUint(uint64(peer.Uid), 10) {
			continue
		}
		for _, allowed := range p.Users {
			if f[0] == allowed {
				return fmt.Sprintf("%s (pid %d)", f[0], peer.Pid), nil
			}
		}
	}
	return "", &RefusedError{Op: "the connection", Reason: fmt.Sprintf("user %d may not speak to the fence", peer.Uid), Cure: "It listens to " + strings.Join(p.Users, ", ") + "; as root, add to users in " + policyPath}
}
