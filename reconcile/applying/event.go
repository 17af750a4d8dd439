package applying

import (
	"time"

	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

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
	return text.JSON(struct {
		plain
		Elapsed string `json:"elapsed,omitempty"`
	}{plain(e), text.Duration(e.Elapsed)})
}

// EventLine is a labelled line below an event.
type EventLine struct {
	Label string `json:"label"`
	Text  string `json:"text"`
}
