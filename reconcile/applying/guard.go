package applying

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// guards are what the probes of guarded changes have shown to this process, by plan.Watch.Key.
func (t *tester) guards() map[string]journal.TestProbes {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := map[string]journal.TestProbes{}
	for key, w := range t.watched {
		if w.verdict.Verdict != "" {
			found[key], w.heard = w.verdict, true
		}
	}
	return found
}

// A watched is a guarded change whose probes are asked, or have been.
type watched struct {
	verdict journal.TestProbes
	heard   bool // by a pass
	stop    context.CancelFunc
}

// watch asks the probes of the guarded changes that a plan wants to prove themselves now, and of no others any more.
func (t *tester) watch(ctx context.Context, want *spec.Desired, p *plan.Plan) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, w := range t.watched {
		on := slices.ContainsFunc(p.Watches, func(x plan.Watch) bool { return x.Key == key })
		if !on && w.verdict.Verdict == "" { // it changes again, or is paused
			w.stop()
			delete(t.watched, key)
		}
	}
	for _, x := range p.Watches {
		if t.watched[x.Key] != nil {
			continue
		}
		own, stop := context.WithCancel(ctx)
		w := &watched{stop: stop}
		t.watched[x.Key] = w
		g := want.Guest(x.Guest.Name)
		t.O.Go(func() {
			defer stop()
			verdict := t.hold(own, g)
			t.mu.Lock()
			if own.Err() == nil {
				w.verdict = verdict
			} else if t.watched[x.Key] == w {
				delete(t.watched, x.Key)
			}
			t.mu.Unlock()
			t.flights.Nudge()
		})
	}
}

// hold asks the probes of a guest until all have held for as long as they must, or the time for that is over. What
// cannot be asked has not held.
func (t *tester) hold(ctx context.Context, g *spec.Guest) journal.TestProbes {
	probes, last, since := probesOf(&spec.Test{Probes: g.Guard.Probes}, time.Time{}), "they have not passed for long enough", time.Time{}
	for end := time.Now().Add(g.Guard.Within); ; {
		asked := time.Now()
		bad, closed := t.bad(ctx, g.VMID, probes)
		switch {
		case closed: // each minute more would be lost with the rollback
			return verdict(state.VerdictFails, bad)
		case bad != "":
			since, last = time.Time{}, bad
		case since.IsZero():
			since = asked
		}
		if !since.IsZero() && time.Since(since) >= g.Guard.Hold {
			return verdict(state.VerdictWorks, "")
		}
		pace := min(probePace, time.Until(end))
		if pace <= 0 {
			return verdict(state.VerdictFails, last)
		}
		select {
		case <-ctx.Done():
			return verdict(state.VerdictUnverified, last)
		case <-time.After(pace):
		}
	}
}

// bad says what of a guest's probes does not hold now, or cannot be asked; "" where all hold. closed: root lets
// nobody probe this guest, so that asking again is of no use.
func (t *tester) bad(ctx context.Context, vmid proxmox.VMID, probes []privileged.Probe) (why string, closed bool) {
	status, err := t.O.Client.GuestStatus(ctx, t.O.Node, vmid)
	switch {
	case err != nil:
		return "PVE does not say how it is: " + plainError(err), false
	case !status.Running():
		return "it does not run", false
	case t.O.Fence == nil:
		return "there is no root helper, so nothing can be probed", false
	}
	for _, probe := range probes {
		found, err := privileged.ProbeGuest(ctx, t.O.Fence, t.O.Node, int(vmid), probe)
		if err != nil {
			refused, ok := errors.AsType[*privileged.RefusedError](err)
			return fmt.Sprintf("%s cannot be asked: %s", probe, plainError(err)), ok && refused.Arg == "vmid"
		}
		if !found.Good {
			return found.Says, false
		}
	}
	return "", false
}

// keepGuards keeps which guarded changes were taken back, of the objects that a plan is about.
func keepGuards(stored *state.Stored, p *plan.Plan) {
	for _, ref := range p.Objects {
		delete(stored.Guards, ref.String())
	}
	for object, failure := range p.Guards {
		if stored.Guards == nil {
			stored.Guards = map[string]state.GuardFailure{}
		}
		stored.Guards[object] = failure
	}
	if len(stored.Guards) == 0 {
		stored.Guards = nil
	}
}
