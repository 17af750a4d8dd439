// Package privileged asks root for the handful of operations on a Proxmox VE host that Proxmox VE refuses to an API token: creating a container with
// features such as keyctl, bind mounts, device passthrough, mounting USB disks, sealing a golden image; and for some reads that only root may
// take (mount tables, disks by UUID, SMART, sensors).
//
// An operation is an [Op] and a look is a [Query]; both are plain data, and two types, so that whoever only holds an [Asker] cannot act. A [Runner]
// carries them to the fence: the program felhom-fence, started through sudo, directly or behind a socket ([ExecRunner], [SocketRunner]), or
// the same code in this process ([Local]), which is also how the fence itself works. The fence trusts nothing that it is told: one table of
// rules (rules.go) says for every operation which arguments there are, what each may be, and what the fence does with them. Nobody passes it a
// command line. It touches only containers that bear our marker, only paths under its allowed roots, and only devices of its own allow-list.
//
// Inside, a request climbs four steps, each a type that can do more than the one before: its text alone (admitted, which makes the refusals), what
// stands on the machine (reader), what is on its disks (diskReader), and the operation itself (job), the only one that has a [Host] which it can change.
//
// An operation that has begun is finished, whoever goes away. A deadline ends the answer, never the operation.
package privileged

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Op is an operation that only root may do, as plain data. The functions named after the operations build them.
type Op struct {
	Node string            `json:"node"` // the node it is meant for; the fence of any other node refuses it
	Name string            `json:"name"` // the operation, e.g. "BindMount"
	Args map[string]string `json:"args"`
}

// Query is a look that changes nothing. The functions that take an [Asker] build and read them.
type Query struct {
	Node string            `json:"node"`
	Name string            `json:"name"`
	Args map[string]string `json:"args"`
}

// Answer is what a [Query] brought: a JSON value whose type belongs to the query.
type Answer struct {
	Data json.RawMessage
}

// Result is the outcome of an [Op] that succeeded, or of one that still runs.
type Result struct {
	Output       string     `json:"output,omitempty"`        // what the programs printed, at most 64 KiB of its end
	Notes        []string   `json:"notes,omitempty"`         // what a person should know, e.g. that a mount point could not be made immutable
	StillRunning *time.Time `json:"still_running,omitempty"` // when set the deadline passed: the operation began then and goes on
}

// Asker can look. See [Mounts], [Disks] and the other queries.
type Asker interface {
	Ask(ctx context.Context, q Query) (Answer, error)
}

// Runner can look and act. Do carries op out once and reports the lines that its programs print. When ctx ends first, the operation goes on and
// Do answers with a Result that says since when it runs; the same Op sent meanwhile waits for the same operation. Errors: [RefusedError] (nothing was
// done), [FailedError] (the operation failed; it says what was undone), [UnreachableError] (there is no fence to talk to, or it was lost on the way).
type Runner interface {
	Asker
	Do(ctx context.Context, op Op, progress func(line string)) (Result, error)
}

