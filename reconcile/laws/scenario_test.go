package laws

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
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
	service   bool // the service runs, and the YAML is edited between two of its requests
	elsewhere bool // an agent on another machine has the same token
	bulk      bool // people start and stop all guests
	cluster   bool // there may be another node, which may be dead
	odd       int  // at most so many odd things that people and machines do, per round
	unending  bool // a mistake is made on purpose that makes plans without an end
	doubles   bool // lists name archives twice, also with different values
	hollow    bool // PVE says of its own work what is not so
	servers   bool // backups go to a Proxmox Backup Server, with accidents of its own
	clocks    bool // the node's clock is set between the rounds
	vms       bool // the household has virtual machines
	deletes   bool // guests are to be absent
	upgrades  bool // guests are edited together with a new named snapshot of them
}

// alone reports whether nobody but one agent acts in a round, and nothing goes wrong.
func (p lawProfile) alone() bool {
	return p.faults+p.people+p.odd == 0 && !p.kills && !p.second && !p.service && !p.elsewhere && !p.bulk && !p.mimics && !p.disks && !p.clocks && !p.neighbour
}

// A scenario is one household in one world, with what happens to them.
type scenario struct {
	t           testing.TB
	r           *rand.Rand
	vr          *rand.Rand // draws about virtual machines
	profile     lawProfile
	dir         string
	sim         *pvesim.Sim
	house       *lawHousehold
	want        *spec.Desired
	here        *lawPlace // the node
	there       *lawPlace // another machine
	forgot      bool      // the journal was lost
	torn        bool      // the storage names each archive twice, with different values
	witness     *witness
	server      *pvesim.Datastore // nil without one
	roleChanged time.Time         // when its administrator changed a role

	host    *frailHost
	answers *proxmox.Answers
	aside   sync.WaitGroup

	mu     sync.Mutex
	broken []string // what breaks a law, each "law: what"
	story  []string
	quiet  bool // nothing comes from outside while the agent works
	truths int  // writes that were compared with what a plan has promised
	traced bool // the story names every request

	printed map[string]bool // objects whose deletion a printed plan had
}

func newScenario(t testing.TB, seed uint64, dir string, profile lawProfile) *scenario {
	s := &scenario{t: t, r: rand.New(rand.NewPCG(seed, 1)), vr: rand.New(rand.NewPCG(seed, 2)), profile: profile, dir: dir, sim: pvesim.New(), quiet: !profile.neighbour}
	if profile.cluster && s.r.IntN(2) == 0 {
		s.sim = reconciletest.TwoNodes(t, s.r.IntN(2) == 0)
	}
	s.here = &lawPlace{name: "agent", store: reconcile.MemoryStore(), fence: s.fence()}
	s.there = &lawPlace{name: "agent elsewhere", store: reconcile.MemoryStore()}
	s.witness, s.printed = newWitness(s), map[string]bool{}
	for s.want == nil {
		if s.house = newLawHousehold(s.r, profile); profile.servers {
			s.house.onServer(s.r)
		}
		if profile.vms {
			s.house.addVMs(s.vr)
		}
		s.load()
	}
	if profile.servers {
		s.addServer()
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.want = want
	s.forgetDeletions()
}

// inForce is what the YAML says now.
func (s *scenario) inForce() *spec.Desired {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.want
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
	defer s.aside.Wait()
	defer func() { s.here.fence.Wait() }()
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

func (s *scenario) snapshotNames() []string {
	var names []string
	for _, g := range reconciletest.Read(s.sim).Guests {
		for name := range g.Snaps {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// calmDown ends all faults and looks whether it settles, and what became of the laws.
func (s *scenario) calmDown() {
	s.tell("calm")
	s.quiet = true
	s.sim.Heal()
	s.torn = false
	s.host.dies(0, false)
	s.oddlyCalm()
	s.serverCalm()
	s.sim.Advance(time.Minute)
	s.nothingHides()
	var last *reconcile.Report
	for range 6 {
		i := s.live(1)
		report, err := i.once(0)
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
func (i *incarnation) preview() (*reconcile.Plan, string, error) {
	source := i.agents[0].O.Source
	source.View = i.agents[0].O.Client.Read()
	var err error
	if source.Stored, err = i.place.store.Load(); err != nil {
		return nil, "", err
	}
	plan, err := reconcile.Preview(i.ctx, source, i.s.want, i.journal)
	if err != nil {
		return nil, "", err
	}
	return plan, reconciletest.PlanText(plan), nil
}

// judge looks at the end of a scenario.
func (s *scenario) judge(report *reconcile.Report) {
	plan := report.Plan
	if len(plan.Deferred) > 0 {
		s.fails("settles", "it never comes to %s: %s, %s", plan.Deferred[0].Object, plan.Deferred[0].Text, plan.Deferred[0].Waits)
	}
	for _, a := range plan.Actions {
		s.fails("settles", "%s: %s is never sent (%v)", a.Object, a.Verb, report.Waits)
	}
	for _, h := range plan.Blocked {
		if strings.Contains(h.Reason, "wanted again") {
			s.fails("settles", "%s is never as declared, though nobody touches it: %s", h.Object, h.Reason)
		}
		if h.Reason == "" || len(h.Fix) == 0 {
			s.fails("settles", "%s is held without a reason or a fix: %q %q", h.Object, h.Reason, h.Fix)
		}
	}
	s.deletionsEnd(report)
	first, _ := s.twoPlans()
	if first == nil {
		return
	}
	if clean := func() bool { return len(report.Failed) == 0 && report.ExitCode() == 0 }; clean() && first.Changes() {
		// Something may have fallen due in between: an archive that now has lain for ten minutes.
		again := s.live(1)
		var err error
		if report, err = again.once(0); err != nil {
			s.fails("settles", "a run without faults ends with %v", err)
			return
		}
		again.end()
		if first, one := s.twoPlans(); first != nil && clean() && first.Changes() {
			s.fails("plans", "after it was applied the plan is not empty:\n%s", one)
		}
	}
	end := s.live(1)
	end.end()
	s.witness.atTheEnd(end.journal)
}

// twoPlans makes two plans within one second of the node's: they write nothing and are equal.
func (s *scenario) twoPlans() (*reconcile.Plan, string) {
	writes := s.sim.Writes()
	s.sim.Advance(time.Second - time.Duration(s.sim.Now().Nanosecond()))
	i := s.live(1)
	defer i.end()
	plan, one, err := i.preview()
	if err != nil {
		s.fails("plans", "a plan fails: %v", err)
		return nil, ""
	}
	_, two, _ := i.preview()
	if one != two {
		s.fails("plans", "two plans differ:\n%s\n%s", one, two)
	}
	if s.sim.Writes() != writes {
		s.fails("plans", "a plan has written")
	}
	return plan, one
}

func (s *scenario) String() string {
	return strings.Join(s.story, "\n") + "\n" + s.house.yaml()
}
