package proxmox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// WaitOptions are the pace of a wait. Zero fields have the defaults named
// here.
type WaitOptions struct {
	First    time.Duration // pause before the first poll; 0: it is at once
	Interval time.Duration // pause after the first poll; 1 s
	Factor   float64       // by which each pause is longer than the one before; 1.5
	Cap      time.Duration // the longest pause; 5 s
	Total    time.Duration // gives up after this; 10 min, negative: never
	LogTail  int           // lines of log in a TaskError; 20, negative: none
	// Progress is called after each poll that was answered.
	Progress func(TaskStatus)
}

// WaitTask waits until a task has ended. It returns its status when it ended
// with OK or warnings, and a TaskError when it failed. When the context or the
// time ends first, or when the task cannot be asked about any more, the error
// is a WaitError; the task goes on then. Polls that PVE cannot answer for the
// moment are repeated. Where several tasks of a node are waited for, its list of
// running tasks is asked for instead of each of them. The zero UPID has ended already.
func (c *Client) WaitTask(ctx context.Context, upid UPID, o WaitOptions) (TaskStatus, error) {
	if upid.IsZero() {
		return c.TaskStatusOnce(ctx, upid)
	}
	pause := cmp.Or(o.Interval, time.Second)
	factor := max(cmp.Or(o.Factor, 1.5), 1)
	longest := cmp.Or(o.Cap, 5*time.Second)
	if total := cmp.Or(o.Total, 10*time.Minute); total > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, total, fmt.Errorf("it still ran after %v: %w", total, context.DeadlineExceeded))
		defer cancel()
	}
	node, leave := c.waitAt(upid.Node)
	defer leave()
	timer := time.NewTimer(o.First)
	defer timer.Stop()
	var last error // of the latest poll
	var asked time.Time
	for {
		list := node.nextList()
		var s TaskStatus
		select {
		case <-list.read:
			s, last = list.status(upid), nil
		case <-timer.C:
			if last = nil; node.several() && time.Since(asked) < ownStatus {
				s, last = c.list(ctx, node, list, upid)
			}
		case <-ctx.Done():
			cause := context.Cause(ctx)
			if last == nil || errors.Is(last, cause) {
				last = cause
			} else {
				last = fmt.Errorf("%w (the last poll: %w)", cause, last)
			}
			return TaskStatus{}, &WaitError{upid, last}
		}
		if last == nil && !s.Running {
			s, last = c.taskStatus(ctx, upid, 0)
			asked = time.Now()
		}
		switch {
		case last == nil:
			if o.Progress != nil {
				o.Progress(s)
			}
			if !s.Running {
				return c.ended(ctx, s, cmp.Or(o.LogTail, 20))
			}
		case ctx.Err() == nil && !IsTransient(last):
			return TaskStatus{}, &WaitError{upid, last}
		}
		timer.Reset(min(pause, longest))
		pause = min(time.Duration(float64(pause)*factor), longest)
	}
}

// ownStatus is how often a task is asked about by itself although the list of its
// node says that it runs: one whose worker was killed stays in that list until PVE
// looks, up to ten seconds later. PVE: RESTEnvironment active_workers.
const ownStatus = 10 * time.Second

// waits are those for the tasks of one node. A list that one of them reads tells all.
type waits struct {
	mu   sync.Mutex
	n    int
	next *runningTasks
	turn chan struct{} // held by who reads it
}

// runningTasks is a node's list of them, to be read.
type runningTasks struct {
	read    chan struct{} // closed when the other field is set
	running map[UPID]bool
}

func (l *runningTasks) status(upid UPID) TaskStatus {
	return TaskStatus{UPID: upid, Running: l.running[upid]}
}

func (c *Client) waitAt(node string) (w *waits, leave func()) {
	c.mu.Lock()
	w = c.waits[node]
	if w == nil {
		w = &waits{turn: make(chan struct{}, 1), next: &runningTasks{read: make(chan struct{})}}
		c.waits[node] = w
	}
	c.mu.Unlock()
	add := func(n int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.n += n
	}
	add(1)
	return w, func() { add(-1) }
}

func (w *waits) several() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n > 1
}

func (w *waits) nextList() *runningTasks {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}

// list reads the list of a node's running tasks for everybody, unless somebody else
// does it first.
func (c *Client) list(ctx context.Context, w *waits, list *runningTasks, upid UPID) (TaskStatus, error) {
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-list.read:
		return list.status(upid), nil
	case <-ctx.Done():
		return TaskStatus{}, &TransportError{http.MethodGet, "/nodes/" + upid.Node + "/tasks", false, context.Cause(ctx)}
	}
	if w.nextList() != list {
		return list.status(upid), nil
	}
	r, err := c.fetch(ctx, On(upid.Node).path("tasks"), Params{"source": "active", "limit": "500"}, 0)
	if err != nil {
		return TaskStatus{}, err
	}
	tasks, _, err := taskList(r)
	if err != nil {
		return TaskStatus{}, err
	}
	list.running = map[UPID]bool{}
	for _, t := range tasks {
		if t.Running() {
			list.running[t.UPID] = true
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = &runningTasks{read: make(chan struct{})}
	close(list.read)
	return list.status(upid), nil
}
