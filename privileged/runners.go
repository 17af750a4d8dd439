package privileged

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

var errDeclared = errors.New("not written yet")

// Where the packages put the fence.
const (
	FencePath  = "/usr/sbin/felhom-fence"
	SocketPath = "/run/felhom-fence.sock"
)

// Mode is how [ExecRunner] becomes root.
type Mode string

const (
	Sudo   Mode = "sudo"   // through `sudo -n`; the default
	Direct Mode = "direct" // this process is root already
)

// ExecRunner starts the fence for every Op and Query. The zero value uses sudo and [FencePath].
type ExecRunner struct {
	Mode     Mode
	Path     string        // of felhom-fence; default [FencePath]
	Deadline time.Duration // for acts without a deadline in their context; default an hour
}

// SocketRunner talks to the fence behind a unix socket.
type SocketRunner struct {
	Path     string // default [SocketPath]
	Deadline time.Duration
}

// Local checks and acts in this process: on the real machine only inside felhom-fence itself, else on a simulated host. Use a pointer to it;
// Host is all it needs.
type Local struct {
	Host Host
}

func (r *ExecRunner) Ask(ctx context.Context, q Query) (Answer, error) { return Answer{}, errDeclared }
func (r *ExecRunner) Do(ctx context.Context, op Op, progress func(string)) (Result, error) {
	return Result{}, errDeclared
}
func (r *SocketRunner) Ask(ctx context.Context, q Query) (Answer, error) {
	return Answer{}, errDeclared
}
func (r *SocketRunner) Do(ctx context.Context, op Op, progress func(string)) (Result, error) {
	return Result{}, errDeclared
}
func (l *Local) Ask(ctx context.Context, q Query) (Answer, error) { return Answer{}, errDeclared }
func (l *Local) Do(ctx context.Context, op Op, progress func(string)) (Result, error) {
	return Result{}, errDeclared
}

// Machine is the real host. Its methods need root.
type Machine struct{ root string }

// NewMachine is the machine that this process runs on. A root other than "" is put before every path (for tests).
func NewMachine(root string) *Machine { return &Machine{root: root} }

// FstabEntry is the line that MountUSBByUUID keeps in /etc/fstab, without a newline: compare it with [FstabLine].Text. It is empty when m
// asks for none.
func FstabEntry(m MountSpec) string { return "" }

// SealsMountPoints says whether a file system of this type under a mount point can keep it immutable, so that nothing fills it while the disk is away.
func SealsMountPoints(fstype string) bool { return false }

// Sudoers is the file that lets user start the fence, and nothing else.
func Sudoers(user string) string { return "" }

// Route says which way an operation goes.
type Route struct {
	Operation string // e.g. "BindMount"
	Backend   string // "token" or "fence"
	Why       string
}

// Routes lists the operations and queries of the fence, each with why it is not the API.
func Routes() []Route { return nil }

var _ = fs.ErrNotExist
