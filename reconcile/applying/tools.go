package applying

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/spec"
	"go.uber.org/zap"
)

// tools are what every part of an agent works with: its options, the node's clock, and the operations in flight. They are for every goroutine.
type tools struct {
	O       Options
	log     *zap.Logger
	zone    atomic.Pointer[time.Location] // the node's
	flights *flights
}

// Clock is the node's time, as far as it is known.
func (t *tools) Clock() time.Time {
	if now := t.O.Client.Clock(); !now.IsZero() {
		if zone := t.zone.Load(); zone != nil {
			return now.In(zone)
		}
		return now
	}
	return time.Now()
}

// tell says in what state an operation is now.
func (t *tools) tell(operation *journal.Operation, state, text string) {
	ref, _ := spec.ParseRef(operation.Object)
	t.O.Events(Event{Time: t.Clock(), Object: ref, Verb: operation.Verb, State: state, What: operation.Text, Text: text, UPID: operation.Upid.String(), Elapsed: t.age(operation)})
}

// age is how long ago an operation was begun, by the node's clock, which may be set back.
func (t *tools) age(operation *journal.Operation) time.Duration {
	return max(t.Clock().Sub(operation.Time), 0)
}

func (t *tools) settle(operation *journal.Operation, result, text string, now time.Time) error {
	if err := t.O.Journal.Append(journal.Entry{Time: now, Action: operation.Action, Step: journal.StepOutcome, Result: result, Text: text}); err != nil {
		return err
	}
	t.tell(operation, "waits", text)
	return nil
}

// finish hands an ending to the next pass, and asks for one.
func (t *tools) finish(e ending) {
	t.keepEnd(e)
	t.flights.nudgeOver()
}

// keepEnd hands an ending to the next pass, whenever that comes.
func (t *tools) keepEnd(e ending) {
	if e.at.IsZero() {
		e.at = t.Clock()
	}
	t.flights.end(e)
}

// writtenOut has everything on a declared disk written out.
func (t *tools) writtenOut(ctx context.Context, dir string) bool {
	if t.O.Fence == nil {
		return false
	}
	if err := privileged.SyncMount(ctx, t.O.Fence, t.O.Node, dir); err != nil {
		t.log.Warn("a backup could not be written out", zap.String("path", dir), zap.Error(err))
		return false
	}
	return true
}

// judge writes the outcome of operations that have ended into the journal, where no line
// has it yet. What cannot be written now is left to the next pass.
func (t *tools) judge() (judged []ending, err error) {
	ended := t.flights.take()
	for i, e := range ended {
		if !e.operation.Open() {
			continue // another process was first
		}
		if err := t.O.Journal.Append(journal.Entry{Time: e.at, Action: e.operation.Action, Step: journal.StepOutcome, Result: e.result, Text: e.text, Log: e.log, Facts: e.facts}); err != nil {
			t.flights.putBack(ended[i:])
			return judged, err
		}
		judged = append(judged, e)
	}
	return judged, nil
}
