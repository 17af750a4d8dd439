package plan

import (
	"fmt"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// Symbol is the mark at the begin of a plan's line.
type Symbol string

// The symbols, with what they stand for.
const (
	Create    Symbol = "+"
	Change    Symbol = "~"
	Restart   Symbol = "^"
	Power     Symbol = ">" // start, stop, roll back
	Delete    Symbol = "-"
	Block     Symbol = "!"
	Remark    Symbol = "."
	AsWritten Symbol = "="
)

// Effect says what an operation can do to somebody who uses the guest.
type Effect string

// The effects.
const (
	Safe       Effect = "safe"       // nothing that runs or is stored is hurt
	Disruptive Effect = "disruptive" // a running guest stops, or loses state
	Deleting   Effect = "deleting"   // a snapshot or an archive goes away
	Destroying Effect = "destroying" // a guest goes away, with its volumes
)

// A Field is one value that an action changes, as people read it.
type Field struct {
	Name string `json:"field"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
	When string `json:"when"` // "now", "needs a restart", "at next start"
}

// An Action is one operation that has not been sent yet: exactly one of Call and Op is
// set, and both are plain data, so an Action can be printed, kept and compared.
type Action struct {
	ID     string   `json:"id"` // stable: "backups/nightly/web/create"
	Object spec.Ref `json:"object"`
	Guest  string   `json:"guest,omitempty"` // whose, where an object has several
	Verb   string   `json:"verb"`
	Symbol Symbol   `json:"symbol"`
	Text   string   `json:"text"`             // what the plan's line says
	Detail []string `json:"detail,omitempty"` // the lines below it
	Fields []Field  `json:"fields,omitempty"`
	When   string   `json:"when,omitempty"`

	Effect   Effect `json:"effect"`
	Queue    string `json:"queue"`                 // actions of one queue never overlap: "lxc/201"
	Limit    string `json:"concurrency,omitempty"` // what else it shares: "create local-lvm", "vzdump"
	Destroys string `json:"destroys,omitempty"`    // for the plan's last sentence
	// Irreversible is set where the operation cannot be undone: a volume never shrinks again.
	Irreversible bool `json:"irreversible"`
	// Cause is why something is deleted: "keep", "ensure: absent", "earlier revision".
	Cause string `json:"cause,omitempty"`
	// VolID is the archive that a deletion deletes, as PVE names it.
	VolID   string        `json:"volid,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"` // how long its task is waited for

	Call *proxmox.Call  `json:"call,omitempty"`
	Op   *privileged.Op `json:"op,omitempty"`

	Facts map[string]string `json:"-"` // what the journal keeps for the judge: guest, storage, …
}

// MarshalJSON prints the timeout as it is written in YAML.
func (a Action) MarshalJSON() ([]byte, error) {
	type plain Action
	return text.JSON(struct {
		plain
		Timeout string `json:"timeout,omitempty"`
	}{plain(a), text.Duration(a.Timeout)})
}

// A Deferred is a step that cannot be a request yet: another step has to be carried out
// before it, or a guest or a disk is still to come.
type Deferred struct {
	Object spec.Ref `json:"object"`
	Guest  string   `json:"guest,omitempty"` // whose, where an object has several
	Verb   string   `json:"verb"`
	Symbol Symbol   `json:"symbol"`
	Text   string   `json:"text"`
	Detail []string `json:"detail,omitempty"`
	Fields []Field  `json:"fields,omitempty"`
	Waits  string   `json:"waits"` // "when the golden is published", "after the resize"

	Effect       Effect `json:"effect"`
	Irreversible bool   `json:"irreversible"` // it cannot be undone
	Destroys     string `json:"destroys,omitempty"`
	Cause        string `json:"cause,omitempty"` // why something is deleted
	// VolID is the archive that a deletion deletes, as PVE names it.
	VolID string `json:"volid,omitempty"`

	Queue string `json:"-"` // "" where it is not known what it will work on
}

// Defer is an action as the step that it will be.
func Defer(a *Action, waits string) Deferred {
	return Deferred{Object: a.Object, Guest: a.Guest, Verb: a.Verb, Symbol: a.Symbol, Text: a.Text, Detail: a.Detail, Fields: a.Fields, Waits: waits,
		Effect: a.Effect, Irreversible: a.Irreversible, Destroys: a.Destroys, Cause: a.Cause, VolID: a.VolID, Queue: a.Queue}
}

// Running is an operation of this agent that has been sent and has not ended.
type Running struct {
	Object spec.Ref  `json:"object"`
	Verb   string    `json:"verb"`
	Text   string    `json:"text"`
	Since  time.Time `json:"since"` // by the node's clock
}

// A BlockedKind tells apart why people want to hear of what is blocked.
type BlockedKind string

// The kinds; empty: blocked.
const (
	BlockedFailed  BlockedKind = "failed"  // an operation failed and is not tried again yet
	BlockedOverdue BlockedKind = "overdue" // no whole backup for longer than warn-after
	BlockedFrozen  BlockedKind = "frozen"  // a person said so
)

// A Blocked is an object, or a part of one, with which nothing can be done now.
type Blocked struct {
	Object spec.Ref    `json:"object"`
	Reason string      `json:"reason"`
	Fix    []string    `json:"fix"`
	Pos    spec.Pos    `json:"pos"`
	Kind   BlockedKind `json:"kind,omitempty"`
	// Passing is set where the world is expected to change by itself: a lock, a
	// task of somebody else. A run waits for these before it gives up.
	Passing bool `json:"passing,omitempty"`
	// Failed is set where something went wrong, rather than is missing.
	Failed bool `json:"failed,omitempty"`
}

// A Note is a remark on an object that is otherwise as declared.
type Note struct {
	Object spec.Ref  `json:"object"`
	Text   string    `json:"text"`
	Drift  bool      `json:"drift,omitempty"` // a difference that is only reported
	By     string    `json:"by,omitempty"`    // of a drift: who made it, and when, as far as PVE tells
	Since  time.Time `json:"since,omitzero"`  // of a drift: the first look that saw it; zero: this one
}

// String is the remark as a plan shows it.
func (n Note) String() string {
	if !n.Drift {
		return "note: " + n.Text
	}
	since := ""
	if !n.Since.IsZero() {
		since = ", seen since " + n.Since.Format("Mon 2 Jan 15:04")
	}
	return fmt.Sprintf("drift: %s, by %s%s (reported, not healed; to heal it: felhom-agent --once --only %s)", n.Text, n.By, since, n.Object)
}

// DriftKey names a difference of an object, whoever made it.
func DriftKey(n Note) string { return n.Object.String() + ": " + n.Text }

// A Plan is a list of requests that have not been sent yet, and what stands in the
// way of others. It is made by a pure function and is the same, byte for byte, for
// the same inputs.
type Plan struct {
	Format   int        `json:"format"` // of this document: 1
	Actions  []Action   `json:"actions"`
	Deferred []Deferred `json:"deferred"`
	Running  []Running  `json:"running"` // what this agent does already
	Blocked  []Blocked  `json:"blocked"`
	Notes    []Note     `json:"notes"`
	Objects  []spec.Ref `json:"objects"` // all that were looked at, in order
	Header   PlanHeader `json:"header"`
	// Guests are the objects under restores and guests that were looked at.
	Guests []spec.Ref `json:"-"`
	// Uncovered are those of them that no declared backup names.
	Uncovered []spec.Ref `json:"uncovered"`
	// Unmanaged are the containers and VMs of the node that are not declared.
	Unmanaged []Unmanaged `json:"unmanaged"`
	// Backups are the newest whole archives that were seen, by guest.
	Backups map[string]state.LastBackup `json:"backups,omitempty"`
	// Tests are the last restore tests, by guest.
	Tests map[string]state.LastTest `json:"tests,omitempty"`
	// Storages is the room of the active storages that were read, by ID.
	Storages map[string]Room `json:"-"`
	// Servers are the storages of backup servers, with what they list.
	Servers map[string]state.Server `json:"-"`
	// Seen are holds that this look has found a reason for, to be kept.
	Seen     []state.Hold `json:"seen,omitempty"`
	Unending bool         `json:"-"` // its steps do not come to an end: a mistake in planning, which no law forgives
	// Uncounted are the mounts whose archives cannot be counted before they are mounted.
	Uncounted []string `json:"-"`
	// Digests are PVE's digests of the guests' configurations on which the plan is based, by queue: "lxc/201".
	Digests map[string]string `json:"-"`
	// Guards are the guarded changes that were taken back, and Watches those that are to prove themselves now.
	Guards  map[string]state.GuardFailure `json:"-"`
	Watches []Watch                       `json:"-"`
	// Due is when the next periodic snapshot or backup is due, by the node's clock.
	Due time.Time `json:"due,omitzero"`
}

// A Watch is a guest whose probes must hold now, or its change is taken back to a snapshot.
type Watch struct {
	Guest spec.Ref
	Key   string // of the snapshot and of what is tried
}

// DueAt notes when something will have to be done.
func (p *Plan) DueAt(at time.Time) {
	if p.Due.IsZero() || at.Before(p.Due) {
		p.Due = at
	}
}

// A Room is how much of a storage is free, in bytes.
type Room struct{ Free, Total proxmox.Size }

// Changes reports whether anything is being done, or is to be done, now or later.
func (p *Plan) Changes() bool { return len(p.Actions)+len(p.Deferred)+len(p.Running) > 0 }

// AsDeclared returns the objects with nothing to do and nothing held. A drift that is only
// reported is a note on such an object.
func (p *Plan) AsDeclared() []spec.Ref {
	busy := map[spec.Ref]bool{}
	for _, a := range p.Actions {
		busy[a.Object] = true
	}
	for _, l := range p.Deferred {
		busy[l.Object] = true
	}
	for _, h := range p.Blocked {
		busy[h.Object] = true
	}
	for _, r := range p.Running {
		busy[r.Object] = true
	}
	var fine []spec.Ref
	for _, ref := range p.Objects {
		if !busy[ref] {
			fine = append(fine, ref)
		}
	}
	return fine
}

// Place is " (restores.yaml:48)", where the place in the YAML is known.
func (h *Blocked) Place() string {
	if h.Pos.IsZero() {
		return ""
	}
	return fmt.Sprintf(" (%s)", h.Pos)
}

// Route says by which way an operation goes.
func (a *Action) Route() string {
	if a.Op != nil {
		return "route: root, via the root helper: " + a.Op.String()
	}
	return "route: the token, through the API: " + a.Call.String()
}

// First is an object with an operation that is ready.
func (p *Plan) First() (spec.Ref, bool) {
	for _, a := range p.Actions {
		if a.Object.Kind != spec.KindMount {
			return a.Object, true
		}
	}
	return spec.Ref{}, false
}
