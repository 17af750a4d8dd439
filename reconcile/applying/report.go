package applying

import (
	"fmt"
	"slices"

	"github.com/hashicorp/go-multierror"

	"github.com/felhom/felhom-agent/reconcile/plan"
)

// ExitCode is that of --once: 0 converged, 1 a step failed, 5 gave up waiting, 3
// something stayed.
func (r *Report) ExitCode() int {
	switch {
	case len(r.Failed) > 0 && !r.mended(), slices.ContainsFunc(r.Plan.Blocked, func(h plan.Blocked) bool { return h.Failed }):
		return 1
	case len(r.Overdue) > 0:
		return 5
	case len(r.Plan.Blocked) > 0 || r.Plan.Changes():
		return 3
	}
	return 0
}

// mended reports whether all that failed in this run was done by a later act of it.
func (r *Report) mended() bool { return len(r.Plan.Blocked) == 0 && !r.Plan.Changes() }

// Report is what a run ended with.
type Report struct {
	Plan    *plan.Plan `json:"plan"`    // of the last pass
	First   *plan.Plan `json:"-"`       // of the first pass
	Failed  []Event    `json:"failed"`  // operations that failed in this run
	Overdue []string   `json:"overdue"` // tasks that still run and are not waited for any more
	Waits   []string   `json:"waits"`   // what other people's work kept from being sent
	Sent    int        `json:"sent"`    // operations
	Passes  int        `json:"passes"`  //
}

// add takes up what a pass has found and done.
func (r *Report) add(p *passed, failed []Event, late []string) {
	r.Passes++
	r.Plan = p.plan
	if r.First == nil {
		r.First = p.plan
	}
	r.Sent += p.sent
	r.Failed, r.Overdue = append([]Event{}, failed...), append([]string{}, late...)
	r.Waits = []string{}
	if p.part { // another pass follows
		return
	}
	for _, w := range p.busy {
		r.Waits = append(r.Waits, fmt.Sprintf("%s: %s", w.action.Object, w.why))
	}
}

// Converged counts the objects that are as declared.
func (r *Report) Converged() int { return len(r.Plan.AsDeclared()) }

// An ActionError is an operation that failed in a run.
type ActionError struct{ Event Event }

func (e *ActionError) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.Event.Object, e.Event.Verb, e.Event.Text)
}

// Err collects what failed, or is nil.
func (r *Report) Err() error {
	var errs *multierror.Error
	for _, event := range r.Failed {
		errs = multierror.Append(errs, &ActionError{event})
	}
	return errs.ErrorOrNil()
}
