package laws

import (
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

var (
	lawN    = flag.Int("law.n", 0, "scenarios of each law; 0: its own number")
	lawSeed = flag.Uint64("law.seed", 0, "only the scenario of this seed, with its story")
	lawFrom = flag.Uint64("law.from", 0, "the seed before the first one")
	lawOnly = flag.String("law.only", "", "only this law counts, and the first scenario that breaks it is the last")
)

// The laws, each with what has to happen to put it to the test. Every scenario is held
// to all of them: the profile only decides which is tried hardest.
var (
	lawSettles    = lawProfile{rounds: 1, faults: 5, people: 2, edits: true, cluster: true, bulk: true, service: true}
	lawPlans      = lawProfile{rounds: 1, edits: true, waits: true}
	lawTwice      = lawProfile{rounds: 2, faults: 4, lost: true, kills: true, rollbacks: true, service: true}
	lawWriters    = lawProfile{rounds: 1, faults: 2, people: 5, second: true, elsewhere: true, bulk: true, service: true}
	lawForeign    = lawProfile{rounds: 1, people: 4, strangers: true, edits: true, waits: true, cluster: true}
	lawData       = lawProfile{rounds: 1, people: 2, faults: 2, odd: 2, lose: true, disks: true, edits: true, service: true}
	lawRetention  = lawProfile{rounds: 3, people: 1, waits: true, backups: true, lived: true, births: true, doubles: true}
	lawNeighbour  = lawProfile{rounds: 1, neighbour: true}
	lawDisruptive = lawProfile{rounds: 2, faults: 1, edits: true, restarts: true, lived: true, bulk: true, service: true}
	lawJournal    = lawProfile{rounds: 2, faults: 3, kills: true, second: true, people: 1, backups: true, mimics: true, lived: true}
	lawHeld       = lawProfile{rounds: 3, faults: 1, people: 1, odd: 4, service: true, edits: true, lived: true, waits: true, clocks: true}
)

// Guests that are to be deleted, by people who change their mind and service and runs that do it.
var lawDeletes = lawProfile{rounds: 3, faults: 2, people: 2, lost: true, kills: true, service: true, strangers: true, waits: true, lived: true, backups: true, deletes: true, edits: true}

func TestLawDeletes(t *testing.T) {
	before := lawDoomed.Load()
	laws(t, lawDeletes, 40)
	t.Logf("%d guests were deleted on purpose, each after a printed plan that had it", lawDoomed.Load()-before)
}

func FuzzLawDeletes(f *testing.F) { fuzzLaw(f, lawDeletes) }

func TestLawSettles(t *testing.T)    { laws(t, lawSettles, 60) }
func TestLawPlans(t *testing.T)      { laws(t, lawPlans, 70) }
func TestLawTwice(t *testing.T)      { laws(t, lawTwice, 60) }
func TestLawWriters(t *testing.T)    { laws(t, lawWriters, 60) }
func TestLawForeign(t *testing.T)    { laws(t, lawForeign, 60) }
func TestLawData(t *testing.T)       { laws(t, lawData, 60) }
func TestLawRetention(t *testing.T)  { laws(t, lawRetention, 50) }
func TestLawNeighbour(t *testing.T)  { laws(t, lawNeighbour, 60) }
func TestLawDisruptive(t *testing.T) { laws(t, lawDisruptive, 50) }
func TestLawJournal(t *testing.T)    { laws(t, lawJournal, 55) }
func TestLawHeld(t *testing.T)       { laws(t, lawHeld, 30) }

func FuzzLawSettles(f *testing.F)    { fuzzLaw(f, lawSettles) }
func FuzzLawPlans(f *testing.F)      { fuzzLaw(f, lawPlans) }
func FuzzLawTwice(f *testing.F)      { fuzzLaw(f, lawTwice) }
func FuzzLawWriters(f *testing.F)    { fuzzLaw(f, lawWriters) }
func FuzzLawForeign(f *testing.F)    { fuzzLaw(f, lawForeign) }
func FuzzLawData(f *testing.F)       { fuzzLaw(f, lawData) }
func FuzzLawRetention(f *testing.F)  { fuzzLaw(f, lawRetention) }
func FuzzLawNeighbour(f *testing.F)  { fuzzLaw(f, lawNeighbour) }
func FuzzLawDisruptive(f *testing.F) { fuzzLaw(f, lawDisruptive) }
func FuzzLawJournal(f *testing.F)    { fuzzLaw(f, lawJournal) }
func FuzzLawHeld(f *testing.F)       { fuzzLaw(f, lawHeld) }

func fuzzLaw(f *testing.F, profile lawProfile) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		if broken, story, _ := lawScenario(t, seed, t.TempDir(), profile); len(broken) > 0 {
			t.Fatalf("%s\n%s", strings.Join(broken, "\n"), story)
		}
	})
}

