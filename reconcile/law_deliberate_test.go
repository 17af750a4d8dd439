package reconcile

import (
	"strings"
	"testing"
	"time"
)

// TestLawsCatchMistakes makes one mistake after the other on purpose. Each must be
// caught, by the law that it breaks, within 5,000 scenarios.
func TestLawsCatchMistakes(t *testing.T) {
	if raceDetector || testing.Short() {
		t.Skip("a run without the race detector goes through the mistakes")
	}
	yes := true
	mistakes := []struct {
		name    string
		law     string // the one that must say so
		profile lawProfile
		flag    *bool
		after   uint64 // seeds that are passed over, for they are known not to show it and take long
	}{
		{"drop the marker check", "foreign", lawForeign, &deliberate.dropMarkerCheck, 0},
		{"ignore locks", "writers", lawWriters, &deliberate.ignoreLocks, 0},
		{"ignore budgets", "writers", lawWriters, &deliberate.ignoreBudgets, 0},
		{"repeat lost writes", "twice", lawTwice, &deliberate.repeatLost, 0},
		{"retry a rollback", "twice", lawTwice, &deliberate.retryRollback, 0},
		{"skip the blank rule", "blank", lawData, &deliberate.skipBlankRule, 0},
		{"restore beside volumes", "blank", lawData, &deliberate.restoreBeside, 0},
		{"trust what is not seen", "blank", lawData, &deliberate.trustUnseen, 80},
		{"ignore unused volumes", "blank", lawData, &deliberate.ignoreUnused, 0},
		{"prune the newest", "retention", lawRetention, &deliberate.pruneNewest, 0},
		{"prune any birth", "retention", lawRetention, &deliberate.pruneAnyBirth, 0},
		{"let vzdump prune", "foreign", lawRetention, nil, 0},
		{"two disruptive acts", "disruptive", lawDisruptive, &deliberate.twoDisruptive, 0},
		{"claim success", "journal", lawJournal, &deliberate.claimSuccess, 0},
		{"skip the intent", "journal", lawJournal, &deliberate.skipIntent, 0},
		{"skip the fsync", "journal", lawJournal, &deliberate.skipSync, 0},
		{"take any task for ours", "twice", lawJournal, &deliberate.anyTask, 0},
		{"never equal", "settles", lawPlans, &deliberate.neverEqual, 0},
		{"no cure", "settles", lawSettles, &deliberate.noCure, 0},
		{"unordered", "plans", lawPlans, &deliberate.unordered, 0},
		{"ignore another agent", "writers", lawWriters, &deliberate.ignoreOtherAgent, 60},
		{"start amid stopall", "writers", lawWriters, &deliberate.startAmidBulk, 0},
		{"forget a restart", "disruptive", lawDisruptive, &deliberate.forgetRestart, 0},
		{"keep the budget", "neighbour", lawNeighbour, &deliberate.keepBudget, 60},
		{"ignore holds", "held", lawHeld, &deliberate.ignoreHolds, 0},
		{"forget backups", "twice", lawRetention, &deliberate.forgetBackups, 0},
		{"give up together", "neighbour", lawNeighbour, &deliberate.giveUpTogether, 90},
	}
	dir := t.TempDir()
	for _, m := range mistakes {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			if m.flag != nil {
				*m.flag = true
				defer func() { *m.flag = false }()
			} else {
				deliberate.pruneByVzdump = &yes
				defer func() { deliberate.pruneByVzdump = nil }()
			}
			if *lawSeed > 0 {
				_, story, _ := lawScenario(t, *lawSeed, dir, m.profile)
				t.Log(story)
				return
			}
			begin := time.Now()
			most := 5000
			if *lawN > 0 {
				most = *lawN
			}
			for n := range uint64(most) {
				seed := m.after + n + 1
				broken, _, _ := lawScenario(t, seed, dir, m.profile)
				for _, b := range broken {
					if strings.HasPrefix(b, m.law+":") {
						t.Logf("caught by seed %d (%.1f s): %s", seed, time.Since(begin).Seconds(), b)
						return
					}
				}
			}
			t.Errorf("the law %q does not catch it", m.law)
		})
	}
}
