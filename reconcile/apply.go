package reconcile

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
	"github.com/felhom/felhom-agent/spec"
)

// passed is what a pass has found and done.
type passed struct {
	plan    *Plan
	partial bool      // some of the look was taken from an earlier one
	ready   []*Action // of the plan, to be sent now
	sent    int       // acts that were sent, of which
	atOnce  int       // were done at once
	busy    []string  // why actions of the plan were not sent
	poll    bool      // one of them waits for what nothing tells of, so it has to be looked at
	soon    time.Time // when a lock is tried again, by the node's clock
}

// pass looks, plans and sends what is ready, under the write lock.
func (a *Agent) pass(ctx context.Context, want *spec.Desired) (*passed, error) {
	release, err := a.o.Lock.take(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := a.readJournal(); err != nil {
		return nil, err
	}
	if want.Hash != a.hash { // an edit: what failed may be tried at once
		a.hash = want.Hash
		clear(a.cooling)
		clear(a.tries)
	}
	sight := a.o.Sight
	sight.View = a.o.Client.Look()
	if sight.Stored, err = a.o.Store.Load(); err != nil {
		return nil, err
	}
	finished, err := a.judge()
	if err != nil {
		for _, e := range finished {
			a.report(e, nil)
		}
		return nil, err
	}
	l := sight.looker(want, a.o.Journal, &a.facts)
	l.earlier = a.stillKnown(want, finished)
	a.earlier = nil
	have, err := l.look(ctx)
	if have != nil {
		a.zone.Store(have.Now.Location())
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
		renewed, err := l.renew(ctx, p.ready)
		if err != nil {
			return nil, err
		}
		if !(l.earlier != nil && sight.View.Forget(basedOn(p.ready))) && !renewed {
			break
		}
		if have, err = l.look(ctx); err != nil {
			return nil, err
		}
		if p, err = a.consider(ctx, want, have); err != nil {
			return nil, err
		}
	}
	p.partial = l.earlier != nil
	a.remember(want, l)
	a.stale = staleNow(have)
	if err := a.keep(want, p.plan, have); err != nil {
		return nil, err
	}
	if a.o.Planned != nil && !a.planned {
		a.planned = true
		a.o.Planned(p.plan)
	}
	return p, a.send(ctx, p, have)
}

// consider plans what a look asks for, and chooses what of it can be sent.
func (a *Agent) consider(ctx context.Context, want *spec.Desired, have *Observed) (*passed, error) {
	if err := a.seeEffects(have); err != nil {
		return nil, err
	}
	if err := a.adopt(ctx, have); err != nil {
		return nil, err
	}
	a.prove(ctx, want, have)
	now := have.Now
	for id, f := range a.cooling {
		if f.basis == "" { // it failed when the node could not be looked at
			f.basis = basis(f.lane, have)
			a.cooling[id] = f
		}
	}
	maps.DeleteFunc(a.cooling, func(_ string, f Failure) bool {
		over := !f.Until.IsZero() && !soonAfter(now, f.Until, coolMost) && (a.o.Watching || f.Undelivered)
		changed := f.basis != "" && f.basis != basis(f.lane, have)
		return over || changed && (f.Until.IsZero() || strings.HasPrefix(f.lane, "mount/")) // who plugs a disk in does not wait
	})
	have.Memory.Cooling = a.cooling
	have.Memory.Stale = a.stale
	have.Memory.Repeats = a.repeats(now)
	known := a.o.Journal.memory(now) // adoption may have found and settled some
	have.Memory.Making, have.Memory.Tasks = known.Making, known.Tasks
	a.mu.Lock()
	for volid, state := range a.proven {
		if _, known := have.Memory.Archives[volid]; !known {
			have.Memory.Archives[volid] = state
		}
	}
	a.mu.Unlock()
	return a.choose(want, have, planOf(want, have)), nil
}

// keep stores what this look has seen and a later one could not look up: guests that
// somebody destroyed (task lists are short), the last whole backups (disks go away),
// since when a reported difference is there. Holds that ended are dropped.
func (a *Agent) keep(want *spec.Desired, plan *Plan, have *Observed) error {
	var left []Event
	err := a.o.Store.Change(func(stored *Stored) {
		left = leave(stored, want, have)
		for _, seen := range plan.Seen {
			if !slices.ContainsFunc(stored.Holds, func(h Hold) bool { return h.Name == seen.Name && h.Kind == seen.Kind }) {
				stored.Holds = append(stored.Holds, seen)
			}
		}
		stored.Holds = slices.DeleteFunc(stored.Holds, func(h Hold) bool {
			if !h.Until.IsZero() && !have.Now.Before(h.Until) {
				return true
			}
			return h.Kind == HoldDestroyed && slices.ContainsFunc(guestsOf(want), func(g *spec.Guest) bool {
				return called(&g.Object, h.Name) && (have.Named[g.Ref] || have.Guests[g.VMID] != nil)
			})
		})
		keepEjected(stored, have)
		for guest, last := range plan.Backups {
			if stored.Backups == nil {
				stored.Backups = map[string]LastBackup{}
			}
			if old := stored.Backups[guest]; !last.Time.Before(old.Time) {
				stored.Backups[guest] = last
			}
		}
		since := map[string]time.Time{}
		for _, n := range plan.Notes {
			if !n.Drift {
				continue
			}
			key := driftKey(n)
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
		a.o.Events(event)
	}
	return nil
}

// leave names, once, the objects that have left the YAML. Nothing is ever destroyed
// because a line went missing.
func leave(stored *Stored, want *spec.Desired, have *Observed) []Event {
	known := map[string]proxmox.VMID{}
	renamed := map[string]bool{}
	for _, ref := range want.Refs() {
		known[ref.String()] = 0
		renamed[spec.Ref{Kind: ref.Kind, Name: want.Object(ref).Was}.String()] = true
	}
	for name, golden := range want.Golden {
		known[spec.Ref{Kind: spec.KindGolden, Name: name}.String()] = golden.VMID
	}
	for _, g := range guestsOf(want) {
		known[g.Ref.String()] = g.VMID
	}
	declared := declaredVMIDs(want)
	var left []Event
	for _, name := range slices.Sorted(maps.Keys(stored.Known)) {
		if _, still := known[name]; still || renamed[name] {
			continue
		}
		ref, err := spec.ParseRef(name)
		if err != nil {
			continue
		}
		text := "no longer in the YAML, so no longer managed; what it has made stays"
		switch vmid := stored.Known[name]; {
		case vmid == 0 || have.Guests[vmid] == nil:
		case declared[vmid]:
			text = fmt.Sprintf("no longer in the YAML under this name; %d is declared under another", vmid)
		default:
			text = fmt.Sprintf("no longer in the YAML, so no longer managed; %d stays as it is. For those who want it gone: pct destroy %d", vmid, vmid)
		}
		left = append(left, Event{Time: have.Now, Object: ref, Verb: "leave", State: "note", Text: text})
	}
	stored.Known = known
	return left
}

// staleNow lists the guests with a lock that no running task explains.
func staleNow(have *Observed) map[proxmox.VMID]bool {
	stale := map[proxmox.VMID]bool{}
	for vmid, state := range have.Guests {
		if state.Lock != "" && have.holder(vmid) == nil {
			stale[vmid] = true
		}
	}
	return stale
}

// choose finds what of a plan can be sent now: one act per lane, within the budgets.
func (a *Agent) choose(want *spec.Desired, have *Observed, plan *Plan) *passed {
	p := &passed{plan: plan}
	soon := func(at time.Time) {
		if !at.IsZero() && (p.soon.IsZero() || at.Before(p.soon)) {
			p.soon = at
		}
	}
	o := a.occupied(want, have, plan)
	for i := range plan.Actions {
		action := &plan.Actions[i]
		why, poll := o.keeps(action)
		if why != "" {
			p.poll = p.poll || poll
			soon(o.frees[action.Budget])
		} else if at := a.lockedOut[action.Lane]; soonAfter(have.Now, at, lockPause) {
			why = "a lock; tried again soon"
			soon(at)
		}
		if why != "" {
			p.busy = append(p.busy, fmt.Sprintf("%s: %s", action.Object, why))
			continue
		}
		p.ready = append(p.ready, action)
		o.take(action)
	}
	return p
}

// soonAfter reports whether a time is still to come, and comes within most. One that is
// further away was told by a clock that has been set back since.
func soonAfter(now, at time.Time, most time.Duration) bool {
	return at.After(now) && at.Sub(now) <= most
}

// send sends what was chosen.
func (a *Agent) send(ctx context.Context, p *passed, have *Observed) error {
	for _, action := range p.ready {
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
func (a *Agent) begin(ctx context.Context, action *Action, have *Observed) (atOnce bool, err error) {
	e := Entry{Time: a.clock(), Act: newAct(), Step: stepIntent, ID: action.ID, Object: action.Object.String(), Verb: action.Verb, Text: action.said(),
		Lane: action.Lane, Budget: action.Budget, Effect: action.Effect, Timeout: action.Timeout, Call: action.Call, Op: action.Op, Facts: action.facts}
	if action.Call != nil {
		kind, id := taskOf(action.Call)
		for _, t := range have.Tasks {
			if t.Type == kind && t.ID == id {
				e.Before = append(e.Before, t.UPID.String())
			}
		}
	}
	if deliberate.skipIntent && action.Call != nil {
		upid, err := a.o.Client.Do(ctx, *action.Call)
		return upid.IsZero(), err
	}
	if err := a.o.Journal.append(e); err != nil {
		return false, err
	}
	act := a.o.Journal.act(e.Act)
	act.sent = true
	if action.Op != nil {
		a.doOp(ctx, act)
		return false, nil
	}
	upid, err := a.o.Client.Do(ctx, *action.Call)
	switch {
	case err == nil && upid.IsZero() && action.Call.Async():
		a.finish(ending{act: act, result: resultRefused, text: "PVE found the guest no longer on this node: nothing was backed up"})
	case err == nil && upid.IsZero():
		a.finish(ending{act: act, result: resultOK})
		return true, nil
	case err == nil:
		if err := a.o.Journal.append(Entry{Time: a.clock(), Act: act.Act, Step: stepTask, UPID: upid}); err != nil {
			return false, err
		}
		a.tell(act, "started", "")
		a.wait(ctx, act)
		return false, nil
	case proxmox.IsOutcomeUnknown(err) || ctx.Err() != nil:
		act.lost = time.Now()
		a.log.Warn("the answer was lost", zap.String("object", act.Object), zap.String("verb", act.Verb), zap.Error(err))
		a.tell(act, "waits", "its answer was lost; looking what became of it")
		return false, nil
	case proxmox.IsAlreadyRunning(err), proxmox.IsNotRunning(err): // what was wanted is so
		a.finish(ending{act: act, result: resultOK, text: "somebody else was faster: " + plainError(err)})
		return true, nil
	case proxmox.IsNotDelivered(err):
		a.finish(ending{act: act, result: resultUnsent, text: err.Error(), err: err})
	case proxmox.IsLocked(err), proxmox.IsDigestConflict(err):
		text := "the config was changed by somebody else meanwhile; looked at anew"
		if proxmox.IsLocked(err) {
			text = lockText(err)
		}
		a.finish(ending{act: act, result: resultLocked, text: text, err: err})
	default:
		a.finish(ending{act: act, result: resultRefused, text: plainError(err), err: err})
		if deliberate.giveUpTogether {
			return true, err
		}
	}
	return true, nil
}

// plainError is an error as people read it in a line.
func plainError(err error) string { return strings.TrimSpace(err.Error()) }

// doOp hands an act to the fence, outside of the write lock.
func (a *Agent) doOp(ctx context.Context, act *act) {
	a.mu.Lock()
	a.waiting[act.Act] = true
	a.mu.Unlock()
	a.tell(act, "started", "through the fence: "+act.Op.String())
	a.o.Go(func() {
		e := ending{act: act, result: resultOK}
		result, err := a.o.Runner.Do(ctx, *act.Op, func(line string) { a.tell(act, "running", line) })
		a.o.Client.Version(ctx) // the fence has no clock of the node's: an answer of the API brings it
		var refused *privileged.RefusedError
		switch {
		case err == nil && result.StillRunning != nil, err != nil && ctx.Err() != nil:
			a.forget(act, false) // the fence goes on; its query Running tells when it ends
			a.Nudge()
			return
		case err == nil:
			e.text = strings.Join(result.Notes, "; ")
		case errors.As(err, &refused) && refused.Busy: // somebody else acts on it
			e.result, e.text, e.err = resultLocked, plainError(err), err
		case errors.As(err, &refused):
			e.result, e.text, e.err = resultRefused, plainError(err), err
		default:
			e.result, e.text, e.err = resultFailed, plainError(err), err
		}
		a.finish(e)
	})
}
