// Package reconcile makes a Proxmox VE node be as the desired state says, and keeps
// it that way. It looks at the node (reads only), compares what it sees with what is
// wanted in a pure function, and sends what is ready, at most one act per guest:
//
//	look -> plan = f(desired, observed) -> send
//
// A pass does not wait. Tasks that run are part of the world; a waiter for each polls
// it and nudges when it has ended, and what had to come after it is ready in the next
// pass. So an edit of one guest converges while another's backup runs for hours, and
// the read-back of an act is simply the next look. Every act is written to a journal
// before it is sent, sent exactly once, and judged by what the node says afterwards.
package reconcile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// Sight is what a look needs, and all that a dry run is given: two views that can
// only read, and who we are.
type Sight struct {
	View  *proxmox.View
	Fence privileged.Asker // nil where there is none
	// FenceReason says why there is none.
	FenceReason string
	Node        string // the node that is looked after
	Owner       string // whose markers are ours
	TokenID     string

	Drift        spec.Drift // default of the objects that do not say
	MaxDeletions int        // of one pass, beyond one per object and guest; 0: no limit
	NotifyPVE    bool       // PVE's own notifications of each backup
	Stored       Stored     // holds, and what was once seen
	Watching     bool       // nobody is looking: some acts wait for a person
	Only         []spec.Ref // limits the plan to these and what they need; empty: all
}

// Preview makes a plan. It cannot write: there is nothing in its hands to write with.
func Preview(ctx context.Context, sight Sight, want *spec.Desired, journal *Journal) (*Plan, error) {
	have, err := sight.looker(want, journal, nil).look(ctx)
	if err != nil {
		return nil, err
	}
	return planOf(want, have), nil
}

func planOf(want *spec.Desired, have *Observed) *Plan {
	plan := NewPlan(want, have)
	plan.Header.Elapsed = fmt.Sprintf("%.2f s", have.Elapsed.Seconds())
	return plan
}

// looker prepares a look for a desired state.
func (s Sight) looker(want *spec.Desired, journal *Journal, kept *facts) *looker {
	return &looker{sight: s, view: s.View, ask: s.Fence, node: s.Node, want: want, facts: kept, memory: journal.memory}
}

// observed is what is known before looking.
func (s Sight) observed(want *spec.Desired) *Observed {
	have := &Observed{Node: s.Node, Owner: s.Owner, TokenID: s.TokenID, HostReason: s.FenceReason, Drift: s.Drift, MaxDeletions: s.MaxDeletions, NotifyPVE: s.NotifyPVE,
		Stored: s.Stored, Watching: s.Watching,
		Guests: map[proxmox.VMID]*GuestState{}, Others: map[proxmox.VMID]proxmox.Resource{}, Storages: map[string]*StorageState{},
		Taken: map[proxmox.VMID]bool{}, Inside: map[string]Inside{}}
	if len(s.Only) > 0 {
		have.Named = map[spec.Ref]bool{}
		for _, ref := range s.Only {
			have.Named[ref] = true
		}
		have.Scope = scope(want, s.Only)
	}
	return have
}

// scope is the named objects and all that they need.
func scope(want *spec.Desired, named []spec.Ref) map[spec.Ref]bool {
	all := map[spec.Ref]bool{}
	var add func(ref spec.Ref)
	disksOfStorages := func() {
		for _, m := range want.Mounts {
			if m.Storage != "" {
				add(m.Ref)
			}
		}
	}
	add = func(ref spec.Ref) {
		if all[ref] || want.Object(ref) == nil {
			return
		}
		all[ref] = true
		switch ref.Kind {
		case spec.KindRestore, spec.KindGuest:
			g := want.Guest(ref.Name)
			disksOfStorages() // a blank is made only when all are seen
			for _, source := range g.From {
				if source.Golden != "" {
					add(spec.Ref{Kind: spec.KindGolden, Name: source.Golden})
				}
			}
			for _, name := range g.Needs {
				if other := want.Guest(name); other != nil {
					add(other.Ref)
				}
			}
			for _, mp := range g.Config.Mounts {
				if mp.Mount != "" {
					add(spec.Ref{Kind: spec.KindMount, Name: mp.Mount})
				}
			}
		case spec.KindGolden:
			disksOfStorages()
		case spec.KindSnapshot:
			if g := want.Guest(want.Snapshots[ref.Name].Guest); g != nil {
				add(g.Ref)
			}
		case spec.KindBackup:
			b := want.Backups[ref.Name]
			disksOfStorages()
			for _, name := range want.BackupGuests(b) {
				add(want.Guest(name).Ref)
			}
		}
	}
	for _, ref := range named {
		add(ref)
	}
	return all
}

