package notify_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/config"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/notify"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/reconcile"
)

func notifierOf(t *testing.T, dir, text string) *notify.Notifier {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	c, err := config.ParseNotify(doc.Content[0])
	if err != nil {
		t.Fatal(err)
	}
	return notify.NewNotifier(&session.Session{Config: &config.Config{Notify: c}, State: dir, Log: zap.NewNop()})
}

// hearing notes who was told what, and when.
type hearing struct {
	mu    sync.Mutex
	start time.Time
	down  map[string]bool
	heard []string
}

func (h *hearing) call(to string, n notify.Notice) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard = append(h.heard, fmt.Sprintf("%s %s: %s %s", time.Since(h.start).Truncate(time.Minute), to, n.Event, n.Object))
	if h.down[to] {
		return errors.New("connection refused")
	}
	return nil
}

// set says whether one of them is down from now on.
func (h *hearing) set(to string, down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down[to] = down
}

func (h *hearing) expect(t *testing.T, what string, want ...string) {
	t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.Sort(h.heard)
	slices.Sort(want)
	if strings.Join(h.heard, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s: heard\n%s\nwant\n%s", what, strings.Join(h.heard, "\n"), strings.Join(want, "\n"))
	}
	h.heard = nil
}

const twoServices = `{command: /bin/true, services: [{type: ntfy, url: "https://ntfy.example.org/house"}, {type: smtp, server: "mail.example.org:587", from: a@example.org, to: b@example.org}]}`

// A service that is down keeps nothing from the others; what it missed it hears once, also over a restart. What waits for a
// service that is not configured any more is dropped.
func TestServicesApart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := &hearing{start: time.Now(), down: map[string]bool{"smtp": true}}
		run := func(text string) (n *notify.Notifier, stop func()) {
			n = notifierOf(t, dir, text)
			n.SetCalls(h.call)
			ctx, cancel := context.WithCancel(t.Context())
			go n.Run(ctx)
			return n, func() { cancel(); n.Wait() }
		}
		blocked := planOf(time.Now().UTC(), []string{"restores/web"}, reconcile.Blocked{Object: ref("restores/web"), Reason: "no disk"})
		n, stop := run(twoServices)
		n.Pass(blocked, nil)
		time.Sleep(2 * time.Minute)
		h.expect(t, "smtp is down", "0s command: blocked restores/web", "0s ntfy: blocked restores/web", "0s smtp: blocked restores/web", "1m0s smtp: blocked restores/web")
		lines, count := n.Undelivered()
		if len(lines) != 1 || count != 1 || !strings.HasPrefix(lines[0], "1 notification is not delivered to smtp, since ") || !strings.HasSuffix(lines[0], ": connection refused. fix: correct notify; felhom-agent --selftest=notify tests it") {
			t.Errorf("shown: %q, %d", lines, count)
		}
		stop()
		if kept, _ := notify.Undelivered(dir, "command", "ntfy"); len(kept) != 0 {
			t.Errorf("of those that heard it is kept: %q", kept)
		}
		n, stop = run(twoServices)
		n.Pass(blocked, nil)
		time.Sleep(30 * time.Second)
		h.expect(t, "just after a restart, before it is tried again")
		h.set("smtp", false)
		time.Sleep(5 * time.Minute)
		h.expect(t, "smtp is up", "3m0s smtp: blocked restores/web")
		if lines, count := n.Undelivered(); len(lines) != 0 || count != 0 {
			t.Errorf("shown: %q, %d", lines, count)
		}
		h.set("smtp", true)
		n.Pass(planOf(time.Now().UTC(), []string{"restores/web"}), nil)
		time.Sleep(time.Second)
		stop()
		_, stop = run(`{command: /bin/true}`)
		time.Sleep(3 * time.Hour)
		stop()
		h.expect(t, "without services", "7m0s command: recovered restores/web", "7m0s ntfy: recovered restores/web", "7m0s smtp: recovered restores/web")
		_, stop = run(twoServices)
		time.Sleep(3 * time.Hour)
		h.expect(t, "with a service that came back")
		stop()
	})
}

