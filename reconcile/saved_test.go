package reconcile

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// savedBench is a node with an agent that carries out the plan of this moment, and no other.
func savedBench(t *testing.T, sim *pvesim.Sim, want *spec.Desired, journal *Journal) *bench {
	b := newBench(t, sim, func(o *Options) {
		if journal != nil {
			o.Journal = journal
		}
	})
	b.journal = b.agent.O.Journal
	p, _ := b.plan(want)
	b.agent.O.Saved = SavePlan(p, SavedAbout{Owner: b.agent.O.Owner, Last: b.journal.Last()})
	return b
}

// A run that is limited to the plan made before it does what a run without a limit does.
func TestSavedPlanDoesTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := reconciletest.Examples(t)
		free, limited := newBench(t, pvesim.New()), savedBench(t, pvesim.New(), want, nil)
		a, b := free.once(want), limited.once(want)
		if a.ExitCode() != 0 || b.ExitCode() != 0 || a.Sent != b.Sent {
			t.Fatalf("exit codes %d and %d, actions %d and %d\n%s", a.ExitCode(), b.ExitCode(), a.Sent, b.Sent, limited.closing(b))
		}
		if diff := cmp.Diff(reconciletest.Read(free.sim).Tasks, reconciletest.Read(limited.sim).Tasks); diff != "" {
			t.Errorf("the tasks differ (-free +limited):\n%s", diff)
		}
	})
}

// What falls due or is changed while a saved plan is carried out is not done: it is blocked, with its fix.
func TestSavedPlanDoesNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := reconciletest.Examples(t)
		b := savedBench(t, pvesim.New(), want, nil)
		changed := false
		b.agent.O.Planned = func(*Plan) {
			if !changed {
				changed = true // after the plan was compared, before the first request
				if status, body := b.sim.Do("root@pam", "PUT", "/nodes/pve1/lxc/101/config", map[string]string{"memory": "768"}); status != 200 {
					t.Errorf("%d %s", status, body)
				}
			}
		}
		report := b.once(want)
		text := b.closing(report)
		if report.ExitCode() != 3 || !strings.Contains(text, "not in the saved plan: memory 768 -> 512 MiB, startup") {
			t.Errorf("exit code %d\n%s", report.ExitCode(), text)
		}
		if world, _ := b.sim.Save(); !strings.Contains(string(world), "memory: 768") {
			t.Error("memory was changed, which the plan did not have")
		}
	})
}

// A run that is killed at any line of its journal is resumed by another one with the same file, and ends the same.
func TestSavedPlanResumes(t *testing.T) {
	want := reconciletest.Examples(t)
	for kill := 2; ; kill += 19 {
		resumed := false
		synctest.Test(t, func(t *testing.T) {
			journal := MemoryJournal()
			b := savedBench(t, pvesim.New(), want, journal)
			lines := 0
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			journal.Barrier = func(Entry) error {
				if lines++; lines >= kill {
					cancel()
					return reconciletest.ErrKilled
				}
				return nil
			}
			_, err := b.agent.Once(ctx, want)
			resumed = err != nil
			b2 := newBench(t, b.sim, func(o *Options) {
				o.Journal, o.Saved, o.Store = MemoryJournal(), b.agent.O.Saved, b.agent.O.Store
				o.Journal.Mem.Write(journal.Mem.Bytes())
				o.Journal.Parse(journal.Mem.Bytes())
			})
			var different *DifferentError
			report, err := b2.agent.Once(t.Context(), want)
			if errors.As(err, &different) || err != nil {
				t.Fatalf("killed at line %d: %v", kill, err)
			}
			if report.ExitCode() != 0 {
				t.Errorf("killed at line %d: exit code %d\n%s", kill, report.ExitCode(), b2.closing(report))
			}
		})
		if !resumed || t.Failed() {
			break
		}
	}
}
