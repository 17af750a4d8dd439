package cluster

import (
	"context"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// rate is how many simulated seconds pass in a real one.
func (cl *Cluster) rate() float64 {
	if cl.AtWork > 0 {
		return cl.Speed
	}
	for _, t := range cl.Running {
		if !t.Hung {
			return cl.Speed
		}
	}
	return 1
}

// Settle moves the simulated clock to where it is now by the real one, and lets
// everything happen that was due, in order and with its own time.
func (cl *Cluster) Settle() {
	real := time.Now()
	for {
		elapsed := real.Sub(cl.real)
		if elapsed < 0 { // a new synctest bubble, or a clock set back
			cl.real = real
			elapsed = 0
		}
		rate := cl.rate()
		at, ok := cl.nextDue()
		if !ok || at.Sub(cl.Now) > scale(elapsed, rate) {
			cl.Now = cl.Now.Add(scale(elapsed, rate))
			cl.real = real
			return
		}
		if d := at.Sub(cl.Now); d > 0 {
			cl.Now = at
			cl.real = cl.real.Add(scale(d, 1/rate))
		}
		cl.happen(at)
	}
}

// Advance moves the clock by simulated time, without the real one.
func (cl *Cluster) Advance(d time.Duration) {
	end := cl.Now.Add(d)
	for {
		at, ok := cl.nextDue()
		if !ok || at.After(end) {
			cl.Now = end
			return
		}
		if at.After(cl.Now) {
			cl.Now = at
		}
		cl.happen(at)
	}
}

func scale(d time.Duration, by float64) time.Duration {
	if by == 1 {
		return d
	}
	return time.Duration(float64(d) * by)
}

// nextDue is when the next step of a task, or the next event, is due.
func (cl *Cluster) nextDue() (time.Time, bool) {
	var at time.Time
	found := false
	for _, t := range cl.Running {
		if !t.Hung && (!found || t.Due.Before(at)) {
			at, found = t.Due, true
		}
	}
	for _, e := range cl.World.Events {
		if stuck(cl, e) {
			continue
		}
		if !found || e.At.Before(at) {
			at, found = e.At, true
		}
	}
	return at, found
}

// happen runs the one step or event that is due at a time.
func (cl *Cluster) happen(at time.Time) {
	cl.settling = true
	defer func() { cl.settling = false }()
	for i, e := range cl.World.Events {
		if !e.At.After(at) && !stuck(cl, e) {
			cl.World.Events = append(cl.World.Events[:i:i], cl.World.Events[i+1:]...)
			fire(cl, e)
			return
		}
	}
	for _, t := range cl.Running {
		if !t.Hung && !t.Due.After(at) {
			runStep(cl, t)
			return
		}
	}
}

// stuck is a request that waits for a daemon to run again.
func stuck(cl *Cluster, e *world.Event) bool {
	return e.Kind == "request" && cl.World.Nodes[0].Outage != ""
}

// fire lets an event happen.
func fire(cl *Cluster, e *world.Event) {
	switch e.Kind {
	case "request":
		cl.duties.Request(cl, e)
	case "oom":
		if g := cl.Guests[e.VMID]; g != nil {
			cl.duties.Starve(cl, g)
		}
	case "unlock":
		cl.release(e.Key, "held by the host")
	}
}

// SleepUntil lets the mutex go until the simulated clock reaches a time or until
// free says so. Effects go on meanwhile.
func (cl *Cluster) SleepUntil(ctx context.Context, until time.Time, free func() bool) error {
	if cl.settling { // a late request: nobody waits for it
		return nil
	}
	for {
		cl.Settle()
		if free != nil && free() {
			return nil
		}
		if !cl.Now.Before(until) {
			return nil
		}
		next := until
		if at, ok := cl.nextDue(); ok && at.Before(next) {
			next = at
		}
		d := scale(next.Sub(cl.Now), 1/cl.rate())
		if d < time.Microsecond {
			d = time.Microsecond
		}
		var err error
		cl.Away(func() { err = sleep(ctx, d) })
		if err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if ctx == nil || ctx.Done() == nil {
		time.Sleep(d)
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
