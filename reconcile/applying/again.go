package applying

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/spec"
)

// passOn is the pass after the end of operations of ours that ended well, while nothing else has happened: it reads and
// plans again only what they have touched, and what is sent next. Whatever is sent was read and planned in the same pass.
// It returns no pass where that is not enough: then all is read and planned. The pass that says that a node is converged is
// never one of these.
func passOn(ctx context.Context, a *Agent, reader *refresh.Reader, before *planning.Planned, finished []ending, tell func(*node.Observed)) (*passed, *node.Observed, error) {
	l := refresh.PartReader{Reader: reader}
	if !goesOn(a, l.Earlier, before, finished) {
		return nil, nil, nil
	}
	age := l.Earlier.Age
	l.Earlier.Age = partAge(a)
	defer func() { l.Earlier.Age = age }()
	var ended []*journal.Operation
	for _, f := range finished {
		ended = append(ended, f.operation)
	}
	fresh := touched(before, ended)
	underWay := touched(before, a.O.Journal.Open()) // is told anew, and read when it has ended
	happening := maps.Clone(underWay)
	maps.Copy(happening, fresh)
	part := before.Part(happening)
	for ref := range part { // of one that is not there nothing is known but what is read now
		if g := l.Earlier.Want.Guest(ref.Name); g != nil && g.Ref == ref && l.Earlier.Last.Guests[g.VMID] == nil && !underWay[ref] {
			fresh[ref] = true
		}
	}
	next := nextInTurn(before.Plan, finished, part)
	widen(l, before, next, part, fresh)
	if _, err := l.Renew(ctx, next); err != nil {
		return nil, nil, err
	}
	for {
		ok, err := l.Read(ctx, fresh)
		if err != nil || !ok {
			return nil, nil, err
		}
		have := l.Have
		tell(have)
		p := considerPart(a, before, l.Reader, part)
		if p == nil {
			return nil, nil, nil
		}
		wider := widen(l, before, p.ready, part, fresh)
		renewed, err := l.Renew(ctx, p.ready)
		if err != nil {
			return nil, nil, err
		}
		if !wider && !renewed {
			return p, have, nil
		}
	}
}

// widen adds to a part what actions rest on that are to be sent: what of it was not read, and they themselves.
func widen(l refresh.PartReader, before *planning.Planned, actions []*plan.Action, part, fresh map[spec.Ref]bool) (wider bool) {
	more := map[spec.Ref]bool{}
	for _, action := range actions {
		for _, ref := range l.NotRead(action, fresh) {
			fresh[ref], more[ref] = true, true
		}
		if len(more) > 0 || !part[action.Object] {
			more[action.Object] = true
		}
	}
	if len(more) > 0 {
		maps.Copy(part, before.Part(more))
	}
	return len(more) > 0
}

// nextInTurn are the actions that will probably be sent now that operations have ended: of those that waited for the place of one, the
// first. What they rest on is read at once, so most passes read and plan once.
func nextInTurn(p *plan.Plan, finished []ending, part map[spec.Ref]bool) (next []*plan.Action) {
	for _, f := range finished {
		limit := f.operation.Limit
		for i := range p.Actions {
			if a := &p.Actions[i]; limit != "" && a.Limit == limit && !part[a.Object] {
				next = append(next, a)
				break
			}
		}
	}
	return next
}

// partAge is how long after everything was read a pass may go on from there.
func partAge(a *Agent) time.Duration {
	if a.O.Watching {
		return refresh.PartAge
	}
	return refresh.OnceAge
}

// goesOn reports whether a pass can go on from the one before.
func goesOn(a *Agent, e *refresh.Earlier, before *planning.Planned, finished []ending) bool {
	source := a.O.Source
	if e == nil || time.Since(e.Full) > partAge(a) || before == nil || e.Lists || len(finished) == 0 || a.O.Saved != nil || len(source.Only) > 0 || len(source.AtOnce.Names) > 0 ||
		a.tester.asking() || a.tester.news() || a.prover.reads() || len(a.failures.cooling) > 0 || e.Last.Host == nil && a.O.Fence != nil {
		return false
	}
	onGuest := func(operation *journal.Operation) bool {
		ref, err := spec.ParseRef(operation.Object)
		return err == nil && ref.Kind != spec.KindGolden && (strings.HasPrefix(operation.Queue, "lxc/") || strings.HasPrefix(operation.Queue, "archive/")) && operation.Call != nil && !operation.Call.Destroys() && !ofTest(operation)
	}
	for _, f := range finished {
		if f.result != journal.ResultOK || !onGuest(f.operation) {
			return false
		}
	}
	waited := a.flights.waitedFor()
	return !slices.ContainsFunc(a.O.Journal.Open(), func(operation *journal.Operation) bool {
		return !waited[operation.Action] || !onGuest(operation)
	})
}

// touched are the objects that these operations of ours are about, and those of their guests.
func touched(before *planning.Planned, operations []*journal.Operation) map[spec.Ref]bool {
	refs := map[spec.Ref]bool{}
	for _, operation := range operations {
		if ref, err := spec.ParseRef(operation.Object); err == nil {
			refs[ref] = true
		}
		if ref, ok := before.WorksOn(operation.Queue); ok {
			refs[ref] = true
		}
	}
	return refs
}

// considerPart plans a part, and chooses what of the plan can be sent; nil where the part cannot be planned alone.
func considerPart(a *Agent, before *planning.Planned, l *refresh.Reader, part map[spec.Ref]bool) *passed {
	have := l.Have
	a.prover.recall(have.Memory.Archives)
	have.Memory.Cooling, have.Memory.Stale = a.failures.cooling, a.stale
	have.Memory.Fights = a.calm.fights(a.O.Journal, a.O.Watching, have.Now)
	planned, ok := before.Again(l.Earlier.Want, have, part)
	if !ok {
		return nil
	}
	p := a.choose(l.Earlier.Want, have, planned.Plan)
	p.planned, p.part = planned, true
	return p
}
