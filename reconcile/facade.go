// Package reconcile keeps a Proxmox VE node in the state described by a folder of YAML files.
//
// It is the front of the rooms below it: [Preview] makes a plan and [WritePlan] prints it; an [Agent] carries plans out, once or for as long as
// it is left to; [Eject] makes a disk safe to remove; [ExportNode] writes the YAML of a node that has none yet. What is kept between runs lies in
// a state directory: the [Journal], the [Store] and the [Status].
package reconcile

import (
	"context"
	"io"
	"time"

	"github.com/felhom/felhom-agent/reconcile/applying"
	"github.com/felhom/felhom-agent/reconcile/eject"
	"github.com/felhom/felhom-agent/reconcile/export"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/reconcile/saved"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/status"
	"github.com/felhom/felhom-agent/reconcile/view"
	"github.com/felhom/felhom-agent/spec"
)

// A plan, and what it is made from.
type (
	Plan        = plan.Plan        // what a node needs, as plain data
	PlanHeader  = plan.PlanHeader  // of which node it is, and how it was read
	Action      = plan.Action      // one request that can be sent now
	Field       = plan.Field       // a value of an action, before and after
	Blocked     = plan.Blocked     // an object that cannot go on, why, and the fix
	BlockedKind = plan.BlockedKind // the sort of that reason, for programs
	Deferred    = plan.Deferred    // a step that becomes an action later
	Note        = plan.Note        // what a person may want to know
	Unmanaged   = plan.Unmanaged   // a guest of the node that is not in the YAML
	Source      = refresh.Source   // what reads a node
	TestAccess  = node.TestAccess  // with what restore tests are sent
	Marker      = marker.Marker    // the ownership marker in the Notes of a guest
)

// TestPrefix begins the hostname of every guest of a restore test.
const TestPrefix = node.TestPrefix

// The reasons for which an object is blocked that programs ask about.
const (
	BlockedFrozen  = plan.BlockedFrozen
	BlockedOverdue = plan.BlockedOverdue
	BlockedFailed  = plan.BlockedFailed
)

// Carrying a plan out.
type (
	Agent       = applying.Agent       // carries plans out
	Options     = applying.Options     // what an agent works with
	Event       = applying.Event       // what happens, as it happens
	EventLine   = applying.EventLine   // a labelled line below an event
	Report      = applying.Report      // what a run ended with
	ActionError = applying.ActionError // an action that failed
	InUseError  = eject.InUseError     // who uses a disk that cannot be ejected
	// DifferentError says in what the plan of today differs from the one that was saved.
	DifferentError = saved.DifferentError
)

// What is kept between runs, in a state directory.
type (
	Journal      = journal.Journal      // the record of actions
	Entry        = journal.Entry        // one line of it
	HistoryEntry = journal.HistoryEntry // one action of it, for people
	WriteLock    = journal.WriteLock    // lets one process send at a time
	LockedError  = journal.LockedError  // who has that lock
	Store        = state.Store          // holds and last backups
	Stored       = state.Stored         // what is in it
	Hold         = state.Hold           // an object that the operator, or an eject, keeps from being changed
	LastBackup   = state.LastBackup     // the last verified backup of a guest
	LastTest     = state.LastTest       // the last restore test of a guest, and the last good one
	Kit          = state.Kit            // the newest recovery kit on one disk of a backup storage
	Status       = status.Status        // what the service last knew
	Export       = export.Export        // a node as YAML
	SavedAbout   = saved.About          // what a saved plan says besides the plan
	SavedPlan    = saved.Plan           // a plan in a file, as it was reviewed
)

// The kinds of a [Hold].
const (
	HoldPerson    = state.HoldPerson    // by the operator
	HoldEjected   = state.HoldEjected   // of a disk that was ejected
	HoldDestroyed = state.HoldDestroyed // of a guest that somebody destroyed
)

// Text for people.
type (
	TextOptions = view.TextOptions // width, colours, details
	Progress    = view.Progress    // the running lines of a run
)

