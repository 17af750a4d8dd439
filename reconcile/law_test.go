package reconcile

import (
	"flag"
	"testing"
	"testing/synctest"
	"time"
)

var (
	lawN    = flag.Int("law.n", 0, "scenarios of each law; 0: its own number")
	lawSeed = flag.Uint64("law.seed", 0, "only the scenario of this seed")
)

// laws runs scenarios of one law and prints how many and how fast.
func laws(t *testing.T, profile lawProfile, n int) {
	if *lawN > 0 {
		n = *lawN
	}
	dir := t.TempDir()
	begin, requests := time.Now(), 0
	one := func(seed uint64) bool {
		broken, story, cost := lawScenario(t, seed, dir, profile)
		requests += cost
		if *lawSeed > 0 {
			t.Logf("seed %d:\n%s", seed, story)
		}
		if len(broken) > 0 {
			for _, b := range broken {
				t.Errorf("seed %d: %s", seed, b)
			}
		}
		return len(broken) == 0
	}
	if *lawSeed > 0 {
		one(*lawSeed)
		return
	}
	failed := 0
	for seed := range uint64(n) {
		if !one(seed + 1) {
			if failed++; failed >= 12 {
				break
			}
		}
	}
	took := time.Since(begin)
	t.Logf("%d scenarios, %d requests, %.0f requests/s, %.1f ms per scenario", n, requests, float64(requests)/took.Seconds(), float64(took.Milliseconds())/float64(n))
}

// lawScenario runs one scenario in virtual time.
func lawScenario(t *testing.T, seed uint64, dir string, profile lawProfile) (broken []string, story string, requests int) {
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t, seed, dir, profile)
		s.run()
		broken, story, requests = s.broken, s.String(), s.sim.Requests()
	})
	return
}

func TestLawSettles(t *testing.T) {
	laws(t, lawProfile{rounds: 1, faults: 6, people: 2, edits: true}, 100)
}

func TestLawCalm(t *testing.T) {
	laws(t, lawProfile{rounds: 1, edits: true}, 100)
}

func TestLawKilled(t *testing.T) {
	laws(t, lawProfile{rounds: 2, faults: 4, kills: true, edits: true}, 100)
}

func TestLawPeople(t *testing.T) {
	laws(t, lawProfile{rounds: 2, people: 6, edits: true, second: true}, 100)
}

func TestLawData(t *testing.T) {
	laws(t, lawProfile{rounds: 2, people: 2, faults: 3, lose: true, disks: true, edits: true}, 100)
}
