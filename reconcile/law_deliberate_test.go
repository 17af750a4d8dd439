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
	}{
		{"drop the marker check", "foreign", lawForeign, &deliberate.dropMarkerCheck},
		{"ignore locks", "writers", lawWriters, &deliberate.ignoreLocks},
		{"ignore budgets", "writers", lawWriters, &deliberate.ignoreBudgets},
		{"repeat lost writes", "twice", lawTwice, &deliberate.repeatLost},
		{"retry a rollback", "twice", lawTwice, &deliberate.retryRollback},
		{"skip the blank rule", "blank", lawData, &deliberate.skipBlankRule},
		{"restore beside volumes", "blank", lawData, &deliberate.restoreBeside},
		{"trust what is not seen", "blank", lawData, &deliberate.trustUnseen},
		{"ignore unused volumes", "blank", lawData, &deliberate.ignoreUnused},
		{"prune the newest", "retention", lawRetention, &deliberate.pruneNewest},
		{"prune any birth", "retention", lawRetention, &deliberate.pruneAnyBirth},
		{"let vzdump prune", "foreign", lawRetention, nil},
		{"two disruptive acts", "disruptive", lawDisruptive, &deliberate.twoDisruptive},
		{"claim success", "journal", lawJournal, &deliberate.claimSuccess},
		{"skip the intent", "journal", lawJournal, &deliberate.skipIntent},
		{"skip the fsync", "journal", lawJournal, &deliberate.skipSync},
		{"take any task for ours", "twice", lawJournal, &deliberate.anyTask},
		{"never equal", "settles", lawPlans, &deliberate.neverEqual},
		{"no cure", "settles", lawSettles, &deliberate.noCure},
		{"unordered", "plans", lawPlans, &deliberate.unordered},
		{"ignore another agent", "writers", lawWriters, &deliberate.ignoreOtherAgent},
		{"start amid stopall", "writers", lawWriters, &deliberate.startAmidBulk},
		{"forget a restart", "disruptive", lawDisruptive, &deliberate.forgetRestart},
		{"keep the budget", "neighbour", lawNeighbour, &deliberate.keepBudget},
		{"ignore holds", "held", lawHeld, &deliberate.ignoreHolds},
		{"forget backups", "twice", lawRetention, &deliberate.forgetBackups},
		{"give up together", "neighbour", lawNeighbour, &deliberate.giveUpTogether},
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
			for seed := range uint64(most) {
				broken, _, _ := lawScenario(t, seed+1, dir, m.profile)
				for _, b := range broken {
					if strings.HasPrefix(b, m.law+":") {
						t.Logf("caught after %d scenarios (%.1f s): %s", seed+1, time.Since(begin).Seconds(), b)
						return
					}
				}
			}
			t.Errorf("the law %q does not catch it", m.law)
		})
	}
}
