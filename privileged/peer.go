package privileged

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Peer is who sends a request to the root helper.
type Peer struct {
	Name string // for the log, e.g. "felhom-agent (pid 4711)"
	UID  uint32
}

// MaxRequests is how many requests of one peer the root helper works on at a time, each in a process of its own.
const MaxRequests = 16

// Caller says who is behind the open file fd of the root helper: for a socket the peer, whom the policy must let in; else the user whom sudo names, or
// root.
func (m *Machine) Caller(fd int, getenv func(string) string) (Peer, error) {
	cred, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err == syscall.ENOTSOCK {
		if user := printable(getenv("SUDO_USER")); user != "" {
			uid, _ := strconv.ParseUint(getenv("SUDO_UID"), 10, 32)
			return Peer{"sudo user " + user, uint32(uid)}, nil
		}
		return Peer{Name: "root"}, nil
	}
	if err != nil {
		return Peer{}, os.NewSyscallError("getsockopt", err)
	}
	if cred.Uid == 0 {
		return Peer{Name: fmt.Sprintf("root (pid %d)", cred.Pid)}, nil
	}
	p, err := reader{admitted: admitted{op: "the request"}, host: m}.policy()
	if err != nil {
		return Peer{}, err
	}
	users, err := m.ReadFile("/etc/passwd")
	if err != nil {
		return Peer{}, err
	}
	for line := range strings.SplitSeq(string(users), "\n") {
		f := strings.Split(line, ":")
		if len(f) >= 3 && f[2] == strconv.FormatUint(uint64(cred.Uid), 10) && slices.Contains(p.Users, f[0]) {
			return Peer{fmt.Sprintf("%s (pid %d)", f[0], cred.Pid), cred.Uid}, nil
		}
	}
	return Peer{}, &RefusedError{Op: "the connection", Reason: fmt.Sprintf("user %d may not speak to the root helper", cred.Uid), Fix: "It listens to " + strings.Join(p.Users, ", ") + "; as root, add to users in " + PolicyPath}
}

// Enter takes one of the peer's places in dir, until this process ends or done is called. It refuses where all [MaxRequests] are taken. The places
// are bytes of one file with a lock each, so that a process that is killed gives its place back and nothing is left of it.
func (p Peer) Enter(dir string) (done func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "peers.lock"), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	for i := range int64(MaxRequests) {
		place := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: int64(p.UID)*MaxRequests + i, Len: 1}
		err := syscall.FcntlFlock(f.Fd(), ofdSetLock, &place)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EACCES) {
			f.Close()
			return nil, err
		}
	}
	f.Close()
	return nil, &RefusedError{Op: "the connection", Busy: true, Reason: fmt.Sprintf("%d requests of this user are in progress", MaxRequests), Fix: "Wait until one has ended; which they are: felhom-agent --status"}
}

const (
	maxSilence = 2 * time.Second  // between two parts of a request
	maxReceive = 10 * time.Second // for a whole request
	maxUnread  = 10 * time.Second // for a part of an answer that nobody reads
)

// Patient reads from a peer that may say nothing, or so little at a time that it never ends: then Read fails.
func Patient(from io.Reader) io.Reader {
	p := &patient{parts: make(chan part), late: make(chan struct{}), until: time.Now().Add(maxReceive)}
	go func() { // a read that waits cannot be called back; it ends with the process
		for {
			data := make([]byte, 32<<10)
			n, err := from.Read(data)
			select {
			case p.parts <- part{data[:n], err}:
			case <-p.late:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return p
}

type patient struct {
	parts chan part
	late  chan struct{} // closed when nobody waits any more
	now   part
	until time.Time
}

type part struct {
	data []byte
	err  error
}

func (p *patient) Read(buf []byte) (int, error) {
	if len(p.now.data) == 0 && p.now.err == nil {
		select {
		case p.now = <-p.parts:
		case <-time.After(min(maxSilence, time.Until(p.until))):
			close(p.late)
			p.now.err = fmt.Errorf("nothing came for %s, or no complete request within %s", maxSilence, maxReceive)
		}
	}
	n := copy(buf, p.now.data)
	p.now.data = p.now.data[n:]
	if n == 0 {
		return 0, p.now.err
	}
	return n, nil
}

// Unhurried writes to a peer that may not read what it is told: it is waited for once, and told nothing more. Write never fails.
func Unhurried(to io.Writer) io.Writer { return &unhurried{to: to} }

type unhurried struct {
	mu   sync.Mutex
	to   io.Writer
	deaf bool
}

func (u *unhurried) Write(data []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.deaf {
		return len(data), nil
	}
	copied, written := slices.Clone(data), make(chan struct{})
	go func() {
		u.to.Write(copied)
		close(written)
	}()
	select {
	case <-written:
	case <-time.After(maxUnread):
		u.deaf = true
	}
	return len(data), nil
}
