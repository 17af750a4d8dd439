package applying

import (
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/reconcile/saved"
	"github.com/felhom/felhom-agent/reconcile/state"
)

// Options are what an Agent works with.
type Options struct {
	refresh.Source                     // its View is not used: each pass takes a fresh one of Client
	Client         *proxmox.Client     //
	TestGuests     *proxmox.TestGuests // what restore tests are sent with; nil: none are made
	Runner         privileged.Runner   // nil: no operations on the host
	Journal        *journal.Journal    //
	Store          *state.Store        // nil: one in memory
	Lock           *journal.WriteLock  // nil: nobody else writes
	Log            *zap.Logger         // nil: none
	Events         func(Event)         // what happens, for people; may be nil; called from several goroutines
	Wait           proxmox.WaitOptions // the pace of polling tasks; zero: 250 ms, ×1.2, at most 2 s
	Patience       time.Duration       // how long a run waits for other people's locks; zero: 10 min
	Saved          *saved.Plan         // what was reviewed: only its steps are carried out; nil: all
	Version        string              // of this program, which a saved plan names
	Planned        func(*plan.Plan)    // told the first plan of a run before anything is sent; may be nil
	Passed         func(*plan.Plan)    // told the plan of each pass of a run, after what it sent; may be nil
	Go             func(func())        // starts a goroutine; nil: as usual. A program that must not die of a panic guards it here
	Stagger        time.Duration       // a backup waits for a random part of it, for another agent's task to show; zero: it does not
	Settle         time.Duration       // how long after a lost answer a write may be repeated; zero: 60 s
}

// Agent converges a node. Its methods Once and Watch are not to be called at the same
// time.
type Agent struct {
	*tools
	sender  sender
	adopter adopter
	prover  *prover
	tester  *tester

	// The rest belongs to the one goroutine that makes passes.
	failures  *failures
	facts     refresh.Facts
	Planned   bool // the first plan of this run has been told
	reviewed  bool // the saved plan was compared with the first one of this run
	stale     map[proxmox.VMID]bool
	hash      string // of the desired state that the failures belong to
	earlier   *refresh.Earlier
	planned   *planning.Planned // of the pass before
	calm      calm
	waitsTold map[string]string // action ID -> for whom it waits, as it was told
}

// New makes an agent. It does nothing yet.
func New(o Options) *Agent {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Events == nil {
		o.Events = func(Event) {}
	}
	if o.Wait.Interval == 0 {
		o.Wait.Interval, o.Wait.Factor, o.Wait.Cap = taskPace, 1.2, 2*time.Second
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Minute
	}
	if o.Settle == 0 {
		o.Settle = time.Minute
	}
	if o.TestGuests != nil {
		o.Tests = node.TestAccess{TokenID: o.TestGuests.TokenID(), Pool: o.TestGuests.Pool()}
	}
	if o.Runner != nil {
		o.Fence = o.Runner
	}
	if o.Go == nil {
		o.Go = func(f func()) { go f() }
	}
	if o.Store == nil {
		o.Store = state.MemoryStore()
	}
	t := &tools{O: o, log: o.Log, flights: newFlights()}
	tester := newTester(t)
	w, f := &waiter{t, tester}, newFailures(t)
	return &Agent{
		tools: t, sender: sender{w}, adopter: adopter{w, f}, prover: newProver(t), tester: tester, failures: f,
		stale: map[proxmox.VMID]bool{}, calm: calm{objects: map[string]time.Time{}, counted: map[string]int{}},
	}
}

// Nudge makes a watching or waiting agent make a pass soon.
func (a *Agent) Nudge() { a.flights.Nudge() }
