package applying

import (
	"errors"
	"maps"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

// failures are the operations of this process that did not succeed, and when each may be tried again. They belong to the one goroutine that makes passes.
type failures struct {
	*tools
	cooling   map[string]journal.Failure // by the ID of the action
	tries     map[string]int             // how often in a row an action has failed
	lockedOut map[string]time.Time       // queue -> when to try again, by the node's clock
	// lockedSince is since when an action, by its ID, has met nothing but locks.
	lockedSince map[string]time.Time
	events      []Event // of this run
}

func newFailures(t *tools) *failures {
	return &failures{tools: t, cooling: map[string]journal.Failure{}, tries: map[string]int{}, lockedOut: map[string]time.Time{}, lockedSince: map[string]time.Time{}}
}

// forget lets everything be tried at once: the YAML was edited.
func (f *failures) forget() {
	clear(f.cooling)
	clear(f.tries)
}

// expire forgets what may be tried again: its time is over, or what it depends on has changed.
func (f *failures) expire(have *node.Observed) {
	now := have.Now
	for id, failure := range f.cooling {
		if failure.Basis == "" { // it failed when the node could not be read
			failure.Basis = basis(failure.Queue, have)
			f.cooling[id] = failure
		}
	}
	maps.DeleteFunc(f.cooling, func(_ string, failure journal.Failure) bool {
		over := !failure.Until.IsZero() && !soonAfter(now, failure.Until, coolMost) && (f.O.Watching || failure.Undelivered)
		changed := failure.Basis != "" && failure.Basis != basis(failure.Queue, have)
		if changed {
			delete(f.tries, failure.ID)
		}
		return over || changed && (failure.Until.IsZero() || strings.HasPrefix(failure.Queue, "mount/")) // who plugs a disk in does not wait
	})
}

// report tells what became of an operation and in what state its guest is now, and lets a
// failed one cool down. have is nil where the node could not be looked at.
func (f *failures) report(e ending, have *node.Observed) {
	ref, _ := spec.ParseRef(e.operation.Object)
	event := Event{Time: e.at, Object: ref, Verb: e.operation.Verb, What: e.operation.Text, Elapsed: max(e.at.Sub(e.operation.Time), 0), UPID: e.operation.Upid.String()}
	switch e.result {
	case journal.ResultOK:
		event.State = "ok"
		event.Text = e.text
		delete(f.cooling, e.operation.ID)
		delete(f.tries, e.operation.ID)
		delete(f.lockedSince, e.operation.ID)
	case journal.ResultLocked:
		event.State = "waits"
		event.Text = e.text
		f.lockedOut[e.operation.Queue] = e.at.Add(lockPause/3 + jitter(lockPause*2/3))
		if since, ok := f.lockedSince[e.operation.ID]; !ok {
			f.lockedSince[e.operation.ID] = e.at
		} else if e.at.Sub(since) > f.O.Patience { // nobody waits for ever
			delete(f.lockedSince, e.operation.ID)
			f.cool(e, true)
		}
	case journal.ResultUnsent:
		event.State, event.Text = "waits", e.text
		f.cool(e, true)
	default:
		event.State, event.Text = "FAILED", e.text
		if e.result == journal.ResultRefused {
			event.State = "REFUSED"
		}
		failure := f.cool(e, !permanent(e.err))
		failure.Basis = basis(e.operation.Queue, have)
		if serverPasses(e) {
			event.State = "waits"
			f.cooling[e.operation.ID] = failure
			break
		}
		if hidden := hiddenFix(e.err, have); hidden != "" {
			failure.Fix = []string{hidden}
		}
		f.cooling[e.operation.ID] = failure
		event.Lines = failureLines(e, failure, have)
		f.events = append(f.events, event)
	}
	f.O.Events(event)
}

// cool remembers a failure. One that repeating cannot mend stays until the YAML
// changes or the agent is started anew.
func (f *failures) cool(e ending, again bool) journal.Failure {
	failure := journal.Failure{ID: e.operation.ID, Queue: e.operation.Queue, Text: e.text, Fix: failureFix(e)}
	failure.Storage, failure.Trouble = serverTrouble(e)
	f.tries[e.operation.ID]++
	if again {
		wait, most := coolFirst, coolMost
		if failure.Undelivered = e.result == journal.ResultUnsent; failure.Undelivered {
			wait, most = 5*time.Second, time.Minute
		}
		for range f.tries[e.operation.ID] - 1 {
			wait = min(2*wait, most)
		}
		failure.Until = e.at.Add(wait)
	}
	f.cooling[e.operation.ID] = failure
	return failure
}

// retries are the times at which failed operations are tried again.
func (f *failures) retries() []time.Time {
	var times []time.Time
	for _, failure := range f.cooling {
		times = append(times, failure.Until)
	}
	return times
}

// lockPause is how long a queue whose guest was locked is left alone, at most.
const lockPause = 15 * time.Second

// jitter draws a time below most, so that those who were locked out together do not come
// back together. It is drawn from the clock: under virtual time every run is the same.
func jitter(most time.Duration) time.Duration {
	return time.Duration(rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)).Int64N(int64(most)))
}

// permanent reports whether an operation will be refused again until somebody changes something:
// what the root helper only misses may come by itself.
func permanent(err error) bool {
	refused, ok := errors.AsType[*privileged.RefusedError](err)
	return proxmox.IsPermanent(err) || ok && !refused.Missing
}
