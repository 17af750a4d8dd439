package httpstatus

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/source"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/version"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// A Report is what --status -o json prints; /status and the page add what only the service itself knows.
type Report struct {
	reconcile.Status
	Running bool   `json:"running"`       // the service
	Age     string `json:"age,omitempty"` // of the status, where it was read from the state directory
	*live
}

// live is what only the service itself knows.
type live struct {
	Desired string    `json:"desired"` // the path
	State   string    `json:"state"`   // one line
	Healthy bool      `json:"healthy"`
	Needs   int       `json:"needs"`         // objects that wait for a person
	Next    time.Time `json:"next,omitzero"` // the next look, at the latest
	// Converged is when all was as declared, by the node's clock.
	Converged time.Time                `json:"converged,omitzero"`
	Objects   []ObjectState            `json:"objects"`
	History   []reconcile.HistoryEntry `json:"history"` // the last fifty, the newest first
	Host      Hardware                 `json:"host"`
	Plan      *reconcile.Plan          `json:"plan"` // of the last look; null before it
	Text      string                   `json:"text"` // the plan as in the terminal
}

// statusPace is how often the progress of a task is worth writing.
const statusPace = 5 * time.Second

// progressKey names an operation that runs; those of the fence have no UPID.
func progressKey(object, verb, upid string) string { return object + " " + verb + " " + upid }

// status is what is known now. The caller holds the lock.
func (o *Observer) status() reconcile.Status {
	stored, err := o.Node.Store.Load()
	s := reconcile.StatusOf(stored)
	s.Node, s.PID = o.name, os.Getpid()
	if err == nil && o.Agent != nil && o.Plan != nil {
		var known reconcile.Status
		if known, err = reconcile.OfAgent(o.Agent, o.Plan); err == nil {
			s = known
		}
	}
	if err != nil {
		s.Errors = append(s.Errors, err.Error())
	}
	for i := range s.Now {
		if e := o.Running[progressKey(s.Now[i].Object, s.Now[i].Verb, s.Now[i].UPID)]; e.State == "running" {
			s.Now[i].Log = []string{e.Text}
		}
	}
	s.Version, s.Since, s.Written = version.Version, o.inZone(o.began), time.Now()
	if o.Trouble != "" {
		s.Errors = append(s.Errors, o.Trouble)
	}
	s.Errors = append(s.Errors, o.Src.Mistakes()...)
	if origin, ok := source.OriginOf(o.Src.Path); ok && origin.Trouble() != "" {
		s.Errors = append(s.Errors, origin.Trouble())
	}
	for _, l := range o.leases {
		s.Expiry = append(s.Expiry, l.Short())
	}
	s.Errors = append(s.Errors, session.Warnings(o.leases, o.Node.Clock())...)
	for _, err := range o.Node.Config.Notify.Unusable() {
		s.Errors = append(s.Errors, source.Untold(err))
	}
	lines, _ := o.undelivered()
	s.Errors = append(s.Errors, lines...)
	return s
}

// inZone is a time of this machine in the node's zone, to the second.
func (o *Observer) inZone(t time.Time) time.Time {
	if o.Plan != nil && !t.IsZero() {
		t = t.In(o.Plan.Header.Refreshed.Location())
	}
	return t.Truncate(time.Second)
}

// write keeps up to date what --status reads. What cannot be written is logged, and keeps nothing from being
// done.
func (o *Observer) write() {
	if o.Node.State == "" {
		return
	}
	o.Mu.Lock()
	defer o.Mu.Unlock()
	s := o.status()
	o.written = s.Written
	if err := s.Write(o.Node.State); err != nil {
		o.Node.Log.Error("the status cannot be written", zap.Error(err))
	}
}

// Expiring takes over when token and certificate end.
func (o *Observer) Expiring(all []session.Lease) {
	o.Mu.Lock()
	o.leases = all
	o.Mu.Unlock()
	o.write()
}

