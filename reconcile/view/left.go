package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// A UsualTime is how long an operation of an object usually takes; 0: unknown.
type UsualTime func(object, verb, text string) time.Duration

// leastPercent is the percentage from which on it says how long a task takes.
const leastPercent = 3

// Left estimates how long an operation still takes: by the percentage in the last line of its log, else by what it
// usually takes. It is not known where neither tells, or where it takes longer than usual.
func Left(elapsed time.Duration, line string, usual time.Duration) (left time.Duration, known bool) {
	if percent, ok := text.Percent(line); ok && percent >= leastPercent && elapsed > 0 {
		return elapsed * time.Duration(100-percent) / time.Duration(percent), true
	}
	return usual - elapsed, usual > elapsed
}

// Doing says how far an operation is: "61%, about 20 min left"; "" where nothing is known.
func Doing(elapsed time.Duration, line string, usual time.Duration) string {
	var parts []string
	if percent, ok := text.Percent(line); ok {
		parts = append(parts, fmt.Sprintf("%d%%", percent))
	}
	if left, known := Left(elapsed, line, usual); known {
		parts = append(parts, "about "+roughly(left)+" left")
	}
	return strings.Join(parts, ", ")
}

// roughly is a time that is not known better than that.
func roughly(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "1 min"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int((d+30*time.Second)/time.Minute))
	}
	return fmt.Sprintf("%d h", int((d+30*time.Minute)/time.Hour))
}

// Ahead is what is planned and not sent yet.
type Ahead struct {
	Steps   int              `json:"steps"`
	Unknown int              `json:"unknown,omitempty"` // of these it is not known how long they take
	Seconds map[string]int64 `json:"seconds,omitempty"` // how long the others take, by what is done one after the other
}

// lane is what an operation is done one after the other with: PVE makes one backup at a time, and the agent changes one
// object at a time.
func lane(object, verb string) string {
	if verb == "back up" {
		return verb
	}
	return object
}

// AheadOf is what a plan has not sent yet; sent tells what has been since.
func AheadOf(p *plan.Plan, usual UsualTime, sent func(object, verb, text string) bool) Ahead {
	a := Ahead{Seconds: map[string]int64{}}
	for _, step := range p.Steps() {
		object := step.Object.String()
		if sent(object, step.Verb, step.Text) {
			continue
		}
		a.Steps++
		if took := usual(object, step.Verb, step.Text); took > 0 {
			a.Seconds[lane(object, step.Verb)] += int64(took / time.Second)
		} else {
			a.Unknown++
		}
	}
	return a
}

// A Tally is how far all is.
type Tally struct {
	Fine, Of int
	Ahead    Ahead
	running  int
	unknown  int
	left     map[string]time.Duration
}

// Run adds an operation that runs.
func (t *Tally) Run(object, verb string, elapsed time.Duration, line string, usual time.Duration) {
	if t.left == nil {
		t.left = map[string]time.Duration{}
	}
	t.running++
	left, known := Left(elapsed, line, usual)
	if !known {
		t.unknown++
		return
	}
	t.left[lane(object, verb)] += left
}

// Rest says how many operations run and how long it all takes: "2 running, about 9 min left"; "" where nothing runs. Where
// of a part it is not known how long that takes, it is more.
func (t *Tally) Rest() string {
	if t.running == 0 {
		return ""
	}
	all := fmt.Sprintf("%d running", t.running)
	var longest time.Duration
	for name, left := range t.left {
		longest = max(longest, left+time.Duration(t.Ahead.Seconds[name])*time.Second)
	}
	for _, seconds := range t.Ahead.Seconds {
		longest = max(longest, time.Duration(seconds)*time.Second)
	}
	switch {
	case longest == 0:
		return all
	case t.unknown+t.Ahead.Unknown > 0:
		return all + ", more than " + roughly(longest) + " left"
	}
	return all + ", about " + roughly(longest) + " left"
}

// String is the line "18 of 44 objects, 2 running, about 9 min left".
func (t *Tally) String() string {
	return strings.TrimSuffix(fmt.Sprintf("%d of %d objects, %s", t.Fine, t.Of, t.Rest()), ", ")
}
