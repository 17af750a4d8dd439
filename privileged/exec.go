package privileged

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

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

const (
	actPatience   = time.Hour   // how long an operation is waited for without a deadline in its context
	queryPatience = time.Minute // how long a query is waited for at most
)

// Sudoers is the file that lets user start the fence as root, without arguments and without a password, and nothing else.
func Sudoers(user string) string {
	return user + ` ALL=(root) NOPASSWD: ` + FencePath + ` ""` + "\n"
}

// ExecRunner starts the fence for every Op and Query. The zero value uses sudo and [FencePath].
type ExecRunner struct {
	Mode Mode
	Path string // of felhom-fence; default [FencePath]
}

// Ask implements [Asker].
func (r *ExecRunner) Ask(ctx context.Context, q Query) (Answer, error) {
	return answerOf(r.talk(ctx, request{Query: &q}, nil))
}

// Do implements [Runner].
func (r *ExecRunner) Do(ctx context.Context, op Op, progress func(line string)) (Result, error) {
	return resultOf(r.talk(ctx, request{Op: &op}, progress))
}

func (r *ExecRunner) argv() []string {
	path := r.Path
	if path == "" {
		path = FencePath
	}
	if r.Mode == Direct {
		return []string{path}
	}
	return []string{"/usr/bin/sudo", "-n", path}
}

// check is what both runners do before they send anything.
func (r request) check() (err error) {
	if r.Op != nil {
		_, err = vet(true, r.Op.Node, r.Op.Name, r.Op.Args)
	} else {
		_, err = vet(false, r.Query.Node, r.Query.Name, r.Query.Args)
	}
	return err
}

// talk starts the fence in a session of its own (what interrupts the agent does not interrupt it) and leaves it to itself when ctx ends.
func (r *ExecRunner) talk(ctx context.Context, req request, progress func(string)) (response, error) {
	if err := req.check(); err != nil {
		return response{}, err
	}
	argv := r.argv()
	var warnings capped
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Dir = "/"
	cmd.Stderr = &warnings
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = time.Second // what it leaves behind may keep its standard error open
	stdin, out, err := pipes(cmd)
	if err != nil {
		return response{}, &UnreachableError{Way: strings.Join(argv, " "), Reason: err.Error()}
	}
	if err := cmd.Start(); err != nil {
		closeAll(stdin, out, cmd)
		return response{}, &UnreachableError{Way: strings.Join(argv, " "), Reason: err.Error(), Fix: "Install the package: the root helper is not there"}
	}
	cmd.Stdin.(*os.File).Close()
	cmd.Stdout.(*os.File).Close()
	over := func(err error, accepted bool) error {
		cmd.Wait() // its standard output has ended; now its warnings are whole
		u := &UnreachableError{Way: strings.Join(argv, " "), Reason: err.Error(), Sent: accepted}
		if text := strings.TrimSpace(warnings.String()); text != "" && errors.Is(err, errLost) {
			u.Reason = printable(lastLine(text))
		}
		if r.Mode != Direct && !accepted && !strings.HasPrefix(u.Reason, "felhom-fence:") {
			u.Fix = "As root: felhom-agent --print-sudoers > /etc/sudoers.d/felhom-agent"
			if _, err := os.Stat(argv[len(argv)-1]); errors.Is(err, os.ErrNotExist) {
				u.Fix = "Install the package: the root helper is not there"
			}
		}
		return u
	}
	return exchange(ctx, stdin, out, req, progress, over, func() { cmd.Wait() })
}

// pipes gives cmd pipes as its standard input and output that are ours to close.
func pipes(cmd *exec.Cmd) (stdin, out *os.File, err error) {
	theirIn, stdin, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, nil, errors.Join(err, theirIn.Close(), stdin.Close())
	}
	cmd.Stdin, cmd.Stdout = theirIn, theirOut
	return stdin, out, nil
}

func closeAll(stdin, out *os.File, cmd *exec.Cmd) {
	stdin.Close()
	out.Close()
	cmd.Stdin.(*os.File).Close()
	cmd.Stdout.(*os.File).Close()
}

// exchange hands a request over and reads the outcome. over makes the error of an answer without an outcome; ended is called when there was one. When ctx
// ends before the outcome an operation is left to itself: it is still running.
func exchange(ctx context.Context, to io.WriteCloser, from io.ReadCloser, req request, progress func(string), over func(error, bool) error, ended func()) (response, error) {
	began := time.Now()
	if req.Op == nil { // the fence may hang itself, at a disk that does not answer
		var cancel context.CancelFunc
		most := max(queryPatience, rules[req.Query.Name].limit)
		ctx, cancel = context.WithTimeoutCause(ctx, most, fmt.Errorf("the root helper has not answered %s within %s; a disk or a network storage of this machine may hang: dmesg", req.Query.Name, most))
		defer cancel()
	}
	req.Format = format
	req.Timeout = patience(ctx).Milliseconds()
	data, err := json.Marshal(req)
	if err != nil {
		return response{}, err
	}
	type reply struct {
		r        response
		accepted bool
		err      error
	}
	said := &lines{to: progress}
	defer said.stop()
	replies := make(chan reply, 1)
	go func() {
		_, err := to.Write(data)
		to.Close()
		var got reply
		got.r, got.accepted, got.err = converse(from, said.line)
		if err != nil && errors.Is(got.err, errLost) && !errors.Is(err, syscall.EPIPE) {
			got.err = err
		}
		from.Close()
		if got.err != nil {
			got.err = over(got.err, got.accepted)
		}
		replies <- got
		if got.err == nil {
			ended()
		}
	}()
	select {
	case got := <-replies:
		return got.r, got.err
	case <-ctx.Done():
	}
	select {
	case got := <-replies:
		return got.r, got.err
	default:
	}
	if req.Op == nil {
		from.Close()
		return response{}, context.Cause(ctx)
	}
	return response{Format: format, Result: &Result{StillRunning: &began}}, nil
}

// patience is how long the fence is to work on an answer: a little less than we wait for it.
func patience(ctx context.Context) time.Duration {
	d := actPatience
	if at, ok := ctx.Deadline(); ok {
		d = time.Until(at)
		d -= min(time.Second, d/4)
	}
	return min(max(d, time.Millisecond), maxTimeout)
}

// capped keeps the first 16 KiB of what is written to it.
type capped struct{ kept []byte }

func (c *capped) Write(p []byte) (int, error) {
	c.kept = append(c.kept, p[:min(16<<10-len(c.kept), len(p))]...)
	return len(p), nil
}

func (c *capped) String() string { return string(c.kept) }
