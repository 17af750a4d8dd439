package applying

import (
	"context"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/spec"
)

// passed is what a pass has found and done.
type passed struct {
	plan    *plan.Plan
	planned *planning.Planned
	partial bool           // some of the look was taken from an earlier one
	part    bool           // most of it, and of the plan: see passOn
	ready   []*plan.Action // of the plan, to be sent now
	sent    int            // operations that were sent, of which
	atOnce  int            // were done at once
	busy    []wait         // why actions of the plan were not sent
	poll    bool           // one of them waits for what nothing tells of, so it has to be looked at
	waits   []wait         // for other people's work
	soon    time.Time      // when a lock is tried again, by the node's clock
}

// pass looks, plans and sends what is ready, under the write lock.
func (a *Agent) pass(ctx context.Context, want *spec.Desired) (*passed, error) {
	release, err := a.O.Lock.Take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := a.ReadJournal(); err != nil {
		return nil, err
	}
	a.noteEdit(want)
	source := a.O.Source
	source.View = a.O.Client.Read()
	source.Unreviewed = a.O.Watching || a.reviewed || a.O.Planned == nil && a.O.Saved == nil
	if source.Stored, err = a.O.Store.Load(); err != nil {
		return nil, err
	}
	finished, err := a.judge()
	if err != nil {
		a.report(finished, nil)
		return nil, err
	}
	l := source.Reader(want, a.O.Journal, &a.facts)
	p, have, err := lookAndPlan(ctx, a, want, l, finished)
	if err != nil {
		return nil, err
	}
	p.partial = l.Earlier != nil
	a.remember(want, l, p)
	a.stale = staleNow(have)
	if !p.part { // else a whole pass follows
		if err := a.keep(want, p.plan, have); err != nil {
			return nil, err
		}
	}
	if a.O.Planned != nil && !a.Planned {
		a.Planned = true
		a.O.Planned(p.plan)
	}
	a.reviewed = true
	if !p.part {
		if err := approve(a.O.Store, want, p.plan, have); err != nil {
			return nil, err
		}
	}
	a.tellWaits(p)
	return p, a.sender.send(ctx, p, have)
}

// lookAndPlan reads and plans what has to be, and tells what became of the operations that have ended.
func lookAndPlan(ctx context.Context, a *Agent, want *spec.Desired, l *refresh.Reader, finished []ending) (*passed, *node.Observed, error) {
	l.Earlier = a.stillKnown(want, finished)
	before := a.planned
	a.earlier, a.planned = nil, nil
	told := false
	tell := func(have *node.Observed) { // once, whichever way the pass goes
		if !told {
			a.report(finished, have)
		}
		told = true
	}
	p, have, err := passOn(ctx, a, l, before, finished, tell)
	if err == nil && p == nil {
		if l.Earlier != nil && time.Since(l.Earlier.Full) > l.Earlier.Age {
			l.Earlier = nil
		}
		p, have, err = passWhole(ctx, a, want, l, tell)
	}
	if err != nil {
		tell(nil)
	}
	return p, have, err
}

// passWhole reads and plans all objects.
func passWhole(ctx context.Context, a *Agent, want *spec.Desired, l *refresh.Reader, tell func(*node.Observed)) (*passed, *node.Observed, error) {
	have, err := l.Read(ctx)
	if have != nil {
		a.zone.Store(have.Now.Location())
		a.O.AtOnce.Since = have.AtOnce.Since // the first refresh of the run
	}
	tell(have)
	if err != nil {
		return nil, nil, err
	}
	return a.planOn(ctx, want, l, have)
}

// noteEdit begins anew with a desired state that was edited: what failed may be tried at once, and what is done again is meant.
func (a *Agent) noteEdit(want *spec.Desired) {
	if want.Hash == a.hash {
		return
	}
	if a.hash != "" {
		a.calm.all = a.Clock()
	}
	a.hash = want.Hash
	a.failures.forget()
}

func (a *Agent) report(finished []ending, have *node.Observed) {
	for _, e := range finished {
		a.failures.report(e, have)
	}
}

// planOn plans on what was read, and reads again what the actions that are ready rest on, until that has been read in this pass.
func (a *Agent) planOn(ctx context.Context, want *spec.Desired, l *refresh.Reader, have *node.Observed) (*passed, *node.Observed, error) {
	for {
		p, err := a.consider(ctx, want, have)
		if err != nil {
			return nil, nil, err
		}
		renewed, err := l.Renew(ctx, p.ready)
		if err != nil {
			return nil, nil, err
		}
		if !(l.Earlier != nil && l.View.Forget(l.Earlier.BasedOn(p.ready))) && !renewed {
			return p, have, nil
		}
		if have, err = l.Read(ctx); err != nil {
			return nil, nil, err
		}
	}
}

// A wait is an action that is ready, and kept back by what others do.
type wait struct {
	action *plan.Action
	why    string
}

// tellWaits says, once each, for whom an action waits: from the first pass on, not at the end
// of the run.
func (a *Agent) tellWaits(p *passed) {
	now := map[string]string{}
	for _, w := range p.waits {
		now[w.action.ID] = w.why
		if a.waitsTold[w.action.ID] != w.why {
			a.O.Events(Event{Time: a.Clock(), Object: w.action.Object, Verb: w.action.Verb, State: "waits", What: w.action.Said(), Text: w.why})
		}
	}
	for i := range p.plan.Blocked {
		h := &p.plan.Blocked[i]
		if !h.Passing || h.Kind != "" {
			continue
		}
		key := h.Object.String() + " " + h.Reason
		if now[key] = h.Reason; a.waitsTold[key] == "" {
			a.O.Events(Event{Time: a.Clock(), Object: h.Object, Verb: "wait", State: "waits", Text: h.Reason})
		}
	}
	a.waitsTold = now
}

// consider plans what a look asks for, and chooses what of it can be sent.
func (a *Agent) consider(ctx context.Context, want *spec.Desired, have *node.Observed) (*passed, error) {
	if err := a.adopter.seeEffects(ctx, have); err != nil {
		return nil, err
	}
	if err := a.adopter.adopt(ctx, have); err != nil {
		return nil, err
	}
	a.prover.recall(have.Memory.Archives)
	a.prover.prove(ctx, want, have)
	a.failures.expire(have)
	have.Memory.Cooling = a.failures.cooling
	have.Memory.Stale = a.stale
	a.calm.note(want, have)
	have.Memory.Fights = a.calm.fights(a.O.Journal, a.O.Watching, have.Now)
	a.tester.probe(ctx, want, have)
	known := a.O.Journal.Memory(have.Now) // adoption may have found and settled some
	have.Memory.Making, have.Memory.Tasks, have.Memory.Flights = known.Making, known.Tasks, known.Flights
	have.Memory.Tests, have.Memory.TakenBack, have.Memory.Guards = known.Tests, known.TakenBack, a.tester.guards()
	planned := planning.Whole(want, have)
	if err := a.limitToSaved(want, planned.Plan); err != nil {
		return nil, err
	}
	a.tester.watch(ctx, want, planned.Plan)
	p := a.choose(want, have, planned.Plan)
	p.planned = planned
	return p, nil
}

// staleNow lists the guests with a lock that no running task explains.
func staleNow(have *node.Observed) map[proxmox.VMID]bool {
	stale := map[proxmox.VMID]bool{}
	for vmid, state := range have.Guests {
		if state.Lock != "" && have.Holder(vmid) == nil {
			stale[vmid] = true
		}
	}
	return stale
}
