package applying

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// passed is what a pass has found and done.
type passed struct {
	plan    *plan.Plan
	partial bool           // some of the look was taken from an earlier one
	ready   []*plan.Action // of the plan, to be sent now
	sent    int            // acts that were sent, of which
	atOnce  int            // were done at once
	busy    []string       // why actions of the plan were not sent
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
	if err := a.readJournal(); err != nil {
		return nil, err
	}
	if want.Hash != a.hash { // an edit: what failed may be tried at once, and what is done again is meant
		if a.hash != "" {
			a.calm.all = a.Clock()
		}
		a.hash = want.Hash
		clear(a.cooling)
		clear(a.tries)
	}
	sight := a.O.Sight
	sight.View = a.O.Client.Look()
	if sight.Stored, err = a.O.Store.Load(); err != nil {
		return nil, err
	}
	finished, err := a.judge()
	if err != nil {
		for _, e := range finished {
			a.report(e, nil)
		}
		return nil, err
	}
	l := sight.Looker(want, a.O.Journal, &a.facts)
	l.Earlier = a.stillKnown(want, finished)
	a.earlier = nil
	have, err := l.Look(ctx)
	if have != nil {
		a.zone.Store(have.Now.Location())
		a.O.AtOnce.Since = have.AtOnce.Since // the first refresh of the run
	}
	for _, e := range finished {
		a.report(e, have)
	}
	if err != nil {
		return nil, err
	}
	p, err := a.consider(ctx, want, have)
	if err != nil {
		return nil, err
	}
	for {
		renewed, err := l.Renew(ctx, p.ready)
		if err != nil {
			return nil, err
		}
		if !(l.Earlier != nil && sight.View.Forget(refresh.BasedOn(p.ready))) && !renewed {
			break
		}
		if have, err = l.Look(ctx); err != nil {
			return nil, err
		}
		if p, err = a.consider(ctx, want, have); err != nil {
			return nil, err
		}
	}
	p.partial = l.Earlier != nil
	a.remember(want, l)
	a.stale = staleNow(have)
	if err := a.keep(want, p.plan, have); err != nil {
		return nil, err
	}
	if a.O.Planned != nil && !a.Planned {
		a.Planned = true
		a.O.Planned(p.plan)
	}
	a.reviewed = true
	a.tellWaits(p)
	return p, a.send(ctx, p, have)
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
	if err := a.seeEffects(ctx, have); err != nil {
		return nil, err
	}
	if err := a.adopt(ctx, have); err != nil {
		return nil, err
	}
	a.mu.Lock()
	for volid, state := range a.proven {
		if _, known := have.Memory.Archives[volid]; !known {
			have.Memory.Archives[volid] = state
		}
	}
	a.mu.Unlock()
	a.prove(ctx, want, have)
	now := have.Now
	for id, f := range a.cooling {
		if f.Basis == "" { // it failed when the node could not be looked at
			f.Basis = basis(f.Queue, have)
			a.cooling[id] = f
		}
	}
	maps.DeleteFunc(a.cooling, func(_ string, f journal.Failure) bool {
		over := !f.Until.IsZero() && !soonAfter(now, f.Until, coolMost) && (a.O.Watching || f.Undelivered)
		changed := f.Basis != "" && f.Basis != basis(f.Queue, have)
		if changed {
			delete(a.tries, f.ID)
		}
		return over || changed && (f.Until.IsZero() || strings.HasPrefix(f.Queue, "mount/")) // who plugs a disk in does not wait
	})
	have.Memory.Cooling = a.cooling
	have.Memory.Stale = a.stale
	a.calm.note(want, have)
	have.Memory.Repeats = a.repeats(now)
	known := a.O.Journal.Memory(now) // adoption may have found and settled some
	have.Memory.Making, have.Memory.Tasks, have.Memory.Flights = known.Making, known.Tasks, known.Flights
	p := planning.PlanOf(want, have)
	if err := a.limitToSaved(want, p); err != nil {
		return nil, err
	}
	return a.choose(want, have, p), nil
}

