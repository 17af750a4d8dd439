package laws

import (
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/reconcile/deliberate"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// TestLawsCatchMistakes makes one mistake after the other on purpose. Each must be
// caught, by the law that it breaks, within 5,000 scenarios.
func TestLawsCatchMistakes(t *testing.T) {
	if reconciletest.RaceDetector || testing.Short() {
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
		{"drop the marker check", "foreign", lawForeign, &deliberate.Deliberate.DropMarkerCheck, 0},
		{"ignore locks", "writers", lawWriters, &deliberate.Deliberate.IgnoreLocks, 0},
		{"ignore budgets", "writers", lawWriters, &deliberate.Deliberate.IgnoreBudgets, 0},
		{"repeat lost writes", "twice", lawTwice, &deliberate.Deliberate.RepeatLost, 0},
		{"retry a rollback", "twice", lawTwice, &deliberate.Deliberate.RetryRollback, 0},
		{"skip the blank rule", "blank", lawData, &deliberate.Deliberate.SkipBlankRule, 0},
		{"restore beside volumes", "blank", lawData, &deliberate.Deliberate.RestoreBeside, 0},
		{"trust what is not seen", "blank", lawData, &deliberate.Deliberate.TrustUnseen, 80},
		{"ignore unused volumes", "blank", lawData, &deliberate.Deliberate.IgnoreUnused, 0},
		{"prune the newest", "retention", lawRetention, &deliberate.Deliberate.PruneNewest, 0},
		{"trust ambiguous lists", "retention", lawRetention, &deliberate.Deliberate.TrustAmbiguous, 0},
		{"prune any birth", "retention", lawRetention, &deliberate.Deliberate.PruneAnyBirth, 0},
		{"let vzdump prune", "foreign", lawRetention, nil, 0},
		{"two disruptive acts", "disruptive", lawDisruptive, &deliberate.Deliberate.TwoDisruptive, 0},
		{"claim success", "journal", lawJournal, &deliberate.Deliberate.ClaimSuccess, 0},
		{"trust the task's OK", "seen", lawSeen, &deliberate.Deliberate.TrustTask, 0},
		{"skip the intent", "journal", lawJournal, &deliberate.Deliberate.SkipIntent, 0},
		{"skip the fsync", "journal", lawJournal, &deliberate.Deliberate.SkipSync, 0},
		{"take any task for ours", "twice", lawJournal, &deliberate.Deliberate.AnyTask, 0},
		{"never equal", "settles", lawPlans, &deliberate.Deliberate.NeverEqual, 0},
		{"no cure", "settles", lawSettles, &deliberate.Deliberate.NoCure, 0},
		{"unordered", "plans", lawPlans, &deliberate.Deliberate.Unordered, 0},
		{"ignore another agent", "writers", lawWriters, &deliberate.Deliberate.IgnoreOtherAgent, 60},
		{"start amid stopall", "writers", lawWriters, &deliberate.Deliberate.StartAmidBulk, 0},
		{"forget a restart", "disruptive", lawDisruptive, &deliberate.Deliberate.ForgetRestart, 0},
		{"keep the budget", "neighbour", lawNeighbour, &deliberate.Deliberate.KeepBudget, 60},
		{"ignore holds", "held", lawHeld, &deliberate.Deliberate.IgnoreHolds, 0},
		{"forget backups", "twice", lawRetention, &deliberate.Deliberate.ForgetBackups, 0},
		{"plan one step", "no surprise", lawPlans, &deliberate.Deliberate.PlanOneStep, 0},
		{"forget deletions", "counted", lawRetention, &deliberate.Deliberate.ForgetDeletions, 0},
		{"hide what is blocked", "nothing hidden", lawPlans, &deliberate.Deliberate.HideBlocked, 0},
		{"give up together", "neighbour", lawNeighbour, &deliberate.Deliberate.GiveUpTogether, 90},
	}
	dir := t.TempDir()
	for _, m := range mistakes {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			m.profile.unending = m.law != "no surprise" // else that law ends each scenario before the one in question can speak
			if m.flag != nil {
				*m.flag = true
				defer func() { *m.flag = false }()
			} else {
				deliberate.Deliberate.PruneByVzdump = &yes
				defer func() { deliberate.Deliberate.PruneByVzdump = nil }()
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
