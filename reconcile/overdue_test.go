package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
)

// A service that has given up waiting for a task hears of its end all the same: else its
// guest would be busy, and no backup be made on the node, for as long as the service runs.
func TestAnOverdueTaskIsJudgedWhenItEnds(t *testing.T) {
	want := desired(t, strings.ReplaceAll(scheduled, "WHEN", "every: 24h, timeout: 10m"))
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		if err := b.sim.Inject(pvesim.Fault{Match: "task vzdump 101", Effect: "hang"}); err != nil {
			t.Fatal(err)
		}
		stop := b.watch(5*time.Minute, always(want), nil)
		time.Sleep(30 * time.Minute)
		if text := b.events.String(); !strings.Contains(text, "gave up waiting") {
			t.Fatalf("nobody gave up waiting:\n%s", text)
		}
		b.sim.Heal() // somebody stops it
		if printed, err := b.sim.Shell("pve1", "pct unlock 101"); err != nil {
			t.Fatal(printed, err)
		}
		time.Sleep(time.Hour)
		stop()
		var results []string
		for _, operation := range b.journal.Order {
			if operation.Verb == "back up" {
				results = append(results, operation.Result)
			}
		}
		if got := strings.Join(results, " "); got != "failed ok" {
			t.Errorf("the backups ended with %q\n%s", got, b.events)
		}
	})
}

// A full disk at the moment when an operation has ended loses nothing: its outcome is written as
// soon as there is room, and what failed cools down.
func TestAnEndingIsWrittenWhenTheDiskHasRoomAgain(t *testing.T) {
	for name, c := range map[string]struct {
		effect string
		want   string
	}{"ok": {"", "ok"}, "failed": {"fail", "failed ok"}} {
		t.Run(name, func(t *testing.T) {
			want := desired(t, "guests: {dns: {vmid: 101}}\nsnapshots: {before: {guest: dns, taken: 2026-11-22}}\n")
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				if c.effect != "" {
					if err := b.sim.Inject(pvesim.Fault{Match: "task vzsnapshot 101", Effect: c.effect}); err != nil {
						t.Fatal(err)
					}
				}
				full := 0
				b.journal.Barrier = func(e Entry) error {
					if operation := b.journal.Action(e.Action); e.Step == journal.StepOutcome && operation.Verb == "snapshot" {
						if full++; full < 3 {
							return errors.New("no space left on device")
						}
					}
					return nil
				}
				stop := b.watch(5*time.Minute, always(want), nil)
				time.Sleep(30 * time.Minute)
				stop()
				var results []string
				for _, operation := range b.journal.Order {
					if operation.Verb == "snapshot" {
						results = append(results, operation.Result)
					}
				}
				if got := strings.Join(results, " "); got != c.want {
					t.Errorf("the snapshots ended with %q, want %q\n%s", got, c.want, b.events)
				}
			})
		})
	}
}

// A task about which PVE answers with an error is asked about every now and then, not
// without a pause; a run gives up when its time is over.
func TestATaskThatCannotBeAskedAbout(t *testing.T) {
	want := desired(t, "guests: {dns: {vmid: 101}}\nsnapshots: {before: {guest: dns, taken: 2026-11-22}}\n")
	synctest.Test(t, func(t *testing.T) {
		b := answering(t, func(req *http.Request) (int, string) {
			if strings.Contains(req.URL.Path, "/tasks/UPID") {
				return 500, `{"data":null,"message":"something is odd\n"}`
			}
			return 0, ""
		})
		begin := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		report, err := b.agent.Once(ctx, want)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); report.ExitCode() != 5 || took < questions.ShortTask || took > questions.ShortTask+time.Minute {
			t.Errorf("after %s it ends with %d\n%s", took, report.ExitCode(), b.closing(report))
		}
		if passes := report.Passes; passes > 60 {
			t.Errorf("it took %d passes", passes)
		}
	})
}

// A hungRunner is a root helper whose operation hangs, at a disk say.
type hungRunner struct {
	privileged.Runner
	mu   sync.Mutex
	runs []privileged.RunningOp
}

func (h *hungRunner) Do(ctx context.Context, op privileged.Op, _ func(string)) (privileged.Result, error) {
	since := time.Now()
	h.mu.Lock()
	h.runs = append(h.runs, privileged.RunningOp{Name: op.Name, Queue: op.Queue(), What: op.String(), Since: since})
	h.mu.Unlock()
	<-ctx.Done()
	return privileged.Result{StillRunning: &since}, nil
}

func (h *hungRunner) Ask(ctx context.Context, q privileged.Query) (privileged.Answer, error) {
	if q.Name != "Running" {
		return h.Runner.Ask(ctx, q)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	data, err := json.Marshal(h.runs)
	return privileged.Answer{Data: data}, err
}

// A run gives up waiting for an operation of the root helper as for a task, and so does the next one, whose process did not
// begin it.
func TestAnOperationOfRootThatHangs(t *testing.T) {
	want := desired(t, "mounts: {media: {uuid: "+mediaDisk+", path: /mnt/usb/media, timeout: 10m}}\n")
	synctest.Test(t, func(t *testing.T) {
		sim, journal := pvesim.New(), MemoryJournal()
		hung := &hungRunner{Runner: &privileged.Local{Host: sim.Host(sim.Node())}, runs: []privileged.RunningOp{}}
		for range 2 {
			b := newBench(t, sim, func(o *Options) { o.Runner, o.Journal = hung, journal })
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			report, err := b.agent.Once(ctx, want)
			if err != nil || report.ExitCode() != 5 {
				t.Errorf("%v\n%s", err, b.events)
			} else if closing := b.closing(report); !strings.Contains(closing, "gave up waiting") {
				t.Error(closing)
			}
			cancel()
			synctest.Wait()
		}
		if len(hung.runs) != 1 {
			t.Errorf("it was begun %d times", len(hung.runs))
		}
	})
}
