package applying

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// WaitedFor is how often what is waited for is looked at.
const WaitedFor = 15 * time.Second

// Once converges a node: it makes passes until nothing is ready to be sent and
// nothing that it sent still runs.
func (a *Agent) Once(ctx context.Context, want *spec.Desired) (*Report, error) {
	report := &Report{}
	a.failures.events, a.Planned, a.reviewed, a.earlier = nil, false, false, nil
	clear(a.failures.lockedSince)
	var waitingSince time.Time
	broken := 0
	for {
		a.flights.unnudge()
		p, err := a.pass(ctx, want)
		if err != nil {
			if ctx.Err() != nil {
				return report, ctx.Err()
			}
			broken++
			if !temporary(err) || report.Passes == 0 && nobodyThere(err) || broken > brokenMost && !a.flights.any() {
				return report, err
			}
			a.log.Warn("cannot refresh; trying again", zap.Error(err))
			if err := a.flights.pause(ctx, time.Duration(min(broken, brokenMost))*2*time.Second+jitter(time.Second)); err != nil {
				return report, err
			}
			continue
		}
		broken = 0
		report.add(p, a.failures.events, a.flights.late())
		if a.O.Passed != nil {
			a.O.Passed(p.plan)
		}
		if p.atOnce > 0 || p.partial && p.sent == 0 && !a.running(p.plan) {
			continue // the next look reads it back; the last one is at everything
		}
		tick := WaitedFor
		switch {
		case a.running(p.plan) || p.sent > 0:
			waitingSince = time.Time{}
			if !p.poll {
				tick = time.Minute
			}
		case !passing(p):
			return report, a.trust(report)
		case len(report.Overdue) > 0: // it is our own task that is waited for, and no longer
			return report, nil
		default: // other people's work
			if waitingSince.IsZero() {
				waitingSince = time.Now()
			}
			left := a.O.Patience - time.Since(waitingSince)
			if left <= 0 {
				return report, nil
			}
			tick = min(tick, left)
		}
		if !p.soon.IsZero() {
			tick = min(tick, max(p.soon.Sub(a.Clock()), time.Second))
		}
		if err := a.flights.pause(ctx, tick); err != nil {
			return report, err
		}
	}
}

// brokenMost is how many passes in a row may fail before a run ends that waits for no
// task of its own.
const brokenMost = 5

// nobodyThere reports whether nothing answers at the node's address.
func nobodyThere(err error) bool {
	e, ok := errors.AsType[*proxmox.TransportError](err)
	return ok && !e.Sent
}

// trust notes that somebody has looked at what the agent does here: a whole run ended
// converged, or with what is blocked named.
func (a *Agent) trust(r *Report) error {
	if code := r.ExitCode(); code != 0 && code != 3 || len(a.O.Only) > 0 {
		return nil
	}
	return a.O.Store.Change(func(stored *state.Stored) {
		stored.Trusted, stored.TrustedOn = state.Major(r.Plan.Header.Version), a.O.Node
	})
}

// ReadJournal reads what other processes have written, under the write lock. Where the
// journal is new, it is forgotten that somebody has looked.
func (a *Agent) ReadJournal() error {
	j := a.O.Journal
	if j.Path == "" {
		return nil
	}
	if err := j.Refresh(); err != nil || !j.Fresh {
		return err
	}
	j.Fresh = false
	return a.O.Store.Change(func(stored *state.Stored) { stored.Trusted, stored.TrustedOn, stored.Deletions = "", "", nil })
}

// temporary reports whether an error of a look may pass by itself.
func temporary(err error) bool {
	return proxmox.IsTransient(err) || proxmox.IsNotDelivered(err) || proxmox.IsOutcomeUnknown(err)
}

// running reports whether something is in flight that this run has to wait for.
func (a *Agent) running(p *plan.Plan) bool {
	return a.prover.reads() || a.tester.asking() || a.flights.running(a.O.Journal.Open(), p)
}

// passing reports whether anything is left that may be ready later without anybody
// doing anything here.
func passing(p *passed) bool {
	return len(p.plan.Actions) > 0 || slices.ContainsFunc(p.plan.Blocked, func(h plan.Blocked) bool { return h.Passing })
}

// Watch keeps a node as the desired state says, until the context ends: a pass at
// every nudge (an edit, the end of a task), every interval against drift, and every
// 15 s while something is waited for. Where the marks of the host show that nothing has changed in an interval, it
// makes no pass and sends no request, for QuietAge at most. load returns the desired state in force, which
// after a broken edit is the last good one. passed is told what each pass found, or why it
// could not look, or that nothing has changed since (Header.Unchanged), and how long the agent then waits at most before it looks again.
func (a *Agent) Watch(ctx context.Context, interval time.Duration, load func() *spec.Desired, passed func(p *plan.Plan, wait time.Duration, err error)) error {
	a.O.Watching = true
	for {
		a.flights.unnudge()
		a.failures.events = nil // they are told as they happen
		r := rest{Agent: a, interval: interval, load: load, want: load(), marks: marksOf(ctx, a.tools)}
		p, err := a.pass(ctx, r.want)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case proxmox.IsUnauthorized(err):
			if a.awaitToken(ctx, err, passed) != nil {
				return nil
			}
			continue
		case err != nil:
			tick := min(interval, WaitedFor)
			passed(nil, tick, err)
			err = a.flights.pause(ctx, tick)
		case p.atOnce > 0, p.partial && p.sent == 0 && len(a.O.Journal.Open()) == 0 && !a.tester.asking():
			continue
		default:
			r.last = p
			err = r.wait(ctx, passed)
		}
		if err != nil {
			return nil
		}
	}
}

// TokenPause is how long a token that PVE does not accept is left alone: PVE delays each
// refusal by seconds, in a process that then serves nobody else.
const TokenPause = 5 * time.Minute

// awaitToken waits until PVE accepts the token again. It asks with one request at a time,
// whatever nudges meanwhile.
func (a *Agent) awaitToken(ctx context.Context, err error, passed func(*plan.Plan, time.Duration, error)) error {
	for proxmox.IsUnauthorized(err) {
		passed(nil, TokenPause, err)
		timer := time.NewTimer(TokenPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		_, err = a.O.Client.Version(ctx)
	}
	return ctx.Err()
}

// awaited reports whether what holds an object may pass by itself, or by somebody who
// plugs in a disk.
func awaited(h plan.Blocked) bool { return h.Passing || h.Object.Kind == spec.KindMount }
