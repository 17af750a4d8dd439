package applying

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

// A tester probes the guests of restore tests that were started, in goroutines of its own. It only asks.
type tester struct {
	*tools

	mu      sync.Mutex
	watched map[string]*watched           // guarded changes, by plan.Watch.Key
	found   map[string]journal.TestProbes // by the nonce of the test
	asks    map[string]bool
	next    map[string]*probing // those that are to be asked as soon as they were started
}

func newTester(t *tools) *tester {
	return &tester{tools: t, watched: map[string]*watched{}, found: map[string]journal.TestProbes{}, asks: map[string]bool{}}
}

// asking reports whether a test guest is being probed, or no pass has heard yet of what was found out.
func (t *tester) asking() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.watched {
		if !w.heard {
			return true
		}
	}
	return len(t.asks) > 0
}

// news reports whether something was found out of which no pass has heard.
func (t *tester) news() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for nonce := range t.found {
		if t.asks[nonce] {
			return true
		}
	}
	return false
}

// taskPace is how soon the end of a task is first asked for again; and where it is that of a real node, nobody waits for
// the tasks of a restore test, and they are asked for seldom.
const taskPace = 250 * time.Millisecond

func (w *waiter) paceOf(operation *journal.Operation) proxmox.WaitOptions {
	o := w.O.Wait
	if ofTest(operation) && o.Interval >= taskPace {
		o.First, o.Interval, o.Factor, o.Cap = 4*time.Second, 10*time.Second, 1.5, 30*time.Second
		if operation.Facts["makes"] != "" {
			o.First = w.tookBefore(operation)
		}
		if w.age(operation) > o.First { // it may have ended long ago
			o.First = 0
		}
	}
	return o
}

// tookBefore is after which time the restore of a test has probably ended: as long as that of the same guest took, else
// as that of the test before, within a minute.
func (w *waiter) tookBefore(operation *journal.Operation) time.Duration {
	other := time.Duration(0)
	memory := w.O.Journal.Memory(w.Clock())
	for _, run := range slices.Backward(memory.Tests) {
		took := run.Restore.Ended.Sub(run.Restore.Begun)
		switch {
		case !run.Restore.OK() || took <= 0:
		case run.Guest == operation.Facts[journal.FactGuest]:
			return min(max(took, leastTook), mostTook)
		case other == 0:
			other = took
		}
	}
	return min(max(other, leastTook), time.Minute)
}

// The bounds of when the end of a restore is asked for first.
const (
	leastTook = 15 * time.Second
	mostTook  = 5 * time.Minute
)

// probe asks the test guests that run and of which nothing is known yet, and notes what was found out.
func (t *tester) probe(ctx context.Context, want *spec.Desired, have *node.Observed) {
	have.Memory.Probes = map[string]journal.TestProbes{}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = map[string]*probing{}
	for nonce := range t.found { // this pass hears of it
		delete(t.asks, nonce)
	}
	for _, test := range want.Tests {
		for _, run := range node.TestRuns(have, test) {
			if found, ok := t.found[run.Nonce]; ok {
				have.Memory.Probes[run.Nonce] = found
				continue
			}
			p := &probing{tester: t, nonce: run.Nonce, vmid: run.VMID, probes: probesOf(test, run.Made), declared: len(test.Probes) > 0, left: test.KeepAwake, least: min(leastUptime, test.KeepAwake)}
			if !run.Start.OK() {
				t.next[run.Nonce] = p
				continue
			}
			s := have.Guests[run.VMID]
			if t.asks[run.Nonce] || run.Verdict != "" || run.Open() || s == nil || s.Status != "running" || node.TestNonce(have, s) != run.Nonce {
				continue
			}
			p.left = max(test.KeepAwake-have.Now.Sub(run.Start.Ended), 0)
			t.begin(ctx, p)
		}
	}
}

// begin asks a test guest. The lock is held.
func (t *tester) begin(ctx context.Context, p *probing) {
	t.asks[p.nonce] = true
	t.O.Go(func() {
		found := p.ask(ctx)
		t.mu.Lock()
		if t.found[p.nonce] = found; ctx.Err() != nil {
			delete(t.found, p.nonce)
			delete(t.asks, p.nonce)
		}
		t.mu.Unlock()
		t.flights.Nudge()
	})
}

// started asks a test guest whose start has ended well, of which no pass has heard yet: that pass hears of both at once. It
// believes what was found out only of a guest that still has the nonce. It reports whether a pass comes without being asked for.
func (t *tester) started(ctx context.Context, e ending) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.next[e.operation.Facts[journal.FactTest]]
	if e.operation.Verb != journal.VerbTestStart || e.result != journal.ResultOK || p == nil || t.asks[p.nonce] {
		return false
	}
	p.unheard = true
	t.begin(ctx, p)
	return true
}

// ofTest reports whether an operation belongs to a restore test.
func ofTest(operation *journal.Operation) bool { return operation.Facts[journal.FactTest] != "" }

// tokenOf is the token with which an operation was sent.
func tokenOf(operation *journal.Operation, have *node.Observed) string {
	if ofTest(operation) {
		return have.Tests.TokenID
	}
	return have.TokenID
}
