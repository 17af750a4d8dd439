package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// runStatus prints what the service last knew. It asks no node.
func runStatus(_ context.Context, cmd *command, con *console) (int, error) {
	dir, err := stateOf(cmd)
	if err != nil {
		return 0, err
	}
	stored, err := reconcile.OpenStore(dir).Load()
	if err != nil {
		return 0, err
	}
	s, err := reconcile.ReadStatus(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(stored.Known)+len(stored.Holds) > 0:
		s, err = reconcile.StatusOf(stored), nil
	case errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("no service has told its state in %s yet. Start it: systemctl start felhom-agent; or look now: felhom-agent --plan", dir)
	}
	if err != nil {
		return 0, err
	}
	s.Holds = append([]reconcile.Hold{}, stored.Holds...) // what people have said since counts already
	if cmd.json {
		r := report{Status: s, Running: s.Running()}
		if !s.Written.IsZero() {
			r.Age = time.Since(s.Written).Round(time.Second).String()
		}
		return exitOK, writeJSON(con.stdout, r)
	}
	return exitOK, s.WriteText(con.stdout, time.Now(), con.text(cmd, nil))
}

// A report is what --status -o json prints; /status and the page add what only the service itself knows.
type report struct {
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
	Next    time.Time `json:"next,omitzero"` // the next look, at the latest
	// Converged is when all was as declared, by the node's clock.
	Converged time.Time                `json:"converged,omitzero"`
	Objects   []objectState            `json:"objects"`
	Acts      []reconcile.HistoryEntry `json:"acts"` // the last fifty, the newest first
	Host      hardware                 `json:"host"`
	Plan      *reconcile.Plan          `json:"plan"` // of the last look; null before it
	Text      string                   `json:"text"` // the plan as in the terminal
}

// statusPace is how often the progress of a task is worth writing.
const statusPace = 5 * time.Second

// progressKey names an act that runs; those of the fence have no UPID.
func progressKey(object, verb, upid string) string { return object + " " + verb + " " + upid }

// status is what is known now. The caller holds the lock.
func (o *observer) status() reconcile.Status {
	stored, err := o.node.store.Load()
	s := reconcile.StatusOf(stored)
	s.Node, s.PID = o.node.sight.Node, os.Getpid()
	if err == nil && o.agent != nil && o.plan != nil {
		var known reconcile.Status
		if known, err = reconcile.OfAgent(o.agent, o.plan); err == nil {
			s = known
		}
	}
	if err != nil {
		s.Errors = append(s.Errors, err.Error())
	}
	for i := range s.Now {
		if e := o.running[progressKey(s.Now[i].Object, s.Now[i].Verb, s.Now[i].UPID)]; e.State == "running" {
			s.Now[i].Log = []string{e.Text}
		}
	}
	s.Version, s.Since, s.Written = version, o.inZone(o.began), time.Now()
	if o.trouble != "" {
		s.Errors = append(s.Errors, o.trouble)
	}
	s.Errors = append(s.Errors, o.src.mistakes()...)
	for _, l := range o.leases {
		s.Expiry = append(s.Expiry, l.short())
	}
	s.Errors = append(s.Errors, warnings(o.leases, o.node.clock())...)
	if err := o.node.config.notify.look(); err != nil {
		s.Errors = append(s.Errors, untold(err))
	}
	return s
}

// inZone is a time of this machine in the node's zone, to the second.
func (o *observer) inZone(t time.Time) time.Time {
	if o.plan != nil && !t.IsZero() {
		t = t.In(o.plan.Header.Looked.Location())
	}
	return t.Truncate(time.Second)
}

// write keeps up to date what --status reads. What cannot be written is logged, and keeps nothing from being
// done.
func (o *observer) write() {
	if o.node.state == "" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.status()
	o.written = s.Written
	if err := s.Write(o.node.state); err != nil {
		o.node.log.Error("the status cannot be written", zap.Error(err))
	}
}

// expiring takes over when token and certificate end.
func (o *observer) expiring(all []lease) {
	o.mu.Lock()
	o.leases = all
	o.mu.Unlock()
	o.write()
}

// objectState is one object in a word, and why.
type objectState struct {
	Object spec.Ref `json:"object"`
	State  string   `json:"state"` // see states
	Reason string   `json:"reason,omitempty"`
	Cure   []string `json:"cure,omitempty"`
}

// states are what an object can be, from bad to good: the first that applies counts.
var states = []string{"blocked", "changing", "waiting", "drifted", "declared"}

// shownActs is how many acts of the past are told.
const shownActs = 50

// report collects what is known now.
func (o *observer) report(ctx context.Context) report {
	host := o.hardware.now(ctx)
	state, healthy := o.health()

	o.mu.Lock()
	defer o.mu.Unlock()
	r := live{Desired: o.src.path, State: state, Healthy: healthy, Next: o.inZone(o.next), Converged: o.converged, Host: host, Objects: []objectState{}, Plan: o.plan}
	r.Acts = o.node.journal.History("")
	slices.Reverse(r.Acts)
	r.Acts = r.Acts[:min(len(r.Acts), shownActs)]
	if o.plan != nil {
		r.Objects = objectStates(o.plan)
		var text strings.Builder
		if err := reconcile.WritePlan(&text, o.plan, reconcile.TextOptions{Desired: o.src.path}); err == nil {
			r.Text = text.String()
		}
	}
	return report{Status: o.status(), Running: true, live: &r}
}

// objectStates says of each object of a plan how it is.
func objectStates(plan *reconcile.Plan) []objectState {
	known := map[spec.Ref]objectState{}
	note := func(ref spec.Ref, state, reason string, cure []string) {
		s, ok := known[ref]
		switch rank := slices.Index(states, state); {
		case !ok || rank < slices.Index(states, s.State):
			known[ref] = objectState{ref, state, reason, cure}
		case rank == slices.Index(states, s.State) && reason != "":
			s.Reason += "; " + reason
			s.Cure = append(slices.Clone(s.Cure), cure...)
			known[ref] = s
		}
	}
	for _, h := range plan.Held {
		note(h.Object, "blocked", h.Reason, h.Cure)
	}
	for _, a := range plan.Actions {
		text := a.Text
		for _, f := range a.Fields {
			text = strings.TrimPrefix(text+fmt.Sprintf(", %s %s -> %s", f.Name, cmp.Or(f.Old, "(unset)"), cmp.Or(f.New, "(unset)")), ", ")
		}
		note(a.Object, "changing", cmp.Or(text, a.Verb), nil)
	}
	for _, l := range plan.Laters {
		note(l.Object, "waiting", strings.TrimSuffix(cmp.Or(l.Text, l.Verb)+", "+l.Waits, ", "), nil)
	}
	for _, n := range plan.Notes {
		if n.Drift {
			note(n.Object, "drifted", fmt.Sprintf("%s, by %s", n.Text, n.By), []string{fmt.Sprintf("to heal it: felhom-agent --once --only %s", n.Object)})
		} else {
			note(n.Object, "declared", n.Text, nil)
		}
	}
	all := []objectState{}
	for _, ref := range plan.Objects {
		s, ok := known[ref]
		if !ok {
			s = objectState{Object: ref, State: "declared"}
		}
		all = append(all, s)
	}
	return all
}
