package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

// A lawProfile says what may happen in a scenario.
type lawProfile struct {
	rounds    int  // runs of the agent before it calms down
	faults    int  // at most so many rules of what goes wrong, per round
	lost      bool // of which most are answers that are lost
	people    int  // at most so many things that people do, per round
	strangers bool // guests of others on declared VMIDs
	kills     bool // the agent is killed and started again
	second    bool // a second agent's run in between
	edits     bool // the YAML is edited
	rollbacks bool // rollbacks are asked for
	restarts  bool // what needs a restart is edited
	lived     bool // the household has lived here before
	backups   bool // every guest is backed up
	lose      bool // configs are lost, the house burns down
	disks     bool // disks are pulled
	waits     bool // hours pass between the rounds
	births    bool // guests begin anew under a VMID that has backups
	mimics    bool // people make backups of the same guests while answers are lost
	neighbour bool // one guest is healthy, and all that concerns another fails
}

// A scenario is one household in one world, with what happens to them.
type scenario struct {
	t       testing.TB
	r       *rand.Rand
	profile lawProfile
	dir     string
	sim     *pvesim.Sim
	house   *lawHousehold
	want    *spec.Desired
	fence   *privileged.Local
	lines   []byte // the journal, as it is on the disk
	forgot  bool   // the journal was lost
	witness *witness

	mu     sync.Mutex
	broken []string // what breaks a law, each "law: what"
	story  []string
}

func newScenario(t testing.TB, seed uint64, dir string, profile lawProfile) *scenario {
	s := &scenario{t: t, r: rand.New(rand.NewPCG(seed, 1)), profile: profile, dir: dir, sim: pvesim.New()}
	s.fence = &privileged.Local{Host: s.sim.Host(s.sim.Node())}
	s.witness = newWitness(s)
	for s.want == nil {
		s.house = newLawHousehold(s.r, profile)
		s.load()
	}
	s.story = nil
	return s
}

// load reads the household; one that is refused changes nothing, as in a running agent.
func (s *scenario) load() {
	want, err := s.house.load(s.dir)
	if err != nil {
		s.tell("the YAML is refused: %v", err)
		return
	}
	s.want = want
}

func (s *scenario) fails(law, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = append(s.broken, law+": "+fmt.Sprintf(format, args...))
	s.story = append(s.story, "BROKEN "+s.broken[len(s.broken)-1])
}

func (s *scenario) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.story = append(s.story, s.sim.Now().Format("02 15:04:05 ")+fmt.Sprintf(format, args...))
}

// run lets all happen and judges the end.
func (s *scenario) run() {
	if s.want == nil {
		return
	}
	s.setUp()
	if s.profile.neighbour {
		s.besideAFailure()
		return
	}
	for range s.profile.rounds {
		s.round()
		if s.tooMuch() {
			return
		}
	}
	s.calmDown()
}

func (s *scenario) tooMuch() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.broken) > 0
}

// round is one life of the agent among faults and people.
func (s *scenario) round() {
	s.injectFaults()
	agents := 1
	if s.profile.second && s.r.IntN(2) == 0 {
		agents = 2
	}
	i := s.live(agents)
	if s.profile.kills && s.r.IntN(3) > 0 {
		if s.r.IntN(2) == 0 {
			i.lines = 1 + s.r.IntN(25)
		} else {
			i.requests, i.before = 1+s.r.IntN(120), s.r.IntN(2) == 0
		}
	}
	people := s.schedule()
	var work sync.WaitGroup
	work.Go(func() { s.meanwhile(i, people) })
	for n, agent := range i.agents {
		after := time.Duration(n) * time.Duration(s.r.Int64N(int64(time.Minute)))
		work.Go(func() {
			time.Sleep(after)
			_, err := agent.Once(i.ctx, s.want)
			if err != nil && !i.killed() {
				s.tell("the run ended with: %v", err)
			}
			if agents == 1 {
				i.cancel()
			}
		})
	}
	work.Wait()
	i.end()
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
		s.tell("edit of %s", s.house.edit(kind, s.r, s.sim.Now(), s.snapshotNames()))
		s.load()
	}
	pauses := []time.Duration{time.Second, 20 * time.Second, 3 * time.Minute}
	if s.profile.waits {
		pauses = append(pauses, 7*time.Hour, 26*time.Hour, 26*time.Hour)
	}
	s.sim.Advance(pick(s.r, pauses...))
}

// meanwhile lets people do what they do while the agent works.
func (s *scenario) meanwhile(i *incarnation, people []lawDeed) {
	for _, deed := range people {
		timer := time.NewTimer(deed.after)
		select {
		case <-timer.C:
		case <-i.ctx.Done():
			timer.Stop()
			return
		}
		deed.do()
	}
}

func (s *scenario) snapshotNames() []string {
	var names []string
	for _, g := range lawLook(s.sim).guests {
		for name := range g.snaps {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// calmDown ends all faults and looks whether it settles, and what became of the laws.
func (s *scenario) calmDown() {
	s.tell("calm")
	s.sim.Heal()
	s.sim.Advance(time.Minute)
	var last *Report
	for range 6 {
		i := s.live(1)
		report, err := i.agents[0].Once(i.ctx, s.want)
		i.end()
		if s.tooMuch() {
			return
		}
		if err != nil {
			s.fails("settles", "a run without faults ends with %v", err)
			return
		}
		last = report
		if report.ExitCode() == 0 && report.Sent == 0 {
			break
		}
		s.sim.Advance(2 * time.Minute)
	}
	s.judge(last)
}

// preview makes a plan as --plan does.
func (i *incarnation) preview() (*Plan, string, error) {
	sight := i.agents[0].o.Sight
	sight.View = i.agents[0].o.Client.Look()
	plan, err := Preview(i.ctx, sight, i.s.want, i.journal)
	if err != nil {
		return nil, "", err
	}
	return plan, text(plan), nil
}

// judge looks at the end of a scenario.
func (s *scenario) judge(report *Report) {
	plan := report.Plan
	if len(plan.Laters) > 0 {
		s.fails("settles", "it never comes to %s: %s, %s", plan.Laters[0].Object, plan.Laters[0].Text, plan.Laters[0].Waits)
	}
	for _, a := range plan.Actions {
		s.fails("settles", "%s: %s is never sent (%v)", a.Object, a.Verb, report.Waits)
	}
	for _, h := range plan.Held {
		if strings.Contains(h.Reason, "wanted again") {
			s.fails("settles", "%s is never as declared, though nobody touches it: %s", h.Object, h.Reason)
		}
		if h.Reason == "" || len(h.Cure) == 0 {
			s.fails("settles", "%s is held without a reason or a cure: %q %q", h.Object, h.Reason, h.Cure)
		}
	}
	writes := s.sim.Writes()
	i := s.live(1)
	first, one, err := i.preview()
	if err != nil {
		s.fails("plans", "a plan fails: %v", err)
		return
	}
	_, two, _ := i.preview()
	i.end()
	if one != two {
		s.fails("plans", "two plans differ:\n%s\n%s", one, two)
	}
	if s.sim.Writes() != writes {
		s.fails("plans", "a plan has written")
	}
	if len(report.Failed) == 0 && report.ExitCode() == 0 && first.Changes() {
		s.fails("plans", "after it was applied the plan is not empty:\n%s", one)
	}
	s.witness.atTheEnd(i.journal)
}

func (s *scenario) String() string {
	return strings.Join(s.story, "\n") + "\n" + s.house.yaml()
}
