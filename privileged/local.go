package privileged

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

var errTrailing = errors.New("there is something after its end")

// Local checks and acts in this process: on the real machine only inside felhom-fence itself, else on a simulated host. Host is all it needs. Use a
// pointer to it; it is safe for concurrent use.
type Local struct {
	Host Host
	// Dir is where operations in progress are noted and locked, for several processes on one machine. Empty: only this process acts on Host.
	Dir string
	// Ended, when set, is called for every operation that this process refused or carried out.
	Ended func(op Op, result Result, err error)

	mu         sync.Mutex
	operations map[string]*operation // in progress, by queue
	mine       sync.WaitGroup
	fstab      sync.Mutex
}

// act is an Op that is being carried out, by this process or (when waited for) by another one.
type operation struct {
	op     Op
	key    string
	since  time.Time
	queue  *queueFile // nil without a Dir
	done   chan struct{}
	result Result // after done
	err    error
}

// Ask answers a query.
func (l *Local) Ask(ctx context.Context, q Query) (Answer, error) {
	r, err := admit(l.Host, false, q.Node, q.Name, q.Args)
	if err != nil {
		return Answer{}, err
	}
	value, err := r.look(l.reader(ctx, l.Host, admitted{q.Node, q.Name, q.Args}))
	if err != nil {
		if ctx.Err() != nil {
			return Answer{}, fmt.Errorf("%s: %w", q.Name, ctx.Err())
		}
		return Answer{}, err
	}
	data, err := json.Marshal(value)
	return Answer{Data: data}, err
}

// Do carries an operation out; see [Runner].
func (l *Local) Do(ctx context.Context, op Op, progress func(line string)) (Result, error) {
	a, err := l.begin(op)
	if err != nil {
		if l.Ended != nil {
			l.Ended(op, Result{}, err)
		}
		return Result{}, err
	}
	if a.own() {
		lines := &lines{to: progress}
		defer lines.stop()
		l.mine.Add(1)
		go l.carryOut(ctx, a, lines.line)
	} else if progress != nil {
		progress(fmt.Sprintf("already running since %s", a.operation.since.Format(time.DateTime)))
	}
	select {
	case <-a.operation.done:
	case <-ctx.Done():
		select {
		case <-a.operation.done:
		default:
			since := a.operation.since
			return Result{StillRunning: &since}, nil
		}
	}
	return a.operation.result, a.operation.err
}

// reader is what a request of this process can read.
func (l *Local) reader(ctx context.Context, host readableHost, r admitted) diskReader {
	return diskReader{reader{admitted: r, ctx: ctx, local: l, host: host}}
}

// Wait waits until the operations that this process began have ended.
func (l *Local) Wait() { l.mine.Wait() }

// begun is an operation with the rule to carry it out; a zero rule when somebody else does.
type begun struct {
	operation *operation
	rule      rule
}

func (b begun) own() bool { return b.rule.do != nil }

// begin checks op and takes its queue, or finds the same operation in progress.
func (l *Local) begin(op Op) (begun, error) {
	r, err := admit(l.Host, true, op.Node, op.Name, op.Args)
	if err != nil {
		return begun{}, err
	}
	key, queue := op.key(), op.Queue()
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, ok := l.operations[queue]; ok {
		if a.key == key {
			return begun{operation: a}, nil
		}
		return begun{}, busy(op, a.op, a.since)
	}
	a := &operation{op: op, key: key, since: time.Now(), done: make(chan struct{})}
	if l.Dir != "" {
		file, other, err := takeQueue(l.Dir, op, key, a.since)
		switch {
		case err != nil:
			return begun{}, &FailedError{Op: op.Name, Reason: "cannot lock " + filepath.Join(l.Dir, queue) + ": " + err.Error()}
		case other != nil && other.Key != key:
			other.close()
			return begun{}, busy(op, other.Op, other.Since)
		case other != nil:
			a.since = other.Since
			go func() {
				a.result, a.err = other.await(op)
				close(a.done)
			}()
			return begun{operation: a}, nil
		}
		a.queue = file
	}
	if l.operations == nil {
		l.operations = map[string]*operation{}
	}
	l.operations[queue] = a
	return begun{operation: a, rule: r}, nil
}

