package journal

import (
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// Memory is what the agent remembers of its own operations, as far as planning needs it:
// a part of the planner's input, so that the planner needs no memory of its own.
type Memory struct {
	Fights      map[string]bool            // actKeys of what ended well RepeatLimit times lately
	Cooling     map[string]Failure         // action ID -> its last failure, until it is tried again
	Making      map[proxmox.VMID]string    // guests that an operation of ours is making now
	Stale       map[proxmox.VMID]bool      // locks that were there before and that nothing explains
	Unmade      map[proxmox.VMID]time.Time // guests whose making by us did not end well -> when it was begun
	Made        map[string]time.Time       // object -> when we made its guest
	Changed     map[string]bool            // objects of which an action ended well
	Notes       map[string]string          // object -> what we wrote last as the notes of its guest
	Done        map[string]bool            // action IDs that ended well
	Rollbacks   map[string]RollbackState   // rollbackKey -> what became of it
	Archives    map[string]ArchiveState    // volume id -> what is known of an archive of ours
	Checking    map[string]time.Time       // archives whose contents are being checked -> since when
	Tasks       map[proxmox.UPID]bool      // of operations of ours that have no outcome yet
	Undeletable map[string]time.Time       // storage -> when its backup server last refused to delete an archive
	Unowned     map[string]Unowned         // "STORAGE lxc/VMID" -> the last backup, where the server refused it to this user
	Reading     map[string]bool            // archives that a restore of ours reads now
	BackedUp    map[string][]time.Time     // action ID -> when backups that ended well were begun
	Tests       []TestRun                  // restore tests, in the order in which they were begun
	Probes      map[string]TestProbes      // nonce of a test -> what its guest has shown so far, where this process has asked
	Guards      map[string]TestProbes      // plan.Watch.Key -> what the probes have shown, where this process has asked
	TakenBack   map[string]GuardedChange   // object -> its last change that was rolled back
	Flights     []Flight                   // operations of ours that have no outcome yet, in the order in which they were begun
	// Restarting are the objects whose guest we shut down to start it again.
	Restarting map[string]bool
}

// A Flight is an operation of ours that has been sent and has no outcome yet.
type Flight struct {
	plan.Action
	Since time.Time
}

// Flight is the operation of ours that works in a queue now, or nil.
func (m *Memory) Flight(queue string) *Flight {
	for i := range m.Flights {
		if m.Flights[i].Queue == queue {
			return &m.Flights[i]
		}
	}
	return nil
}

// FlightOn is the operation of ours that works on a guest now, or nil.
func (m *Memory) FlightOn(vmid proxmox.VMID) *Flight {
	if len(m.Flights) == 0 {
		return nil
	}
	return m.Flight("lxc/" + vmid.String())
}

// Failure is why an operation failed, for people, and what to do.
type Failure struct {
	ID    string    `json:"id"`
	Text  string    `json:"text"`
	Fix   []string  `json:"fix,omitempty"`
	Until time.Time `json:"until,omitzero"` // when it is tried again; zero: not before something changes
	// Undelivered marks what never reached PVE: a run tries it again, other failures
	// only the next run does.
	Undelivered bool `json:"undelivered,omitempty"`
	// Storage and Trouble are set where a Proxmox Backup Server refused it.
	Storage string                `json:"-"`
	Trouble proxmox.ServerTrouble `json:"-"`
	Queue   string                `json:"-"`
	Basis   string                `json:"-"` // see basis
}

// RollbackState is what became of one request to roll back.
type RollbackState struct {
	Marked bool   // we wrote its time into the guest's marker
	Begun  bool   // we sent it, or were about to
	Result string // "" while it runs
}

// ArchiveState is what is known of an archive whose task was ours.
type ArchiveState struct {
	Whole  bool   // its task ended well and it has been written out to its disk
	Marker string // what its notes were to be
	Size   string // what vzdump said that it had written, in its words; "": it did not say
	Broken string // what is wrong with it, where a check of its contents found that
	// Unchecked says why its contents could not be checked; "": they were, or it was not tried.
	Unchecked string
	// The task that made it, by the node's clock; zero: not known.
	Begun, Ended time.Time
}

// UnsyncedAge is how long an archive must have lain on a declared disk to count as
// written out where no fence can do it.
const UnsyncedAge = 10 * time.Minute

// noteGuest notes an operation that makes a guest.
func (m *Memory) noteGuest(a *Operation, now time.Time) {
	makes := a.Facts["makes"]
	if makes == "" {
		return
	}
	vmid, err := proxmox.ParseVMID(makes)
	if err != nil {
		return
	}
	switch {
	case a.Open():
		m.Making[vmid] = fmt.Sprintf("%s since %s", a.Verb, a.Time.In(now.Location()).Format("15:04"))
	case a.Result == ResultOK:
		m.Made[a.Object] = a.ended
		delete(m.Unmade, vmid)
	case a.Result != ResultUnsent && a.Result != ResultRefused:
		m.Unmade[vmid] = a.Time
	}
}

// noteFlight notes an operation that has no outcome yet.
func (m *Memory) noteFlight(a *Operation) {
	if !a.Open() {
		return
	}
	m.Tasks[a.Upid] = true
	object, _ := spec.ParseRef(a.Object)
	m.Flights = append(m.Flights, Flight{Since: a.Time, Action: plan.Action{ID: a.ID, Object: object, Verb: a.Verb, Text: a.Text, Queue: a.Queue, Limit: a.Limit, Effect: a.Effect,
		Call: a.Call, Op: a.Op, Facts: a.Facts}})
	if a.Facts["reads"] != "" {
		m.Reading[a.Facts["reads"]] = true
	}
}

// noteRollback notes an operation that says that a rollback begins, or is one.
func (m *Memory) noteRollback(a *Operation) {
	if key := a.Facts["rollback-mark"]; key != "" {
		state := m.Rollbacks[key]
		state.Marked = state.Marked || a.Result == ResultOK || a.Open()
		m.Rollbacks[key] = state
	}
	if key := a.Facts["rollback"]; key != "" && a.Result != ResultUnsent {
		state := m.Rollbacks[key]
		state.Begun, state.Result = true, a.Result
		m.Rollbacks[key] = state
	}
}

// noteBackup notes a backup that was made.
func (m *Memory) noteBackup(a *Operation) {
	if a.Verb == VerbBackUp && a.Result == ResultOK {
		m.BackedUp[a.ID] = append(m.BackedUp[a.ID], a.Time)
	}
}

// noteArchive notes what is known of an archive.
func (m *Memory) noteArchive(a *Operation, now time.Time) {
	if volid := a.outcomeFacts["archive"]; volid != "" {
		written := a.Result == ResultOK && (!a.unsynced() || now.Sub(a.ended) > UnsyncedAge)
		marker := ""
		if a.Call != nil {
			marker = a.Call.Params["notes-template"]
		}
		m.Archives[volid] = ArchiveState{Whole: written, Marker: marker, Size: a.outcomeFacts["size"], Begun: a.Time.Truncate(time.Second), Ended: a.ended}
	}
}

// RepeatLimit is how often the same operation may succeed and be wanted again: in one run,
// or while the agent watches in one hour. Then something moves back what is done.
const RepeatLimit = 3

// ActKey names what an operation does, without the digest of the config that it changes.
func ActKey(id string, call *proxmox.Call, op *privileged.Op) string {
	size, params := len(id), map[string]string(nil)
	if call != nil {
		params, size = call.Params, size+len(call.Method)+len(call.Path)+2
		for key, value := range params {
			size += len(key) + len(value) + 2
		}
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteString(id)
	if op != nil {
		fmt.Fprintf(&b, " %s %v", op.Name, op.Args) // maps are printed in order
	}
	if call != nil {
		for _, part := range []string{" ", call.Method, " ", call.Path} {
			b.WriteString(part)
		}
		for _, key := range text.Keys(params) {
			if key != "digest" {
				for _, part := range []string{" ", key, "=", params[key]} {
					b.WriteString(part)
				}
			}
		}
	}
	return b.String()
}

// madeOfGuest reports whether a request makes a guest or changes one: /nodes/NODE/lxc, or below it.
func madeOfGuest(path string) bool {
	node, ok := strings.CutPrefix(path, "/nodes/")
	_, below, _ := strings.Cut(node, "/")
	kind, _, _ := strings.Cut(below, "/")
	return ok && (kind == "lxc" || kind == "qemu")
}

// notesOf are the notes of a guest that an operation writes.
func notesOf(a *Operation) string {
	switch {
	case a.Call != nil:
		if notes := a.Call.Params["description"]; notes != "" && madeOfGuest(a.Call.Path) && !strings.HasSuffix(a.Call.Path, "/snapshot") {
			return notes
		}
	case a.Op != nil:
		return a.Op.Args["description"]
	}
	return ""
}