// keep stores what this look has seen and a later one could not look up: guests that
// somebody destroyed (task lists are short), the last whole backups (disks go away),
// since when a reported difference is there. Holds that ended are dropped.
func (a *Agent) keep(want *spec.Desired, p *plan.Plan, have *node.Observed) error {
	var left []Event
	err := a.O.Store.Change(func(stored *state.Stored) {
		left = leave(stored, want, have)
		for _, seen := range p.Seen {
			if !slices.ContainsFunc(stored.Holds, func(h state.Hold) bool { return h.Name == seen.Name && h.Kind == seen.Kind }) {
				stored.Holds = append(stored.Holds, seen)
			}
		}
		stored.Holds = slices.DeleteFunc(stored.Holds, func(h state.Hold) bool {
			if !h.Until.IsZero() && !have.Now.Before(h.Until) {
				return true
			}
			return h.Kind == state.HoldDestroyed && slices.ContainsFunc(node.GuestsOf(want), func(g *spec.Guest) bool {
				return state.Called(&g.Object, h.Name) && (have.Named[g.Ref] || have.Guests[g.VMID] != nil)
			})
		})
		keepEjected(stored, have)
		for guest, last := range p.Backups {
			if stored.Backups == nil {
				stored.Backups = map[string]state.LastBackup{}
			}
			if old := stored.Backups[guest]; !last.Time.Before(old.Time) {
				stored.Backups[guest] = last
			}
		}
		for storage, newest := range p.Servers {
			if stored.Servers == nil {
				stored.Servers = map[string]time.Time{}
			}
			if newest.After(stored.Servers[storage]) {
				stored.Servers[storage] = newest
			}
		}
		since := map[string]time.Time{}
		for _, n := range p.Notes {
			if !n.Drift {
				continue
			}
			key := plan.DriftKey(n)
			since[key] = have.Now
			if old, ok := stored.Drift[key]; ok {
				since[key] = old
			}
		}
		if stored.Drift = since; len(since) == 0 {
			stored.Drift = nil
		}
	})
	if err != nil {
		return err
	}
	for _, event := range left {
		a.O.Events(event)
	}
	return nil
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

// choose finds what of a plan can be sent now: one act per lane, within the budgets.
func (a *Agent) choose(want *spec.Desired, have *node.Observed, plan *plan.Plan) *passed {
	p := &passed{plan: plan}
	soon := func(at time.Time) {
		if !at.IsZero() && (p.soon.IsZero() || at.Before(p.soon)) {
			p.soon = at
		}
	}
	o := a.occupied(want, have, plan)
	for i := range plan.Actions {
		action := &plan.Actions[i]
		why, poll := o.Keeps(action)
		if why != "" {
			p.poll = p.poll || poll
			soon(o.Frees[action.Limit])
		} else if at := a.lockedOut[action.Queue]; soonAfter(have.Now, at, lockPause) {
			why = "a lock; tried again soon"
			soon(at)
		}
		if why != "" {
			p.busy = append(p.busy, fmt.Sprintf("%s: %s", action.Object, why))
			if poll {
				p.waits = append(p.waits, wait{action, why})
			}
			continue
		}
		p.ready = append(p.ready, action)
		o.Take(action)
	}
	return p
}

// soonAfter reports whether a time is still to come, and comes within most. One that is
// further away was told by a clock that has been set back since.
func soonAfter(now, at time.Time, most time.Duration) bool {
	return at.After(now) && at.Sub(now) <= most
}

// send sends what was chosen.
func (a *Agent) send(ctx context.Context, p *passed, have *node.Observed) error {
	for _, action := range p.ready {
		if why, err := a.yields(ctx, action, have); err != nil {
			return err
		} else if why != "" {
			p.poll, p.busy, p.waits = true, append(p.busy, fmt.Sprintf("%s: %s", action.Object, why)), append(p.waits, wait{action, why})
			continue
		}
		atOnce, err := a.begin(ctx, action, have)
		if err != nil {
			return err
		}
		p.sent++
		if atOnce {
			p.atOnce++
		}
	}
	return nil
}

// begin journals an act and sends it, exactly once.
func (a *Agent) begin(ctx context.Context, action *plan.Action, have *node.Observed) (atOnce bool, err error) {
	e := journal.Entry{Time: a.Clock(), Act: journal.NewAct(), Step: journal.StepIntent, ID: action.ID, Object: action.Object.String(), Verb: action.Verb, Text: action.Said(),
		Queue: action.Queue, Limit: action.Limit, Effect: action.Effect, Timeout: action.Timeout, Call: action.Call, Op: action.Op, Facts: action.Facts}
	if action.Call != nil {
		kind, id := TaskOf(action.Call)
		for _, t := range have.Tasks {
			if t.Type == kind && t.ID == id {
				e.Before = append(e.Before, t.UPID.String())
			}
		}
	}
	if err := a.O.Journal.Append(e); err != nil {
		return false, err
	}
	act := a.O.Journal.Act(e.Act)
	act.Sent = true
	if action.Op != nil {
		a.doOp(ctx, act)
		return false, nil
	}
	upid, err := a.O.Client.Do(ctx, *action.Call)
	switch {
	case err == nil && upid.IsZero() && action.Call.Async():
		a.finish(ending{act: act, result: journal.ResultRefused, text: "PVE found the guest no longer on this node: nothing was backed up"})
	case err == nil && !upid.IsZero():
		return false, a.began(ctx, act, upid, "")
	case proxmox.IsOutcomeUnknown(err) || ctx.Err() != nil:
		a.loseSight(act, err)
		return false, nil
	case proxmox.IsNotDelivered(err):
		a.finish(ending{act: act, result: journal.ResultUnsent, text: err.Error(), err: err})
	case proxmox.IsUnauthorized(err): // who may not write may not read either
		a.finish(refusal(act, err))
	default:
		if ended := a.answered(ctx, act, err); !ended {
			return false, nil
		}
	}
	return true, nil
}

// began notes the task that carries an act out, and has it waited for.
func (a *Agent) began(ctx context.Context, act *journal.Operation, upid proxmox.UPID, text string) error {
	if err := a.O.Journal.Append(journal.Entry{Time: a.Clock(), Act: act.Act, Step: journal.StepTask, UPID: upid}); err != nil {
		return err
	}
	a.tell(act, "started", text)
	a.wait(ctx, act, time.Time{})
	return nil
}

// loseSight leaves it to a later pass to find out what became of an act.
func (a *Agent) loseSight(act *journal.Operation, err error) {
	act.Lost = time.Now()
	a.log.Warn("the answer was lost", zap.String("object", act.Object), zap.String("verb", act.Verb), zap.Error(err))
	a.tell(act, "waits", "its answer was lost; checking what became of it")
}

// refusal is how an act ends whose call PVE has refused.
func refusal(act *journal.Operation, err error) ending {
	switch {
	case proxmox.IsLocked(err):
		return ending{act: act, result: journal.ResultLocked, text: lockText(err), err: err}
	case proxmox.IsDigestConflict(err):
		return ending{act: act, result: journal.ResultLocked, text: "the configuration was changed in between; refreshed", err: err}
	}
	return ending{act: act, result: journal.ResultRefused, text: plainError(err), err: err}
}

// plainError is an error as people read it in a line.
func plainError(err error) string { return strings.TrimSpace(err.Error()) }

// doOp hands an act to the fence, outside of the write lock.
func (a *Agent) doOp(ctx context.Context, act *journal.Operation) {
	a.mu.Lock()
	a.waiting[act.Act] = true
	a.mu.Unlock()
	a.tell(act, "started", "via the root helper: "+act.Op.String())
	a.O.Go(func() {
		e := ending{act: act, result: journal.ResultOK}
		result, err := a.O.Runner.Do(ctx, *act.Op, func(line string) { a.tell(act, "running", line) })
		a.O.Client.Version(ctx) // the fence has no clock of the node's: an answer of the API brings it
		var refused *privileged.RefusedError
		switch {
		case err == nil && result.StillRunning != nil, err != nil && ctx.Err() != nil:
			a.forget(act, false) // the fence goes on; its query Running tells when it ends
			a.Nudge()
			return
		case err == nil:
			e.text = strings.Join(result.Notes, "; ")
		case errors.As(err, &refused) && refused.Busy: // somebody else acts on it
			e.result, e.text, e.err = journal.ResultLocked, plainError(err), err
		case errors.As(err, &refused):
			e.result, e.text, e.err = journal.ResultRefused, plainError(err), err
		default:
			e.result, e.text, e.err = journal.ResultFailed, plainError(err), err
		}
		a.finish(e)
	})
}
