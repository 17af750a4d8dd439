package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

var (
	crashAll = flag.Bool("crash.all", os.Getenv("FELHOM_CRASH") == "all", "end the agent at every point, not only at every twelfth")
	crashAt  = flag.String("crash.at", "", "end the agent only at the points that match the `regexp`")
)

// atOnce is how many worlds live at the same time. Most of them wait: after an answer that was lost an agent lets
// a minute of the node's pass before it sends anything again.
const atOnce = 16

// TestCrashMatrix ends the agent with kill -9 after every write (before its answer and after it), after every line
// of the journal and in the middle of it, and within the reads and polls between them, while it converges the
// examples; starts it again, until it ends with 0; and compares the world with the one in which nobody was
// disturbed. The agent and the node are processes of their own.
func TestCrashMatrix(t *testing.T) {
	t.Parallel()
	if testing.Short() || reconciletest.RaceDetector {
		t.Skip("a run without -short and the race detector builds two programs and runs them a hundred times")
	}
	begin := time.Now()
	ctx := t.Context()
	b, err := newBench(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	calm, err := b.live(ctx, "calm", nil)
	if err != nil {
		t.Fatalf("undisturbed: %v\n%s", err, calm.said)
	}
	points := calm.tap.points()
	step := 12
	if *crashAll {
		step = 1
	}
	var chosen []point
	beside := map[point][]point{} // points that stand in for one that is not reached
	for i := step / 2; i < len(points); i += step {
		chosen = append(chosen, points[i])
		beside[points[i]] = points[i+1 : min(i+min(step, 4), len(points))]
	}
	if *crashAt != "" {
		beside = nil
		chosen = slices.DeleteFunc(points, func(p point) bool { return !regexp.MustCompile(*crashAt).MatchString(p.String()) })
	}
	slow := slices.Clone(chosen) // those that wait first
	slices.SortStableFunc(slow, func(a, b point) int { return waits(b) - waits(a) })

	var mu sync.Mutex
	var killed, equal, again int
	var missed []string
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, at := range slow {
		group.Go(func() error {
			l, err := b.live(ctx, fmt.Sprintf("w%d", i), &at)
			// Other things happen first in this life, as on a loaded machine: the point beside it is as good.
			for n, next := range beside[at] {
				if err != nil || l.killed {
					break
				}
				at = next
				l, err = b.live(ctx, fmt.Sprintf("w%d-%d", i, n), &at)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Errorf("killed at %s: %v\n%s", at, err, l.said)
			case !l.killed:
				missed = append(missed, at.String())
				return nil
			case l.world != calm.world:
				t.Errorf("killed at %s, the world is another one (- undisturbed, + resumed):\n%s\n%s", at, cmp.Diff(calm.world, l.world), l.said)
			default:
				equal++
			}
			killed++
			if l.restarts > 1 {
				again++
				t.Logf("killed at %s: %d restarts until it was converged\n%s", at, l.restarts, l.said)
			}
			if testing.Verbose() {
				t.Logf("%6.1f s  %s", l.took.Seconds(), at)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	for _, at := range missed { // another order of things
		t.Logf("not reached: %s", at)
	}
	if least := min(len(chosen)*9/10, len(chosen)-1); killed < least || killed < 20 && *crashAt == "" {
		t.Errorf("only %d of %d points were reached", killed, len(chosen))
	}
	t.Logf("%d of %d points chosen, %d not reached, %d needed more than one restart, in %s", len(chosen), len(points), len(missed), again, time.Since(begin).Round(time.Second))
	fmt.Printf("%d kill points, %d equal\n", killed, equal)
}

// waits guesses whether an agent that died there has to wait for a minute.
func waits(p point) int {
	if strings.HasPrefix(p.event, "line intent") || strings.Contains(p.event, " PUT ") {
		return 1
	}
	return 0
}

// TestCrashHistory holds that the journal of an agent that was killed, and of the one that resumed, reads like what
// happened.
func TestCrashHistory(t *testing.T) {
	t.Parallel()
	if testing.Short() || reconciletest.RaceDetector {
		t.Skip("a run without -short and the race detector builds two programs")
	}
	b, err := newBench(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, story := range map[string]struct {
		at   point
		only string
		want []string // in this order; whole lines without their times
	}{
		"begun": {point{event: "sent POST /nodes/pve1/lxc 112 #1"}, "restores/web", []string{
			`restores/web +restore +ok +\d+ s +create 112 from golden/alpine`,
			`UPID:pve1:[0-9A-F:]+:vzrestore:112:felhom@pve!agent:`,
			`restores/web +start +ok +\d+ s +.*`,
			`UPID:pve1:[0-9A-F:]+:vzstart:112:felhom@pve!agent:`,
			`backups/daily +back up +ok +\d+ s +back up web to usb-backup, blue`,
			`UPID:pve1:[0-9A-F:]+:vzdump:112:felhom@pve!agent:`,
		}},
		"never": {point{event: "line intent restores/web/create #1"}, "restores/web", []string{
			`restores/web +restore +lost +.*its answer was lost, and no task of it is found`,
			`restores/web +restore +ok +\d+ s +create 112 from golden/alpine`,
			`UPID:pve1:[0-9A-F:]+:vzrestore:112:felhom@pve!agent:`,
			`restores/web +start +ok +\d+ s +.*`,
			`UPID:pve1:[0-9A-F:]+:vzstart:112:felhom@pve!agent:`,
			`backups/daily +back up +ok +\d+ s +back up web to usb-backup, blue`,
			`UPID:pve1:[0-9A-F:]+:vzdump:112:felhom@pve!agent:`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			l, err := b.live(ctx, name, &story.at)
			if err != nil || !l.killed {
				t.Fatalf("killed: %v, %v\n%s", l.killed, err, l.said)
			}
			text, err := l.history(b, story.only)
			if err != nil {
				t.Fatalf("--history: %v\n%s", err, text)
			}
			t.Logf("\n%s", text)
			pattern := `(?m)\A\w{3} \d+ \w{3} \d{4}\n`
			for _, line := range story.want {
				pattern += ` +(?:\d\d:\d\d:\d\d  )?` + line + `\n`
			}
			if !regexp.MustCompile(pattern + `\z`).MatchString(text) {
				t.Errorf("the history does not read like %s", strings.Join(story.want, "\n"))
			}
		})
	}
}
