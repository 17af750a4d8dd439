package applying

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
)

// An adopter looks after the open operations that have no waiter in this process: those of an earlier one, and those whose answer was lost.
type adopter struct {
	*waiter
	failures *failures
}

// adopt gives a waiter to every operation that has none in this process, and finds out what
// became of those whose answer was lost.
func (a *adopter) adopt(ctx context.Context, have *node.Observed) error {
	for _, operation := range a.O.Journal.Open() {
		if a.flights.lookedAfter(operation, have) {
			continue
		}
		switch {
		case !operation.Upid.IsZero():
			if !a.flights.isOverdue(operation) { // one that is has ended at last, and is judged like any other
				a.tell(operation, "adopted", "it was begun earlier")
			}
			a.wait(ctx, operation, endOf(operation.Upid, have))
		case operation.Op != nil:
			switch {
			case have.Host != nil && !slices.ContainsFunc(have.Host.Running, func(op privileged.RunningOp) bool { return op.Queue == operation.Queue }):
				if err := a.settle(operation, journal.ResultLost, "the process that did it ended; the state of the host decides", have.Now); err != nil {
					return err
				}
			case a.age(operation) >= operation.Timeout && !a.flights.isOverdue(operation): // at a disk that does not answer, say
				a.tell(operation, "overdue", "gave up waiting; the root helper still works on it")
				a.flights.forget(operation, true)
			}
		default:
			if upid, ok := Find(a.O.Journal, operation, have); ok {
				if err := a.O.Journal.Append(journal.Entry{Time: have.Now, Action: operation.Action, Step: journal.StepTask, UPID: upid}); err != nil {
					return err
				}
				a.tell(operation, "adopted", "its answer was lost; the task list has it: "+upid.String())
				a.wait(ctx, operation, endOf(upid, have))
			} else if operation.Sought.IsZero() {
				operation.Sought = time.Now() // how long an earlier process waited for the answer, nobody knows
			} else if min(time.Since(operation.Sought), time.Since(operation.Lost)) > a.O.Settle {
				if err := a.giveUpLost(operation, have); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// endOf is when a task has ended, by the node's clock, as the task list says; zero: not
// yet, or it does not say.
func endOf(upid proxmox.UPID, have *node.Observed) time.Time {
	for _, t := range have.Tasks {
		if t.UPID == upid && !t.Running() {
			return t.EndTime
		}
	}
	return time.Time{}
}

// giveUpLost settles an operation whose answer was lost and of which the node shows nothing. It
// may be sent once more; one whose answers are lost again and again cools down like any
// that fails.
func (a *adopter) giveUpLost(operation *journal.Operation, have *node.Observed) error {
	const text = "its answer was lost, and no task of it is found"
	again := a.failures.tries[operation.ID] > 0
	if !again {
		a.failures.tries[operation.ID]++
		return a.settle(operation, journal.ResultLost, text, have.Now)
	}
	if err := a.O.Journal.Append(journal.Entry{Time: have.Now, Action: operation.Action, Step: journal.StepOutcome, Result: journal.ResultLost, Text: text}); err != nil {
		return err
	}
	a.failures.report(ending{operation: operation, result: journal.ResultLost, text: text + ", as the last time", at: have.Now}, have)
	return nil
}

// seeEffects settles operations whose answer was lost and whose effect the node shows: calls
// that PVE carries out at once.
func (a *adopter) seeEffects(ctx context.Context, have *node.Observed) error {
	for _, operation := range a.O.Journal.Open() {
		if a.flights.lookedAfter(operation, have) || operation.Call == nil || operation.Call.Async() || !operation.Upid.IsZero() || !shown(operation.Call, have) {
			continue
		}
		if dir := operation.Facts["sync"]; dir != "" { // the agent died before it had the note written out
			a.writtenOut(ctx, dir)
		}
		if err := a.settle(operation, journal.ResultOK, "its answer was lost, but the node shows its effect", have.Now); err != nil {
			return err
		}
	}
	return nil
}

// shown reports whether the node is as a call that changes a config or the notes of
// an archive would make it.
func shown(call *proxmox.Call, have *node.Observed) bool {
	var seen sighting
	if _, volid, ok := strings.Cut(call.Path, "/content/"); ok {
		if v := have.Volume(volid); v != nil {
			seen.volumes = []proxmox.StorageContent{*v}
		}
	} else {
		state := have.Guests[GuestOf(call)]
		if state == nil || state.Config == nil || path.Base(call.Path) != "config" {
			return false
		}
		seen.config = state.Config
	}
	return lacksValue(call, seen) == ""
}
