package applying

import (
	"context"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// QuietAge is for how long marks of the host stand for a refresh. What they cannot show, such as an archive that was deleted with rm, is seen after it.
const QuietAge = time.Hour

// A rest is the time between two passes of an agent.
type rest struct {
	*Agent
	interval time.Duration
	load     func() *spec.Desired // what is in force now
	want     *spec.Desired        // what was, in the pass
	last     *passed
	marks    *privileged.Marks // of the host, from before the pass read it: what changed during the pass is a change too; nil: not known
}

// marksOf reads the marks of the host. There are none without a root helper, with one that does not know them, and on a host that has none.
func marksOf(ctx context.Context, t *tools) *privileged.Marks {
	if t.O.Fence == nil {
		return nil
	}
	m, err := privileged.Changes(ctx, t.O.Fence, t.O.Node)
	if err != nil {
		t.log.Debug("the root helper does not show whether something changed; every pass reads the node", zap.Error(err))
		return nil
	}
	return &m
}

// wait waits until a pass is due: at a nudge, at a time that the last one named, after QuietAge, and after each interval in which something changed on
// the host. As long as nothing did, it sends no request, and tells passed so.
func (r rest) wait(ctx context.Context, passed func(p *plan.Plan, wait time.Duration, err error)) error {
	read, quiet := time.Now(), r.marks != nil && r.interval < QuietAge && r.quiet()
	p := r.last.plan
	for {
		tick, due := r.tick()
		if quiet {
			tick = min(tick, max(QuietAge-time.Since(read), 0))
		}
		passed(p, tick, nil)
		nudged, err := r.flights.rest(ctx, tick)
		switch {
		case err != nil, nudged, !quiet, time.Since(read) >= QuietAge, !due.IsZero() && !r.Clock().Before(due):
			return err
		}
		if now := marksOf(ctx, r.tools); now == nil || *now != *r.marks {
			return nil
		}
		if r.load().Hash != r.want.Hash { // an edit of which nothing told
			return nil
		}
		unchanged := *r.last.plan
		unchanged.Header.Unchanged = r.Clock().In(p.Header.Refreshed.Location())
		p = &unchanged
	}
}

// tick is how long a watching agent waits at most after a pass, and due when something has to be done that the pass knew of; zero: never.
func (r rest) tick() (tick time.Duration, due time.Time) {
	tick = r.interval + jitter(r.interval/10+1) // so that a cluster's agents do not look together
	if r.last.poll || slices.ContainsFunc(r.last.plan.Blocked, awaited) || awaitsDisk(r.O.Store) {
		tick = min(tick, WaitedFor)
	}
	for _, at := range append(r.failures.retries(), r.last.plan.Due, r.last.soon, r.released()) {
		if !at.IsZero() {
			tick = min(tick, max(at.Sub(r.Clock()), time.Second))
			if due.IsZero() || at.Before(due) {
				due = at
			}
		}
	}
	return tick, due
}

// released is when the next hold ends; zero: none does.
func (r rest) released() (next time.Time) {
	stored, err := r.O.Store.Load()
	if err != nil {
		return next
	}
	for _, h := range stored.Holds {
		if h.Until.After(r.Clock()) && (next.IsZero() || h.Until.Before(next)) {
			next = h.Until
		}
	}
	return next
}

// quiet reports whether all that can still happen after a pass shows in the marks of the host or has a time: nothing is on its way, is waited for, or
// could not be read.
func (r rest) quiet() bool {
	p := r.last
	if p.partial || p.sent > 0 || p.poll || passing(p) || len(p.plan.Running)+len(p.plan.Watches)+len(r.stale)+len(r.failures.cooling)+len(r.O.Journal.Open()) > 0 ||
		r.flights.any() || r.tester.asking() || r.prover.open() || r.earlier == nil {
		return false
	}
	return readWhole(r.earlier.Have) && !awaitsStorage(r.want, r.earlier.Have)
}

// readWhole reports whether a refresh found and could read all that it asked for. A disk that does not answer may do so without any mark of it, and a
// folder that is missing may be made.
func readWhole(have *node.Observed) bool {
	if have.Host == nil || len(have.Host.Barred) > 0 || slices.Contains(slices.Collect(maps.Values(have.Host.Folders)), false) || slices.ContainsFunc(have.Host.Disks, func(d privileged.Disk) bool { return d.Silent }) ||
		slices.ContainsFunc(have.Host.Mounts, func(m privileged.Mount) bool { return m.Silent }) {
		return false
	}
	for _, guest := range have.Guests {
		if guest.Err != nil {
			return false
		}
	}
	for _, storage := range have.Storages {
		if storage.Err != nil {
			return false
		}
	}
	return true
}

// awaitsStorage reports whether backups go to a storage that is not active, and is on no declared disk: nothing on this host shows when a server is back.
func awaitsStorage(want *spec.Desired, have *node.Observed) bool {
	for _, b := range want.Backups {
		s := have.Storages[b.Storage]
		if under, _ := have.MountOf(want, b.Storage); under == nil && (s == nil || s.Status == nil || !bool(s.Status.Active)) {
			return true
		}
	}
	return false
}
