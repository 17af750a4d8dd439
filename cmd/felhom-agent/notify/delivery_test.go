package notify_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/notify"
	"github.com/felhom/felhom-agent/reconcile"
)

// A command that runs when the agent is stopped has told: the next process does not tell it again.
func TestNotifyAmidAStop(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var heard atomic.Int32
		plan := planOf(time.Now().UTC(), []string{"restores/web"})
		plan.Blocked = []reconcile.Blocked{{Object: ref("restores/web"), Reason: "no disk"}}
		for range 2 {
			n := testNotifier(t, dir)
			n.SetCall(func(notify.Notice) error {
				heard.Add(1)
				time.Sleep(time.Second)
				return nil
			})
			ctx, cancel := context.WithCancel(t.Context())
			go n.Run(ctx)
			n.Pass(plan, nil)
			time.Sleep(time.Second / 2)
			cancel()
			time.Sleep(time.Minute)
		}
		if heard.Load() != 1 {
			t.Errorf("it was told %d times", heard.Load())
		}
	})
}

// What the command does not take comes again, ever more seldom, also after a restart, until it is taken; all the while
// it is shown, and nothing comes twice or in the wrong order.
func TestNotifyRepeats(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex // over what follows
		var heard []string
		broken := errors.New("exit status 75; it said: \"could not resolve host\\x1b\"\x1b[2J")
		down := true
		run := func() (n *notify.Notifier, stop func()) {
			n = testNotifier(t, dir)
			n.SetCall(func(got notify.Notice) error {
				mu.Lock()
				defer mu.Unlock()
				heard = append(heard, fmt.Sprintf("%s %s %s", time.Since(start).Truncate(time.Minute), got.Event, got.Object))
				if down {
					return broken
				}
				return nil
			})
			ctx, cancel := context.WithCancel(t.Context())
			go n.Run(ctx)
			return n, func() { cancel(); synctest.Wait() }
		}
		expect := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if strings.Join(heard, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s: heard %q, want %q", what, heard, want)
			}
			heard = nil
		}
		at := func() *reconcile.Plan { return planOf(time.Now().UTC(), []string{"restores/web"}) }
		blocked := func() *reconcile.Plan {
			plan := at()
			plan.Blocked = []reconcile.Blocked{{Object: ref("restores/web"), Reason: "no disk"}}
			return plan
		}
		n, stop := run()
		if text, count := n.Undelivered(); len(text) != 0 || count != 0 {
			t.Errorf("at first: %q, %d", text, count)
		}
		n.Pass(blocked(), nil)
		time.Sleep(20 * time.Minute)
		expect("it fails", "0s blocked restores/web", "1m0s blocked restores/web", "3m0s blocked restores/web", "7m0s blocked restores/web", "15m0s blocked restores/web")
		lines, count := n.Undelivered()
		text := strings.Join(lines, "\n")
		if kept, of := notify.Undelivered(dir, "command"); strings.Join(kept, "\n") != text || of != count || count != 1 {
			t.Errorf("shown: %q (%d), kept: %q (%d)", text, count, kept, of)
		}
		if !strings.HasPrefix(text, "1 notification is not delivered, since ") || !strings.Contains(text, "could not resolve host") || strings.Contains(text, "\x1b") {
			t.Errorf("shown: %q", text)
		}
		stop()

		n, stop = run()
		n.Pass(blocked(), nil)
		time.Sleep(20 * time.Minute)
		expect("after a restart", "31m0s blocked restores/web")
		n.Pass(at(), nil) // it recovers, and nobody heard of it before
		time.Sleep(40 * time.Minute)
		expect("only the newest", "40m0s recovered restores/web", "41m0s recovered restores/web", "43m0s recovered restores/web", "47m0s recovered restores/web", "55m0s recovered restores/web", "1h11m0s recovered restores/web")
		mu.Lock()
		down = false
		mu.Unlock()
		time.Sleep(3 * time.Hour)
		expect("it is taken, once", "1h43m0s recovered restores/web")
		if text, count := n.Undelivered(); len(text) != 0 || count != 0 {
			t.Errorf("all is well, but: %q, %d", text, count)
		}
		stop()
	})
}

// A notice that an earlier version kept still has its fix.
func TestNotifyReadsOldKeys(t *testing.T) {
	for _, key := range []string{"do", "fix"} {
		dir := t.TempDir()
		if err := writeFile(filepath.Join(dir, "told.json"), `{"format":1,"waiting":[{"notice":{"event":"failed","object":"a","`+key+`":["pct start 201"]},"since":"2026-01-01T00:00:00Z","tries":0}]}`); err != nil {
			t.Fatal(err)
		}
		n := testNotifier(t, dir)
		heard := make(chan notify.Notice, 1)
		n.SetCall(func(got notify.Notice) error { heard <- got; return nil })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { n.Run(ctx); close(done) }()
		got := <-heard
		if cancel(); got.Object != "a" || !slices.Equal(got.Do, []string{"pct start 201"}) {
			t.Errorf("with %q the notice is %+v", key, got)
		}
		<-done
	}
}

// A state that somebody has damaged, and a clock that was put back, keep nothing from being told.
func TestNotifyOddState(t *testing.T) {
	dir := t.TempDir()
	for _, kept := range []string{
		"", "{", "[]", `{"format":1,"waiting":[null]}`, `{"format":2}`,
		`{"format":1,"waiting":[{"notice":{"event":"failed","object":"a"},"tries":3,"next":"2099-01-01T00:00:00Z"}],"failing":{"since":"2099-01-01T00:00:00Z","why":"x"}}`,
	} {
		if err := writeFile(filepath.Join(dir, "told.json"), kept); err != nil {
			t.Fatal(err)
		}
		n := testNotifier(t, dir)
		heard := make(chan string, 10)
		n.SetCall(func(got notify.Notice) error { heard <- got.Event; return nil })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { n.Run(ctx); close(done) }()
		n.Pass(planOf(time.Now(), []string{"restores/web"}, reconcile.Blocked{Object: ref("restores/web"), Reason: "no"}), nil)
		wanted := 1 + strings.Count(kept, `"failed"`)
		for range wanted {
			select {
			case <-heard:
			case <-time.After(time.Minute): // only a hang gets here
				t.Fatalf("with %s nothing was told", kept)
			}
		}
		cancel()
		<-done
	}
}