func busy(op, other Op, since time.Time) error {
	return &RefusedError{Op: op.Name, Busy: true, Reason: fmt.Sprintf("%s is busy with %s since %s", op.Queue(), other.Name, since.Format(time.DateTime)), Fix: "Wait until it has ended"}
}

// carryOut runs to the end whatever becomes of those who asked.
func (l *Local) carryOut(ctx context.Context, b begun, progress func(string)) {
	defer l.mine.Done()
	a := b.operation
	ctx, cancel := b.rule.span(ctx)
	defer cancel()
	host := l.Host
	if m, ok := host.(*Machine); ok && a.queue != nil {
		host = during(m, a.queue)
	}
	j := &job{diskReader: l.reader(ctx, host, admitted{a.op.Node, a.op.Name, a.op.Args}), machine: host, progress: progress}
	a.err = guarded(a.op, func() error { return b.rule.do(j) })
	a.result = j.result
	if a.err != nil {
		a.result = Result{Notes: j.result.Notes}
	}
	if a.queue != nil {
		a.queue.end(a.result, a.err)
	}
	if l.Ended != nil {
		l.Ended(a.op, a.result, a.err)
	}
	l.mu.Lock()
	delete(l.operations, a.op.Queue())
	l.mu.Unlock()
	close(a.done)
}

// guarded turns a panic into an error: an operation that dies in the middle must still give its queue back.
func guarded(op Op, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &FailedError{Op: op.Name, Reason: fmt.Sprintf("a mistake in the root helper: %v", p), Unknown: true}
		}
	}()
	return do()
}

func (l *Local) running() ([]RunningOp, error) {
	out := []RunningOp{}
	l.mu.Lock()
	for _, a := range l.operations {
		out = append(out, RunningOp{Name: a.op.Name, Queue: a.op.Queue(), What: a.op.String(), Since: a.since})
	}
	l.mu.Unlock()
	if l.Dir != "" {
		others, err := runningIn(l.Dir)
		if err != nil {
			return nil, &FailedError{Op: "Running", Reason: err.Error()}
		}
		for _, o := range others {
			if !slices.ContainsFunc(out, func(r RunningOp) bool { return r.Queue == o.Queue }) {
				out = append(out, o)
			}
		}
	}
	slices.SortFunc(out, func(a, b RunningOp) int { return strings.Compare(a.Queue, b.Queue) })
	return out, nil
}

// lockFstab lets one operation at a time edit the fstab, in this process and, with a Dir, on this machine.
func (l *Local) lockFstab() (unlock func(), err error) {
	l.fstab.Lock()
	if l.Dir == "" {
		return l.fstab.Unlock, nil
	}
	f, err := lockFile(filepath.Join(l.Dir, "fstab.lock"))
	if err != nil {
		l.fstab.Unlock()
		return nil, err
	}
	return func() { f.Close(); l.fstab.Unlock() }, nil
}

// key is equal for equal Ops.
func (o Op) key() string {
	data, _ := json.Marshal(o) // maps are printed in the order of their keys
	return string(data)
}

// lines hands lines on until stop: what an operation prints after its answer was given is nobody's any more.
type lines struct {
	mu sync.Mutex
	to func(string)
}

func (l *lines) line(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if text = printable(text); l.to != nil && text != "" {
		l.to(text)
	}
}

func (l *lines) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = nil
}

// printable takes control characters out of a line that a program printed: it may end on a terminal.
func printable(text string) string { return harmless(text, 400) }

// harmless is printable with another bound, in bytes.
func harmless(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	return clip(strings.TrimSpace(text), most)
}
