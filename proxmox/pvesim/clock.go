package pvesim

import (
	"context"
	"time"
)

// An event is something that happens later by itself: a request whose effect is
// delayed, a guest that runs out of memory.
type event struct {
	At     time.Time         `yaml:"at"`
	Kind   string            `yaml:"kind"`
	VMID   int               `yaml:"vmid,omitempty"`
	As     string            `yaml:"as,omitempty"`
	Method string            `yaml:"method,omitempty"`
	Path   string            `yaml:"path,omitempty"`
	Params map[string]string `yaml:"params,omitempty"`
	Key    string            `yaml:"key,omitempty"`
}

// rate is how many simulated seconds pass in a real one.
func (s *Sim) rate() float64 {
	if s.hosts > 0 {
		return s.speed
	}
	for _, t := range s.running {
		if !t.Hung {
			return s.speed
		}
	}
	return 1
}

// settle moves the simulated clock to where it is now by the real one, and lets
// everything happen that was due, in order and with its own time.
func (s *Sim) settle() {
	real := time.Now()
	for {
		elapsed := real.Sub(s.real)
		if elapsed < 0 { // a new synctest bubble, or a clock set back
			s.real = real
			elapsed = 0
		}
		rate := s.rate()
		at, ok := s.nextDue()
		if !ok || at.Sub(s.now) > scale(elapsed, rate) {
			s.now = s.now.Add(scale(elapsed, rate))
			s.real = real
			return
		}
		if d := at.Sub(s.now); d > 0 {
			s.now = at
			s.real = s.real.Add(scale(d, 1/rate))
		}
		s.happen(at)
	}
}

// advance moves the clock by simulated time, without the real one.
func (s *Sim) advance(d time.Duration) {
	end := s.now.Add(d)
	for {
		at, ok := s.nextDue()
		if !ok || at.After(end) {
			s.now = end
			return
		}
		if at.After(s.now) {
			s.now = at
		}
		s.happen(at)
	}
}

func scale(d time.Duration, by float64) time.Duration {
	if by == 1 {
		return d
	}
	return time.Duration(float64(d) * by)
}

// nextDue is when the next step of a task, or the next event, is due.
func (s *Sim) nextDue() (time.Time, bool) {
	var at time.Time
	found := false
	for _, t := range s.running {
		if !t.Hung && (!found || t.Due.Before(at)) {
			at, found = t.Due, true
		}
	}
	for _, e := range s.w.Events {
		if s.stuck(e) {
			continue
		}
		if !found || e.At.Before(at) {
			at, found = e.At, true
		}
	}
	return at, found
}

// happen runs the one step or event that is due at a time.
func (s *Sim) happen(at time.Time) {
	s.settling = true
	defer func() { s.settling = false }()
	for i, e := range s.w.Events {
		if !e.At.After(at) && !s.stuck(e) {
			s.w.Events = append(s.w.Events[:i:i], s.w.Events[i+1:]...)
			s.fire(e)
			return
		}
	}
	for _, t := range s.running {
		if !t.Hung && !t.Due.After(at) {
			s.step(t)
			return
		}
	}
}

// stuck is a request that waits for a daemon to run again.
func (s *Sim) stuck(e *event) bool { return e.Kind == "request" && s.w.Nodes[0].Outage != "" }

func (s *Sim) fire(e *event) {
	switch e.Kind {
	case "request":
		who := s.acl.subject(e.As)
		if who != nil {
			_ = s.dispatch(context.Background(), &call{s: s, who: who, method: e.Method, path: e.Path, params: e.Params, late: true})
		}
	case "oom":
		if g := s.guests[e.VMID]; g != nil && s.starves(g) {
			s.halt(g)
		}
	case "unlock":
		s.release(e.Key, "held by the host")
	}
}

// sleepUntil lets the mutex go until the simulated clock reaches a time or until
// free says so. Effects go on meanwhile.
func (s *Sim) sleepUntil(ctx context.Context, until time.Time, free func() bool) error {
	if s.settling { // a late request: nobody waits for it
		return nil
	}
	for {
		s.settle()
		if free != nil && free() {
			return nil
		}
		if !s.now.Before(until) {
			return nil
		}
		next := until
		if at, ok := s.nextDue(); ok && at.Before(next) {
			next = at
		}
		d := scale(next.Sub(s.now), 1/s.rate())
		if d < time.Microsecond {
			d = time.Microsecond
		}
		s.mu.Unlock()
		err := sleep(ctx, d)
		s.mu.Lock()
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
