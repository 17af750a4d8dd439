package laws

import (
	"context"
	"sync"
	"time"

	"github.com/felhom/felhom-agent/reconcile"
)

// round is one life of the agent among faults and people.
func (s *scenario) round() {
	s.injectFaults()
	agents := 1
	if s.profile.second && s.r.IntN(2) == 0 {
		agents = 2
	}
	i := s.live(agents)
	s.endsEarly(i)
	service := time.Duration(0)
	if s.profile.service && s.r.IntN(2) == 0 {
		service = pick(s.r, 3*time.Minute, 20*time.Minute, 70*time.Minute)
		if s.r.IntN(2) == 0 {
			i.edit = 1 + s.r.IntN(150)
		}
	}
	people := s.schedule()
	s.quiet = s.profile.alone()
	var work, hands sync.WaitGroup
	for n := range agents {
		after := time.Duration(n) * time.Duration(s.r.Int64N(int64(time.Minute)))
		work.Go(func() {
			time.Sleep(after)
			if service > 0 && n == 0 {
				ctx, stop := context.WithTimeout(i.ctx, service)
				defer stop()
				i.watch(ctx, n, 5*time.Minute, func(*reconcile.Plan) {})
			} else if _, err := i.once(n); err != nil && !i.killed() {
				s.tell("the run ended with: %v", err)
			}
		})
	}
	if s.profile.elsewhere && s.r.IntN(3) > 0 {
		after := time.Duration(s.r.Int64N(int64(2 * time.Minute)))
		work.Go(func() {
			time.Sleep(after)
			s.tell("an agent starts on another machine")
			other := s.liveAt(s.there, 1)
			if _, err := other.once(0); err != nil && !other.killed() {
				s.tell("the run elsewhere ended with: %v", err)
			}
			other.end()
		})
	}
	hands.Go(func() { s.meanwhile(i, people) }) // the last: from here on it alone draws
	work.Wait()
	i.cancel()
	hands.Wait()
	i.end()
	s.sim.SetOutage("pve1", "")
	s.betweenRounds()
}

// endsEarly draws when the agent is killed.
func (s *scenario) endsEarly(i *incarnation) {
	if !s.profile.kills || s.r.IntN(3) == 0 {
		return
	}
	i.power = s.r.IntN(4) == 0
	switch s.r.IntN(5) {
	case 0, 1:
		i.lines = 1 + s.r.IntN(25)
	case 2, 3:
		i.requests, i.before = 1+s.r.IntN(120), s.r.IntN(2) == 0
	default:
		i.ops, i.into = 1+s.r.IntN(3), time.Duration(s.r.Int64N(int64(16*time.Second)))
	}
}

// betweenRounds edits the YAML and lets time pass.
func (s *scenario) betweenRounds() {
	if s.profile.edits && s.r.IntN(3) > 0 || s.profile.rollbacks {
		kind := s.r.IntN(14)
		switch {
		case s.profile.rollbacks && s.r.IntN(3) > 0:
			kind = 11
		case s.profile.restarts && s.r.IntN(3) > 0:
			for range 2 {
				s.house.edit(14, s.r, s.sim.Now(), nil)
			}
		}
		s.edit(kind)
	}
	if s.profile.upgrades {
		s.tell("upgrade of %s", s.house.upgrade(s.r, s.sim.Now()))
		s.load()
	}
	if s.profile.deletes && s.r.IntN(3) > 0 {
		s.doom()
	}
	if s.profile.odd > 0 && s.r.IntN(4) == 0 {
		s.tell("edit: %s", s.house.rename(s.house.guests[s.r.IntN(len(s.house.guests))]))
		s.load()
	}
	if s.profile.clocks && s.r.IntN(2) == 0 {
		s.stepClock()
	}
	pauses := []time.Duration{time.Second, 20 * time.Second, 3 * time.Minute}
	if s.profile.waits {
		pauses = append(pauses, 7*time.Hour, 26*time.Hour, 26*time.Hour)
	}
	s.sim.Advance(pick(s.r, pauses...))
}

func (s *scenario) edit(kind int) {
	s.tell("edit of %s", s.house.edit(kind, s.r, s.sim.Now(), s.snapshotNames()))
	s.load()
}

// meanwhile lets people do what they do while the agent works. One who edits the YAML
// does so between two requests.
func (s *scenario) meanwhile(i *incarnation, people []lawDeed) {
	next := time.NewTimer(people[0].after)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			people[0].do()
			if people = people[1:]; len(people) > 0 {
				next.Reset(people[0].after)
			}
		case done := <-i.edits:
			if s.profile.deletes && s.r.IntN(2) == 0 {
				s.doom()
			} else {
				s.edit(s.r.IntN(14))
			}
			for _, agent := range i.agents {
				agent.Nudge()
			}
			close(done)
		case <-i.ctx.Done():
			return
		}
	}
}