// ObjectState is one object in a word, and why.
type ObjectState struct {
	Object spec.Ref `json:"object"`
	State  string   `json:"state"` // see states
	Reason string   `json:"reason,omitempty"`
	Fix    []string `json:"fix,omitempty"`
}

// states are what an object can be, from bad to good: the first that applies counts.
var states = []string{"failed", "overdue", "blocked", "running", "changing", "waits", "drifted", "declared"}

// ShownHistory is how many operations of the past are shown.
const ShownHistory = 50

// Report collects what is known now.
func (o *Observer) Report(ctx context.Context) Report {
	host := o.hardware.Now(ctx)
	state, healthy := o.Health()

	o.Mu.Lock()
	defer o.Mu.Unlock()
	r := live{Desired: o.Src.Path, State: state, Healthy: healthy, Next: o.inZone(o.next), Converged: o.converged, Host: host, Objects: []ObjectState{}, Plan: o.Plan}
	r.History = o.Node.Journal.History(reconcile.HistoryFilter{})
	slices.Reverse(r.History)
	r.History = r.History[:min(len(r.History), ShownHistory)]
	if o.Plan != nil {
		r.Objects = ObjectStates(o.Plan)
		r.Needs = len(needing(r.Objects))
		slices.SortStableFunc(r.Objects, func(a, b ObjectState) int { // what needs a person is at the top
			rank := func(s ObjectState) int { return min(slices.Index(states, s.State), slices.Index(states, "running")) }
			return cmp.Compare(rank(a), rank(b))
		})
		var text strings.Builder
		if err := reconcile.WritePlan(&text, o.Plan, reconcile.TextOptions{Desired: o.Src.Path}); err == nil {
			r.Text = text.String()
		}
	}
	return Report{Status: o.status(), Running: true, live: &r}
}

// ObjectStates says of each object of a plan how it is.
func ObjectStates(plan *reconcile.Plan) []ObjectState {
	known := map[spec.Ref]ObjectState{}
	note := func(ref spec.Ref, state, reason string, fix []string) {
		s, ok := known[ref]
		switch rank := slices.Index(states, state); {
		case !ok || rank < slices.Index(states, s.State):
			known[ref] = ObjectState{ref, state, reason, fix}
		case rank == slices.Index(states, s.State) && reason != "":
			s.Reason += "; " + reason
			s.Fix = append(slices.Clone(s.Fix), fix...)
			known[ref] = s
		}
	}
	for _, h := range plan.Blocked {
		state := "blocked"
		if h.Kind == reconcile.BlockedFailed || h.Kind == reconcile.BlockedOverdue {
			state = string(h.Kind)
		}
		if h.Passing && state == "blocked" { // it passes by itself
			state = "waits"
		}
		note(h.Object, state, h.Reason, h.Fix)
	}
	for _, r := range plan.Running {
		note(r.Object, "running", cmp.Or(r.Text, r.Verb), nil)
	}
	for _, a := range plan.Actions {
		text := a.Text
		for _, f := range a.Fields {
			text = strings.TrimPrefix(text+fmt.Sprintf(", %s %s -> %s", f.Name, cmp.Or(f.Old, "(unset)"), cmp.Or(f.New, "(unset)")), ", ")
		}
		note(a.Object, "changing", cmp.Or(text, a.Verb), nil)
	}
	for _, l := range plan.Deferred {
		note(l.Object, "waits", strings.TrimSuffix(cmp.Or(l.String(), l.Verb)+", "+l.Waits, ", "), nil)
	}
	for _, n := range plan.Notes {
		if n.Drift {
			note(n.Object, "drifted", fmt.Sprintf("%s, by %s", n.Text, n.By), []string{fmt.Sprintf("to heal it: felhom-agent --once --only %s", n.Object)})
		} else {
			note(n.Object, "declared", n.Text, nil)
		}
	}
	all := []ObjectState{}
	for _, ref := range plan.Objects {
		s, ok := known[ref]
		if !ok {
			s = ObjectState{Object: ref, State: "declared"}
		}
		all = append(all, s)
	}
	return all
}
