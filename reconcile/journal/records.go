package journal

import (
	"bytes"
	"slices"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
)

// Operation is what the journal knows of one operation.
type Operation struct {
	Entry               // its intent
	Key          string // see actKey
	began        int    // see records.files
	Upid         proxmox.UPID
	Result       string
	text         string
	log          []string
	ended        time.Time
	outcomeFacts map[string]string
	Lost         time.Time // when its answer was given up, by the clock of this process
	Sought       time.Time // since when this process looks for its task, by its own clock
	Sent         bool      // by this process
}

// Open reports whether the operation has no outcome yet.
func (a *Operation) Open() bool { return a.Result == "" }

// records are what a journal's lines say: its operations. Where the lines come from they do not know.
type records struct {
	operations map[string]*Operation
	// Order is the operations in the order of their intents.
	Order []*Operation
	// open are those of them that have no outcome, in the same order.
	open []*Operation
	// Times says by key how many of them ended well.
	Times map[string]int
	// Often counts the keys of which RepeatLimit or more did.
	Often int
	// unread counts the lines that could not be read.
	unread int
	// whyUnread says why the last of them could not.
	whyUnread error
	settled   settled
	// files counts those that were put aside since; operations know in which they began.
	files int
}

// forget drops the operations that ended and stand in no file any more, as a process that is
// started now would not know them: a service that runs for years needs no more memory
// than its files take.
func (r *records) forget() {
	r.Order = slices.DeleteFunc(r.Order, func(a *Operation) bool {
		gone := !a.Open() && a.began < r.files
		if gone {
			delete(r.operations, a.Action)
			r.count(a, -1)
		}
		return gone
	})
	r.settled = settled{}
}

// Parse adds lines to what is known. A line that cannot be read was torn by a crash, is
// damaged, or was written by another version. It is passed over and counted.
func (r *records) Parse(data []byte) {
	for line := range bytes.Lines(data) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		e, err := parseLine(line)
		if err != nil {
			r.unread++
			r.whyUnread = err
			continue
		}
		r.apply(e)
	}
}

// apply adds one line.
func (r *records) apply(e Entry) {
	a := r.operations[e.Action]
	if e.Step == StepIntent {
		if a == nil {
			a = &Operation{Entry: e, Key: ActKey(e.ID, e.Call, e.Op)}
			r.operations[e.Action] = a
			r.Order, r.open = append(r.Order, a), append(r.open, a)
		}
		a.began = r.files // where it was open when a file was put aside, it stands in the next one too
		return
	}
	if a == nil {
		return // its intent was rotated away
	}
	switch e.Step {
	case StepTask:
		a.Upid = e.UPID
	case StepOutcome:
		if a.Open() {
			a.Result, a.text, a.log, a.ended, a.outcomeFacts = e.Result, e.Text, e.Log, e.Time, e.Facts
			r.close(a)
		}
	}
}

// close notes that an operation has ended.
func (r *records) close(a *Operation) {
	r.open = slices.DeleteFunc(r.open, func(a *Operation) bool { return !a.Open() })
	r.count(a, 1)
}

// count adds an operation that has ended to those of its key, or takes it away.
func (r *records) count(a *Operation, n int) {
	if a.Result != ResultOK {
		return
	}
	before := r.Times[a.Key]
	now := before + n
	if r.Times[a.Key] = now; now == 0 {
		delete(r.Times, a.Key)
	}
	switch {
	case before < RepeatLimit && now >= RepeatLimit:
		r.Often++
	case before >= RepeatLimit && now < RepeatLimit:
		r.Often--
	}
}
