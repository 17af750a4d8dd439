package applying

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// flights are the operations that this process waits for, and what has become of them. They are for every goroutine.
type flights struct {
	nudge chan struct{}
	over  chan struct{} // a nudge for endings of which no pass has heard yet

	mu      sync.Mutex
	waiting map[string]bool      // operations that a waiter of this process looks after
	ended   []ending             // of which the next pass has not heard yet
	overdue []*journal.Operation // whose time is over: nobody waits for them while they go on

	list   *proxmox.View // in which the list of guests was read last to see that one is gone; nil: in none
	listed time.Time     // when, by the agent's clock
}

func newFlights() *flights {
	return &flights{nudge: make(chan struct{}, 1), over: make(chan struct{}, 1), waiting: map[string]bool{}}
}

// begin notes that a waiter looks after an operation.
func (f *flights) begin(operation *journal.Operation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting[operation.Action] = true
}

// forget notes that no waiter looks after an operation any more, which goes on; overdue: for longer than it should.
func (f *flights) forget(operation *journal.Operation, overdue bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.waiting, operation.Action)
	if overdue && !slices.Contains(f.overdue, operation) {
		f.overdue = append(f.overdue, operation)
	}
}

// end keeps an ending for the next pass.
func (f *flights) end(e ending) {
	f.mu.Lock()
	f.ended = append(f.ended, e)
	delete(f.waiting, e.operation.Action)
	f.overdue = slices.DeleteFunc(f.overdue, func(late *journal.Operation) bool { return late == e.operation })
	f.mu.Unlock()
}

// noteList keeps the list of guests that a view has read now.
func (f *flights) noteList(view *proxmox.View) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list, f.listed = view, time.Now()
}

// listedNow returns the view of a list of guests that is as new as if the pass that asks had read it; nil: there is none.
func (f *flights) listedNow() *proxmox.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.listed) >= time.Second {
		f.list = nil
	}
	return f.list
}

// take returns the endings of which no pass has heard yet. The pass that takes them answers their nudge.
func (f *flights) take() []ending {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.over:
	default:
	}
	ended := f.ended
	f.ended = nil
	return ended
}

// putBack keeps endings for a later pass that this one could not write down.
func (f *flights) putBack(ended []ending) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(slices.Clone(ended), f.ended...)
}

// lookedAfter reports whether nothing is to be found out of an open operation: its waiter
// will tell, or has told, how it ended, or it is overdue and goes on.
func (f *flights) lookedAfter(operation *journal.Operation, have *node.Observed) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	goesOn := func(t proxmox.Task) bool { return t.UPID == operation.Upid && t.Running() }
	return f.waiting[operation.Action] || slices.ContainsFunc(f.ended, func(e ending) bool { return e.operation == operation }) ||
		slices.Contains(f.overdue, operation) && slices.ContainsFunc(have.Tasks, goesOn)
}

// isOverdue reports whether an operation was given up waiting for.
func (f *flights) isOverdue(operation *journal.Operation) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.overdue, operation)
}

// waitedFor are the operations, by their IDs, whose end a waiter will tell.
func (f *flights) waitedFor() map[string]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.waiting)
}

// any reports whether this process waits for a task.
func (f *flights) any() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.waiting) > 0
}

// late names the tasks, and the operations of the root helper, that still run and are not waited for any more.
func (f *flights) late() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var late []string
	for _, operation := range f.overdue {
		if !operation.Open() {
			continue
		}
		by := operation.Upid.String()
		if operation.Op != nil {
			by = "via the root helper"
		}
		late = append(late, fmt.Sprintf("%s %s: %s", operation.Object, operation.Verb, by))
	}
	return late
}

// running reports whether, of the open operations, one is in flight that a run with this plan has to wait for: one that
// it sent itself, or one that works on an object of the plan.
func (f *flights) running(open []*journal.Operation, p *plan.Plan) bool {
	planned := func(object string) bool {
		ref, err := spec.ParseRef(object)
		return err == nil && slices.Contains(p.Objects, ref)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ended) > 0 || slices.ContainsFunc(open, func(operation *journal.Operation) bool {
		return !slices.Contains(f.overdue, operation) && (operation.Sent || planned(operation.Object))
	})
}

// Nudge makes a watching or waiting agent make a pass soon.
func (f *flights) Nudge() {
	select {
	case f.nudge <- struct{}{}:
	default:
	}
}

// nudgeOver is Nudge for an ending that was kept, unless a pass has heard of it meanwhile.
func (f *flights) nudgeOver() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ended) == 0 {
		return
	}
	select {
	case f.over <- struct{}{}:
	default:
	}
}

// unnudge forgets a nudge that the pass about to be made answers.
func (f *flights) unnudge() {
	select {
	case <-f.nudge:
	default:
	}
}

// pause waits for a nudge, at most d.
func (f *flights) pause(ctx context.Context, d time.Duration) error {
	_, err := f.rest(ctx, d)
	return err
}

// rest is pause, and says whether there was a nudge.
func (f *flights) rest(ctx context.Context, d time.Duration) (nudged bool, err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-f.nudge:
		nudged = true
	case <-f.over:
		nudged = true
	case <-timer.C:
	}
	return nudged, ctx.Err()
}