var lawsRun, lawRequests, lawTruths atomic.Int64

// TestMain lets garbage be: a scenario makes 20 MB of it and keeps little. A life in virtual time is one thing after the
// other, so a process that lives one at a time (-parallel 1) has one thread: a second one would only wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(1600)
	}
	if os.Getenv("GOMAXPROCS") == "" && flag.Lookup("test.parallel").Value.String() == "1" {
		runtime.GOMAXPROCS(1)
	}
	os.Exit(m.Run())
}

// laws runs scenarios of one law and prints how many and how fast.
func laws(t *testing.T, profile lawProfile, n int) {
	t.Parallel()
	switch {
	case *lawN > 0:
		n = *lawN
	case testing.Short():
		n /= 3
	case reconciletest.RaceDetector:
		n /= 2
	}
	if *lawOnly != "" {
		profile.unending = *lawOnly != "no surprise" // else that law ends each scenario before the one in question can speak
	}
	dir := t.TempDir()
	begin, requests, failed := time.Now(), 0, 0
	one := func(seed uint64) {
		broken, story, cost := lawScenario(t, seed, dir, profile)
		if *lawOnly != "" {
			broken = slices.DeleteFunc(broken, func(b string) bool { return !strings.HasPrefix(b, *lawOnly+":") })
		}
		requests += cost
		if *lawSeed > 0 {
			t.Logf("seed %d:\n%s", seed, story)
		}
		for _, b := range broken {
			t.Errorf("%s -law.seed %d: %s", t.Name(), seed, b)
		}
		if len(broken) > 0 {
			failed++
		}
	}
	if *lawSeed > 0 {
		one(*lawSeed)
		return
	}
	for seed := range uint64(n) {
		if one(*lawFrom + seed + 1); failed >= 12 || failed > 0 && *lawOnly != "" {
			break
		}
	}
	took := time.Since(begin)
	t.Logf("%d scenarios, %d requests, %.0f requests/s, %.1f ms per scenario; in all %d scenarios, %d requests, %d writes compared with a plan",
		n, requests, float64(requests)/took.Seconds(), float64(took.Milliseconds())/float64(n), lawsRun.Add(int64(n)), lawRequests.Add(int64(requests)), lawTruths.Load())
}

// lawAnswers are what earlier scenarios decoded: much of it is the same in all of them.
var lawAnswers = sync.Pool{New: func() any { return new(proxmox.Answers) }}

// lives runs the scenarios of a law that has a world of its own, in virtual time: n, or what the flags say, and
// those of seeds that once broke it. It returns how many, and whether none broke it.
func lives(t *testing.T, n int, once []uint64, live func(t *testing.T, seed uint64) (broken, story []string)) (scenarios int, good bool) {
	switch {
	case *lawN > 0:
		n, once = *lawN, nil
	case testing.Short():
		n = 20
	case reconciletest.RaceDetector:
		n = 30
	}
	name, failed := t.Name(), 0
	one := func(seed uint64) {
		synctest.Test(t, func(t *testing.T) {
			broken, story := live(t, seed)
			if *lawOnly != "" {
				broken = slices.DeleteFunc(broken, func(b string) bool { return !strings.HasPrefix(b, *lawOnly+":") })
			}
			for _, b := range broken {
				t.Errorf("%s -law.seed %d: %s", name, seed, b)
			}
			if len(broken) > 0 {
				failed++
			}
			if *lawSeed > 0 {
				t.Log(strings.Join(story, "\n"))
			}
		})
	}
	if *lawSeed > 0 {
		one(*lawSeed)
		return 1, failed == 0
	}
	for _, seed := range once {
		one(seed)
	}
	for seed := range uint64(n) {
		if one(*lawFrom + seed + 1); failed >= 8 || failed > 0 && *lawOnly != "" {
			break
		}
	}
	return n, failed == 0
}

// lawScenario runs one scenario in virtual time.
func lawScenario(t *testing.T, seed uint64, dir string, profile lawProfile) (broken []string, story string, requests int) {
	answers := lawAnswers.Get().(*proxmox.Answers)
	defer lawAnswers.Put(answers)
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t, seed, dir, profile)
		s.answers = answers
		s.run()
		requests = s.sim.Requests()
		lawTruths.Add(int64(s.truths))
		if broken = s.broken; len(broken) > 0 || *lawSeed > 0 {
			story = s.String()
		}
	})
	return
}
