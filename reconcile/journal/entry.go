package journal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// An Entry is one line of the journal. Every operation has an intent, which is on the
// disk before anything is sent, then the task that PVE started, and an outcome:
// no line, no operation. The journal is a memory of operations, never of state: losing it costs
// an audit trail, some waiting and one question to a person.
type Entry struct {
	Format int       `json:"v"` // of this line: 1
	Time   time.Time `json:"t"` // by the node's clock
	Action string    `json:"action"`
	Step   string    `json:"step"` // stepIntent, stepTask or stepOutcome

	ID      string            `json:"id,omitempty"` // of the action
	Object  string            `json:"object,omitempty"`
	Verb    string            `json:"verb,omitempty"`
	Text    string            `json:"text,omitempty"`
	Queue   string            `json:"queue,omitempty"`
	Limit   string            `json:"concurrency,omitempty"`
	Effect  plan.Effect       `json:"effect,omitempty"`
	Timeout time.Duration     `json:"timeout,omitempty"`
	Call    *proxmox.Call     `json:"call,omitempty"`
	Op      *privileged.Op    `json:"op,omitempty"`
	Commit  string            `json:"commit,omitempty"` // of the repository that the desired state was pulled from
	Before  []string          `json:"before,omitempty"` // tasks on the same guest that were there before
	Facts   map[string]string `json:"facts,omitempty"`

	UPID proxmox.UPID `json:"upid,omitzero"`

	Result string   `json:"result,omitempty"`
	Log    []string `json:"log,omitempty"` // the end of the task's log, after a failure

	// Sum ends the line: the checksum of the line without it, as 12 hexadecimal digits. A
	// line without one was written by an earlier version.
	Sum string `json:"sum,omitempty"`
}

// line prints an entry as a line of the journal, with its checksum.
func (e Entry) line() ([]byte, error) {
	e.Format, e.Sum = 1, ""
	plain, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%s%s%s%s\n", plain[:len(plain)-1], sumHead, text.ShortHash(string(plain)), sumTail), nil
}

// What stands around the checksum at the end of a line.
const sumHead, sumTail = `,"sum":"`, `"}`

// parseLine reads a line of the journal. What is damaged, and what this version does not
// know (a key, a step, a format), is an error.
func parseLine(line []byte) (Entry, error) {
	var read struct {
		Entry
		// The keys that earlier versions wrote.
		Action string `json:"act"`
		Queue  string `json:"lane"`
		Budget string `json:"budget"`
	}
	line = bytes.TrimSpace(line)
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&read)
	e := read.Entry
	e.Action, e.Queue, e.Limit = cmp.Or(e.Action, read.Action), cmp.Or(e.Queue, read.Queue), cmp.Or(e.Limit, read.Budget)
	switch {
	case err != nil:
		return e, err
	case decoder.InputOffset() != int64(len(line)):
		return e, errors.New("something follows its end")
	case e.Format != 1:
		return e, fmt.Errorf("format %d, and this version knows 1", e.Format)
	case e.Step != StepIntent && e.Step != StepTask && e.Step != StepOutcome:
		return e, fmt.Errorf("unknown step %q", e.Step)
	case e.Sum == "":
		return e, nil
	}
	body, _, ok := bytes.Cut(line, []byte(sumHead+e.Sum+sumTail))
	if !ok || text.ShortHash(string(body)+"}") != e.Sum {
		return e, errors.New("its checksum does not match")
	}
	e.Sum = ""
	return e, nil
}

// The steps of an operation.
const (
	StepIntent  = "intent"
	StepTask    = "task"
	StepOutcome = "outcome"
)

// The results of an operation.
const (
	ResultOK      = "ok"
	ResultFailed  = "failed"  // its task failed
	ResultRefused = "refused" // PVE or the root helper said no: there was no task
	ResultLocked  = "locked"  // somebody else held the lock: it is tried again
	ResultUnsent  = "unsent"  // it was never delivered
	ResultLost    = "lost"    // its answer was lost, and nothing of it is found
)