// Host is the machine that the fence acts on: the real one ([Machine]) or a simulated one. All paths are absolute.
type Host interface {
	// Run runs the program at an absolute path, without a shell, with a clean environment and LC_ALL=C, in a session of its own. An exit
	// code other than 0 is not an err; a program that cannot be started is. One that only looks has no progress: several may run at once.
	Run(ctx context.Context, program string, args []string, progress func(line string)) (output []byte, exit int, err error)
	// NodeName is the node that /etc/pve/local points to.
	NodeName() (string, error)
	// BlockDevices lists the block devices that may hold a file system, e.g. /dev/sdb1.
	BlockDevices() ([]string, error)
	// MountTables are the texts of /proc/PID/mountinfo, one for every mount namespace; the first is the host's own.
	MountTables() ([][]byte, error)
	// ReadDir lists the names in a directory; it fails with fs.ErrNotExist where there is none.
	ReadDir(path string) ([]string, error)
	// MountInfo is the text of /proc/PID/mountinfo; process 1 has the host's own mount table.
	MountInfo(pid int) ([]byte, error)
	ReadFile(path string) ([]byte, error)
	// ReplaceFile replaces a whole file atomically, keeping its mode and owner. It fails when the content is no longer old.
	ReplaceFile(path string, old, new []byte) error
	// MakeMountPoint makes sure of an empty directory, immutable where the file system knows that (so that nothing fills the disk
	// underneath while nothing is mounted there), and refuses a path that goes through a symbolic link.
	MakeMountPoint(path string) (immutable bool, err error)
	// SyncFS writes out the file system that path lies on.
	SyncFS(path string) error
	// Exclusive fails while anything at all, also a mount in another mount namespace, still holds the block device.
	Exclusive(device string) error
	// SealRootfs takes out of the root file system of a container what makes copies of it twins, and says what it did. All in it is the
	// container's to shape: what is not of the expected type is an [UnexpectedError], and then nothing was changed. It ends when ctx does.
	SealRootfs(ctx context.Context, path string) (done []string, err error)
	// OpenFolder opens a directory and follows no symbolic link on the way; same fails when another thing stands at its path by now. It
	// fails with fs.ErrNotExist when there is nothing.
	OpenFolder(path string) (same func() error, close func(), err error)
	// CheckArchive reads an archive to its end and follows no symbolic link on the way. It says what is wrong with it, or why its contents
	// tell nothing. It fails with fs.ErrNotExist when there is nothing, and ends when ctx does.
	CheckArchive(ctx context.Context, path string) (fault, unchecked string, err error)
	// KeepKit writes files into dir/felhom-recovery/node/name, all of them or none, and keeps the newest kits there. It follows no link out of
	// dir, and touches nothing else in it.
	KeepKit(dir, node, name string, files map[string][]byte, keep int) error
	// KeepTemplate copies the file from, a regular one of at most most bytes, to dir/felhom-recovery/node/templates, all of it or nothing; sha512
	// is what it must have, in hexadecimal digits, or "". It follows no link on the way to either, and copies nothing where a file of the same
	// size is.
	KeepTemplate(dir, node, from, sha512 string, most int64) error
	// Probe finds out one thing inside a container that runs, and runs no program of the container. What is asked for (what, name, port,
	// url, file, hash) and what was found are texts by name; "no" in what was found says why there is nothing. All that is found is the
	// container's to shape. It ends when ctx does.
	Probe(ctx context.Context, vmid int, ask map[string]string) (found map[string]string, err error)
	// Stat is lstat; it fails with fs.ErrNotExist when there is nothing, and refuses a path that goes through a symbolic link. The stamp is
	// equal only as long as it is the same directory, or the same file and nobody has written it (inode, size, ctime).
	Stat(path string) (mode fs.FileMode, stamp string, err error)
}

// RefusedError says that the fence did not do what it was asked. Nothing was changed.
type RefusedError struct {
	Op      string `json:"op"`            // the operation or query
	Arg     string `json:"arg,omitempty"` // the argument that is wrong, when it is one
	Value   string `json:"value,omitempty"`
	Reason  string `json:"reason"`
	Fix     string `json:"fix,omitempty"`
	Busy    bool   `json:"busy,omitempty"`    // another operation has the queue, or PVE the guest: the same request may be let through later
	Missing bool   `json:"missing,omitempty"` // what the operation needs is not there: a disk, a folder, a device. It may come
	Here    string `json:"here,omitempty"`    // the name of this node, when the Op was meant for another one
}

func (e *RefusedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s refused: ", e.Op)
	if e.Arg != "" {
		fmt.Fprintf(&b, "%s %q: ", e.Arg, clip(e.Value, 80))
	}
	b.WriteString(e.Reason)
	if e.Fix != "" {
		b.WriteString(". ")
		b.WriteString(e.Fix)
	}
	return b.String()
}

// FailedError says that an operation (or the program behind a query) failed after it was let through.
type FailedError struct {
	Op      string   `json:"op"`
	Program string   `json:"program,omitempty"` // the program that failed, when it was one
	Args    []string `json:"args,omitempty"`
	Exit    int      `json:"exit,omitempty"`
	Output  string   `json:"output,omitempty"` // the end of what it printed, at most 4 KiB
	Reason  string   `json:"reason,omitempty"`
	Undone  []string `json:"undone,omitempty"`  // what of our own half was taken back
	Unknown bool     `json:"unknown,omitempty"` // the root helper that ran the operation was killed: what it did must be looked at
}

func (e *FailedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s failed", e.Op)
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if e.Program != "" && e.Exit != 0 {
		fmt.Fprintf(&b, ": %s exited with %d", e.Program, e.Exit)
	}
	if line := lastLine(e.Output); line != "" {
		b.WriteString(": " + line)
	}
	for _, u := range e.Undone {
		b.WriteString("; " + u)
	}
	return b.String()
}

// UnreachableError says that no fence answered.
type UnreachableError struct {
	Way    string // how it was tried, e.g. "sudo -n /usr/sbin/felhom-fence"
	Reason string
	Fix    string
	Sent   bool // the Op had been handed over when the fence was lost: what became of it must be looked at
}

func (e *UnreachableError) Error() string {
	s := fmt.Sprintf("the root helper (%s) does not answer: %s", e.Way, e.Reason)
	if e.Sent {
		s += "; whether it changed anything is not known"
	}
	if e.Fix != "" {
		s += ". " + e.Fix
	}
	return s
}

// clip is the begin of s, at most n bytes of whole letters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func lastLine(s string) string {
	s = strings.TrimRight(s, "\n \t\r")
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}