// ErrStillBusy is the error of an [Eject] that has waited long enough.
var ErrStillBusy = eject.ErrStillBusy

// New makes an agent. It does nothing yet.
func New(o Options) *Agent { return applying.New(o) }

// Eject makes the disk of a declared mount safe to remove and says so in words. What uses it is waited for, up to patience (0: without end), and
// reported through say. Errors: *[InUseError] names running guests that have it; [ErrStillBusy].
func Eject(ctx context.Context, a *Agent, m *spec.Mount, by string, patience time.Duration, say func(string)) (string, error) {
	return eject.Disk(ctx, a, m, by, patience, say)
}

// NewPlan compares what is wanted with what was read. It is pure: no I/O, no clock, and the same inputs give the same bytes.
func NewPlan(want *spec.Desired, have *node.Observed) *Plan { return planning.NewPlan(want, have) }

// WritePlan prints a plan: one line per change with its symbol, what is blocked and the fix, and what is destroyed, also when that is nothing.
func WritePlan(w io.Writer, p *Plan, o TextOptions) error { return view.WritePlan(w, p, o) }

// SavePlan is a plan as it is saved.
func SavePlan(p *Plan, about SavedAbout) *SavedPlan { return saved.Of(p, about) }

// ReadSavedPlan reads the file of a saved plan. It refuses one that was altered since, or is something else.
func ReadSavedPlan(path string) (*SavedPlan, error) { return saved.Read(path) }

// WriteRunHeader prints the first line of a run; nothing where there is nothing to do.
func WriteRunHeader(w io.Writer, p *Plan, o TextOptions) { view.WriteRunHeader(w, p, o) }

// WriteReport prints the last lines of a run: how many objects are as declared, and each that is not, with what to do.
func WriteReport(w io.Writer, r *Report, o TextOptions) error { return view.WriteReport(w, r, o) }

// FindMarkers finds the ownership markers in the Notes of a guest or an archive.
func FindMarkers(text string) []Marker { return marker.FindMarkers(text) }

// NewProgress prints the events of a run to w, as they come.
func NewProgress(w io.Writer, o TextOptions) *Progress { return view.NewProgress(w, o) }

// OpenJournal opens the journal in a directory, which must exist.
func OpenJournal(dir string) (*Journal, error) { return journal.OpenJournal(dir) }

// ReadJournal reads the journal of a directory and changes nothing there. Without one it is empty. It cannot be written to.
func ReadJournal(dir string) (*Journal, error) { return journal.ReadJournal(dir) }

// MemoryJournal is a journal that ends with the process, for a simulated node.
func MemoryJournal() *Journal { return journal.MemoryJournal() }

// NewWriteLock names the lock of a state directory; says is what others are told of the holder, and limit how long a pass waits for it.
func NewWriteLock(dir, says string, limit time.Duration) *WriteLock {
	return journal.NewWriteLock(dir, says, limit)
}

// OpenStore names the store of a state directory.
func OpenStore(dir string) *Store { return state.OpenStore(dir) }

// MemoryStore is a store that ends with the process.
func MemoryStore() *Store { return state.MemoryStore() }

// OfAgent is the status that an agent knows after a pass.
func OfAgent(a *Agent, p *Plan) (Status, error) { return status.OfAgent(a, p) }

// StatusOf is the status of a node that no service has read yet: what the operator has said, and what single runs have seen.
func StatusOf(stored Stored) Status { return status.StatusOf(stored) }

// ReadStatus reads the status of a state directory; fs.ErrNotExist where no service has ever written one.
func ReadStatus(dir string) (Status, error) { return status.ReadStatus(dir) }

// ExportNode writes the containers of a node as YAML and proves it: the plan of that YAML on this node has nothing but adoptions, and would be
// empty after them. Like a plan it can only read.
func ExportNode(ctx context.Context, source Source, j *Journal) (*Export, error) {
	return export.ExportNode(ctx, source, j)
}