// What waits is bounded, in memory and in its file, and the number that was given up is shown.
func TestServicesFlood(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := &hearing{start: time.Now(), down: map[string]bool{"ntfy": true}}
		n := notifierOf(t, dir, `{services: [{type: ntfy, url: "https://ntfy.example.org/house"}]}`)
		n.SetCalls(h.call)
		ctx, cancel := context.WithCancel(t.Context())
		go n.Run(ctx)
		var objects []string
		var held []reconcile.Blocked
		for i := range notify.NotifyWaiting + 100 {
			objects = append(objects, fmt.Sprintf("restores/ct%d", i))
			held = append(held, reconcile.Blocked{Object: ref(objects[i]), Reason: fmt.Sprint("no disk ", i)})
		}
		n.Pass(planOf(time.Now().UTC(), objects, held...), nil)
		time.Sleep(time.Second)
		cancel()
		n.Wait()
		lines, count := notify.Undelivered(dir, "ntfy")
		if count != notify.NotifyWaiting || len(lines) != 1 || !strings.Contains(lines[0], "100 more given up: connection refused") {
			t.Errorf("%d wait: %q", count, lines)
		}
		if info, err := os.Stat(filepath.Join(dir, "told.json")); err != nil || info.Size() > notify.NotifyWaiting<<10 {
			t.Errorf("%v, %v", info, err)
		}
	})
}

// The dead man's switch hears of each pass how it ended, at most once a minute while that stays the same, and alone hears of that.
// While the node is away for a short time it hears nothing; while it is away for long, that all is not well.
func TestPing(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := &hearing{start: time.Now(), down: map[string]bool{}}
		n := notifierOf(t, dir, `{services: [{type: ntfy, url: "https://ntfy.example.org/house"}], ping: {url_file: /etc/felhom-agent/ping}}`)
		n.SetCalls(h.call)
		ctx, cancel := context.WithCancel(t.Context())
		go n.Run(ctx)
		passes := func(d time.Duration, plan func() *reconcile.Plan, err error, every ...time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(append(every, 15*time.Second)[0]) {
				n.Pass(plan(), err)
			}
		}
		objects := []string{"restores/web"}
		fine := func() *reconcile.Plan { return planOf(time.Now().UTC(), objects) }
		with := func(kind reconcile.BlockedKind) func() *reconcile.Plan {
			return func() *reconcile.Plan {
				return planOf(time.Now().UTC(), objects, reconcile.Blocked{Object: ref("restores/web"), Kind: kind, Reason: "start failed"})
			}
		}
		passes(2*time.Minute, fine, nil)
		h.expect(t, "all is well", "0s ping: well ", "1m0s ping: well ")
		passes(time.Minute, with(reconcile.BlockedFailed), nil)
		h.expect(t, "an object failed", "2m0s ping: not well ", "2m0s ntfy: failed restores/web")
		passes(time.Minute, with(""), nil)
		h.expect(t, "one is blocked, and the switch still knows that the agent lives", "3m0s ping: well ", "3m0s ntfy: blocked restores/web")
		down := errors.New("pve1 does not answer")
		passes(6*time.Minute, func() *reconcile.Plan { return nil }, down)
		h.expect(t, "the node is away", "9m0s ping: not well ", "9m0s ntfy: failed node")
		h.set("ping", true)
		passes(2*time.Minute, fine, nil, 14*time.Second) // so that no pass comes with a repetition
		time.Sleep(2 * time.Minute)
		h.expect(t, "the switch does not answer: only the newest is repeated", "10m0s ping: well ", "10m0s ntfy: recovered node", "10m0s ntfy: recovered restores/web", "11m0s ping: well ", "11m0s ping: well ", "12m0s ping: well ")
		cancel()
		n.Wait()
		again := notifierOf(t, dir, `{ping: {url_file: /etc/felhom-agent/ping}}`)
		again.SetCalls(h.call)
		ctx, cancel = context.WithCancel(t.Context())
		go again.Run(ctx)
		time.Sleep(3 * time.Hour)
		h.expect(t, "a ping of an earlier process says nothing")
		cancel()
		again.Wait()
	})
}
