package applying

import (
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/reconcile/saved"
	"github.com/felhom/felhom-agent/reconcile/state"
)

// Options are what an Agent works with.
type Options struct {
	refresh.Sight                     // its View is not used: each pass takes a fresh one of Client
	Client        *proxmox.Client     //
	Runner        privileged.Runner   // nil: no acts on the host
	Journal       *journal.Journal    //
	Store         *state.Store        // nil: one in memory
	Lock          *journal.WriteLock  // nil: nobody else writes
	Log           *zap.Logger         // nil: none
	Events        func(Event)         // what happens, for people; may be nil; called from several goroutines
	Wait          proxmox.WaitOptions // the pace of polling tasks; zero: 250 ms, ×1.2, at most 2 s
	Patience      time.Duration       // how long a run waits for other people's locks; zero: 10 min
	Saved         *saved.Plan         // what was reviewed: only its steps are carried out; nil: all
	Version       string              // of this program, which a saved plan names
	Planned       func(*plan.Plan)    // told the first plan of a run before anything is sent; may be nil
	Go            func(func())        // starts a goroutine; nil: as usual. A program that must not die of a panic guards it here
	Stagger       time.Duration       // a backup waits for a random part of it, for another agent's task to show; zero: it does not
	Settle        time.Duration       // how long after a lost answer a write may be repeated; zero: 60 s
}

// Agent converges a node. Its methods Once and Watch are not to be called at the same
// time.
type Agent struct {
	O     Options
	log   *zap.Logger
	nudge chan struct{}

	zone atomic.Pointer[time.Location] // the node's

	mu       sync.Mutex
	waiting  map[string]bool                 // acts that a waiter of this process looks after
	ended    []ending                        // of which the next pass has not heard yet
	proven   map[string]journal.ArchiveState // archives of ours whose task another process or life began
	proving  map[string]bool
	checking map[string]time.Time // archives that the root helper reads now -> since when
	unlogged map[string]bool      // archives of which no log tells
	overdue  []*journal.Operation // acts whose time is over: nobody waits for them while they go on

	// The rest belongs to the one goroutine that makes passes.
	facts     refresh.Facts
	Planned   bool // the first plan of this run has been told
	cooling   map[string]journal.Failure
	tries     map[string]int       // how often in a row an action has failed
	lockedOut map[string]time.Time // lane -> when to try again, by the node's clock
	// lockedSince is since when an act, by its ID, has met nothing but locks.
	lockedSince map[string]time.Time
	stale       map[proxmox.VMID]bool
	hash        string // of the desired state that the failures belong to
	earlier     *refresh.Earlier
	failures    []Event
	calm        calm
	reviewed    bool              // the saved plan was compared with the first one of this run
	waitsTold   map[string]string // action ID -> for whom it waits, as it was told
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
		o.Wait.Interval, o.Wait.Factor, o.Wait.Cap = 250*time.Millisecond, 1.2, 2*time.Second
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Minute
	}
	if o.Settle == 0 {
		o.Settle = time.Minute
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
	return &Agent{
		O: o, log: o.Log, nudge: make(chan struct{}, 1),
		waiting: map[string]bool{}, proven: map[string]journal.ArchiveState{}, proving: map[string]bool{}, unlogged: map[string]bool{}, checking: map[string]time.Time{},
		cooling: map[string]journal.Failure{}, tries: map[string]int{}, lockedOut: map[string]time.Time{}, lockedSince: map[string]time.Time{}, stale: map[proxmox.VMID]bool{},
		calm: calm{objects: map[string]time.Time{}},
	}
}

// Nudge makes a watching or waiting agent look again soon.
func (a *Agent) Nudge() {
	select {
	case a.nudge <- struct{}{}:
	default:
	}
}

// Clock is the node's time, as far as it is known.
func (a *Agent) Clock() time.Time {
	if t := a.O.Client.Clock(); !t.IsZero() {
		if zone := a.zone.Load(); zone != nil {
			return t.In(zone)
		}
		return t
	}
	return time.Now()
}
