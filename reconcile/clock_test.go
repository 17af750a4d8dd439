package reconcile

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/journal"
)

// A node's clock that is set back by hours keeps nothing waiting for hours: neither what
// cools down, nor what a lock kept out, nor what was lost on the way.
func TestAClockThatIsSetBackSilencesNobody(t *testing.T) {
	want := desired(t, "guests: {dns: {vmid: 101}}\nsnapshots: {before: {guest: dns, taken: 2026-11-22}}\n")
	for name, fault := range map[string]pvesim.Fault{
		"a failure": {Match: "task vzsnapshot 101", Effect: "fail"},
		"a lock":    {Match: "POST */snapshot", Effect: "error", Text: "CT is locked (backup)"},
		"unsent":    {Match: "POST */snapshot", Effect: "refused"},
		"lost":      {Match: "POST */snapshot", Effect: "lost"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				if err := b.sim.Inject(fault); err != nil {
					t.Fatal(err)
				}
				stop := b.watch(5*time.Minute, always(want), nil)
				stepped := false
				for range 600 {
					time.Sleep(500 * time.Millisecond)
					synctest.Wait()
					b.journal.Mu.Lock()
					begun := slices.ContainsFunc(b.journal.Order, func(a *journal.Operation) bool { return a.Verb == "snapshot" && (!a.Open() || fault.Effect == "lost") })
					b.journal.Mu.Unlock()
					if begun && !stepped {
						stepped = true
						time.Sleep(2 * time.Second)
						b.sim.StepClock(-7 * time.Hour)
					}
				}
				time.Sleep(7 * time.Minute)
				stop()
				if !stepped || !strings.Contains(b.sim.String(), "[before]") {
					t.Errorf("it waits (the clock was set back: %t)\n%s", stepped, b.events)
				}
			})
		})
	}
}

// A clock that was ahead for weeks, while guests were made and backed up, is set right:
// the next slot gets its backup, once.
func TestAClockThatWasAheadSilencesNoBackup(t *testing.T) {
	for _, when := range []string{`at: "02:30"`, "every: 24h"} {
		t.Run(when, func(t *testing.T) {
			want := desired(t, strings.ReplaceAll(scheduled, "WHEN", when))
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				b.sim.StepClock(60 * 24 * time.Hour) // when dns is taken over it is January
				for range 5 {
					b.once(want)
					b.sim.Advance(24 * time.Hour)
				}
				b.sim.StepClock(-60 * 24 * time.Hour)
				made := func() int { return strings.Count(b.sim.String(), "backups/nightly vmid=101") }
				before := made()
				for day := range 3 {
					b.once(want)
					b.once(want)
					_, text := b.plan(want)
					if n := made() - before; n < day || n > day+1 {
						t.Fatalf("%d backups after %d days\n%s\n%s", n, day, text, b.events)
					}
					b.sim.Advance(24 * time.Hour)
				}
			})
		})
	}
}
