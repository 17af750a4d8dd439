package laws

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// A promise is what the plan at the begin of a run says, or the one after the latest event
// from outside: another one's task, a lost answer, a failure, a disk whose content shows
// when it is mounted, a time that has come. The laws on it:
//
//	no surprise: every write of a run matches a step of it, by object, verb and target;
//	counted: no run deletes more than it counts;
//	nothing hidden: what is blocked in a plan of an object alone is blocked in the plan of
//	all, and what is blocked at the end of a run was so in the plan at its begin.
type promise struct {
	s    *scenario
	want *spec.Desired

	mu      sync.Mutex
	running bool // a run, of which all is checked
	prints  bool // the next plan is the one that the run prints
	renew   int  // how many of the coming plans take the place of the promise
	plan    *reconcile.Plan
	steps   map[string]bool
	deletes int
	deleted int
	until   time.Time // when something else falls due
}

// begin is the begin of a run.
func (p *promise) begin(want *spec.Desired) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.want, p.running, p.plan, p.prints = want, p.s.quiet, nil, true
}

// end is the end of a run: what is blocked then has been told at its begin.
func (p *promise) end(last *reconcile.Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running || p.plan == nil || p.renew > 0 {
		return
	}
	p.running = false
	told := map[string]bool{}
	for _, h := range p.plan.Blocked {
		told[fmt.Sprint(h.Object, h.Pos)] = true
	}
	for _, h := range last.Blocked {
		if h.Kind == "" && !h.Passing && !h.Failed && !told[fmt.Sprint(h.Object, h.Pos)] {
			p.s.fails("nothing hidden", "%s is blocked at the end, which the plan at the begin does not say: %s\n%s", h.Object, h.Reason, reconciletest.PlanText(p.plan))
		}
	}
}

// event is something from outside: the next pass may have begun before it.
func (p *promise) event() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renew = 2
}

// planned is told the plan of every pass.
func (p *promise) planned(plan *reconcile.Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if plan.Unending && !p.s.profile.unending {
		p.s.fails("no surprise", "the plan does not come to an end:\n%s", reconciletest.PlanText(plan))
	}
	if p.prints {
		p.prints = false
		p.s.print(plan)
	}
	if !p.running {
		return
	}
	if p.plan != nil && p.renew == 0 && p.s.sim.Now().Before(p.until) && !p.s.othersRun() {
		return
	}
	p.renew = max(0, p.renew-1)
	p.plan, p.steps, p.deleted = plan, map[string]bool{}, 0
	counted := plan.Deletions()
	p.deletes = counted.Archives + counted.Snapshots + counted.Guests
	now := p.s.sim.Now()
	p.until = time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, now.Location())
	if !plan.Due.IsZero() && plan.Due.Before(p.until) {
		p.until = plan.Due
	}
	for _, a := range plan.Actions {
		p.steps[truthKey(a.Object.String(), a.Verb, a.Queue)] = true
	}
	for _, l := range plan.Deferred {
		p.steps[truthKey(l.Object.String(), l.Verb, l.Queue)] = true
	}
}

var truthStamp = regexp.MustCompile(`\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

// truthKey names a step: of an archive that is still to be made the time is not known.
func truthKey(object, verb, queue string) string {
	if verb == "record" {
		queue = truthStamp.ReplaceAllString(queue, "*")
	}
	return object + " " + verb + " " + queue
}

// kept judges a write on its way.
func (p *promise) kept(j *reconcile.Journal, method, path string) {
	for _, operation := range j.Open() {
		if operation.Call != nil && operation.Call.Method == method && operation.Call.Path == path && operation.Upid.IsZero() {
			p.judge(operation)
			return
		}
	}
}

func (p *promise) keptOp(j *reconcile.Journal, op privileged.Op) {
	for _, operation := range j.Open() {
		if operation.Op != nil && operation.Op.String() == op.String() {
			p.judge(operation)
			return
		}
	}
}

func (p *promise) judge(operation *journal.Operation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running || p.plan == nil {
		return
	}
	p.s.mu.Lock()
	p.s.truths++
	p.s.mu.Unlock()
	object, _, _ := strings.Cut(operation.Object, " ")
	// What a task's log proves of an archive of another agent arrives from outside; the plan has named the archive.
	proven := operation.Verb == "record" && slices.ContainsFunc(p.plan.Notes, func(n reconcile.Note) bool {
		return strings.Contains(n.Text, strings.TrimPrefix(operation.Queue, "archive/"))
	})
	if !p.steps[truthKey(object, operation.Verb, operation.Queue)] && !p.steps[truthKey(object, operation.Verb, "")] && !proven {
		p.s.fails("no surprise", "%s: %s (%s) is done, and the plan at the begin does not say so:\n%s\n%s", operation.Object, operation.Verb, operation.Queue, reconciletest.PlanText(p.plan), strings.Join(slices.Sorted(maps.Keys(p.steps)), "\n"))
	}
	if operation.Effect == plan.Deleting || operation.Effect == plan.Destroying {
		if p.deleted++; p.deleted > p.deletes {
			p.s.fails("counted", "%d are deleted, and the plan counts %d:\n%s", p.deleted, p.deletes, reconciletest.PlanText(p.plan))
		}
	}
}

// othersRun are the tasks of others that run now.
func (s *scenario) othersRun() bool {
	return slices.ContainsFunc(s.witness.list(), func(t lawTask) bool { return t.EndTime == 0 && t.owner() != lawToken })
}

// someRun reports whether tasks run.
func (s *scenario) someRun() bool {
	return slices.ContainsFunc(s.witness.list(), func(t lawTask) bool { return t.EndTime == 0 })
}

// nothingHides: what is blocked in the plan of an object alone is blocked in that of all.
func (s *scenario) nothingHides() {
	if s.someRun() {
		return // the one plan would be of another moment than the other
	}
	i := s.live(1)
	defer i.end()
	whole, _, err := i.preview()
	if err != nil {
		return
	}
	blocked := map[string]bool{}
	for _, h := range whole.Blocked {
		blocked[fmt.Sprint(h.Object, h.Pos)] = true
	}
	for _, ref := range whole.Objects {
		source := i.agents[0].O.Source
		source.View, source.Only = i.agents[0].O.Client.Read(), []spec.Ref{ref}
		if source.Stored, err = i.place.store.Load(); err != nil {
			return
		}
		have, err := source.Reader(s.want, i.journal, nil).Read(i.ctx)
		if err != nil {
			return
		}
		have.Named = nil // who names an object lets more be done
		alone := planning.PlanOf(s.want, have)
		for _, h := range alone.Blocked {
			if strings.Contains(h.Reason, "only after a restart") && strings.Contains(reconciletest.PlanText(whole), "for that and starts it again") {
				continue // a backup in mode stop restarts it
			}
			if strings.HasSuffix(h.Reason, "its ownership marker is missing") {
				continue // alone it reads fewer storages, on which archives are witnesses
			}
			if h.Object == ref && h.Kind != reconcile.BlockedFrozen && !h.Passing && !blocked[fmt.Sprint(h.Object, h.Pos)] {
				s.fails("nothing hidden", "%s is blocked, which the plan of all does not say: %s\n%s", h.Object, h.Reason, reconciletest.PlanText(whole))
			}
		}
	}
}