// Options are what an Agent works with.
type Options struct {
	Sight                        // its View is not used: each pass takes a fresh one of Client
	Client   *proxmox.Client     //
	Runner   privileged.Runner   // nil: no acts on the host
	Journal  *Journal            //
	Store    *Store              // nil: one in memory
	Lock     *WriteLock          // nil: nobody else writes
	Log      *zap.Logger         // nil: none
	Events   func(Event)         // what happens, for people; may be nil; called from several goroutines
	Wait     proxmox.WaitOptions // the pace of polling tasks; zero: 250 ms, ×1.2, at most 2 s
	Patience time.Duration       // how long a run waits for other people's locks; zero: 10 min
	Planned  func(*Plan)         // told the first plan of a run before anything is sent; may be nil
	Go       func(func())        // starts a goroutine; nil: as usual. A program that must not die of a panic guards it here
	Settle   time.Duration       // how long after a lost answer a write may be repeated; zero: 60 s
}

// Agent converges a node. Its methods Once and Watch are not to be called at the same
// time.
type Agent struct {
	o     Options
	log   *zap.Logger
	nudge chan struct{}

	zone atomic.Pointer[time.Location] // the node's

	mu      sync.Mutex
	waiting map[string]bool         // acts that a waiter of this process looks after
	ended   []ending                // of which the next pass has not heard yet
	proven  map[string]ArchiveState // archives of ours whose task another process or life began
	proving map[string]bool
	overdue []*act // acts whose time is over: nobody waits for them while they go on

	// The rest belongs to the one goroutine that makes passes.
	facts     facts
	planned   bool // the first plan of this run has been told
	cooling   map[string]Failure
	tries     map[string]int       // how often in a row an action has failed
	lockedOut map[string]time.Time // lane -> when to try again, by the node's clock
	// lockedSince is since when an act, by its ID, has met nothing but locks.
	lockedSince map[string]time.Time
	stale       map[proxmox.VMID]bool
	hash        string // of the desired state that the failures belong to
	earlier     *earlier
	failures    []Event
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
		o.Store = MemoryStore()
	}
	return &Agent{
		o: o, log: o.Log, nudge: make(chan struct{}, 1),
		waiting: map[string]bool{}, proven: map[string]ArchiveState{}, proving: map[string]bool{},
		cooling: map[string]Failure{}, tries: map[string]int{}, lockedOut: map[string]time.Time{}, lockedSince: map[string]time.Time{}, stale: map[proxmox.VMID]bool{},
	}
}

// Event is something that happened, for people and for logs.
type Event struct {
	Time    time.Time     `json:"time"` // by the node's clock
	Object  spec.Ref      `json:"object"`
	Verb    string        `json:"verb"`
	State   string        `json:"state"`          // started, running, ok, FAILED, REFUSED, waits, adopted
	What    string        `json:"what,omitempty"` // what the act does, as the plan says it
	Text    string        `json:"text,omitempty"` // what is to be said of this state
	UPID    string        `json:"upid,omitempty"`
	Elapsed time.Duration `json:"elapsed,omitempty"`
	Lines   []EventLine   `json:"lines,omitempty"` // what a person wants to know after a failure
}

// MarshalJSON prints the elapsed time as people read it: "41s".
func (e Event) MarshalJSON() ([]byte, error) {
	type plain Event
	return readable(struct {
		plain
		Elapsed string `json:"elapsed,omitempty"`
	}{plain(e), spanText(e.Elapsed)})
}

// readable is JSON in which a marker and an arrow (<!--, ->) are not escaped; who prints it into a document says
// whether they stay so.
func readable(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return b.Bytes(), err
}

// spanText prints a duration for JSON, or "" for none.
func spanText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// EventLine is a labelled line below an event.
type EventLine struct {
	Label string `json:"label"`
	Text  string `json:"text"`
}

// Nudge makes a watching or waiting agent look again soon.
func (a *Agent) Nudge() {
	select {
	case a.nudge <- struct{}{}:
	default:
	}
}

// clock is the node's time, as far as it is known.
func (a *Agent) clock() time.Time {
	if t := a.o.Client.Clock(); !t.IsZero() {
		if zone := a.zone.Load(); zone != nil {
			return t.In(zone)
		}
		return t
	}
	return time.Now()
}
