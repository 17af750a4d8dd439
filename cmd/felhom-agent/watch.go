package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// runWatch stays, and converges on every edit, against drift, and whenever something is due.
func runWatch(ctx context.Context, cmd *command, con *console) (code int, err error) {
	n, err := connect(ctx, cmd, con, true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.onlyService(); err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	src := &source{path: cmd.path, read: cmd.load, told: func(text string) { fmt.Fprintln(con.stdout, text) }}
	nudge := make(chan struct{}, 1)
	var agent *reconcile.Agent
	var mu sync.Mutex // guards agent
	poke := func() {
		mu.Lock()
		defer mu.Unlock()
		if agent != nil {
			agent.Nudge()
		}
		select {
		case nudge <- struct{}{}:
		default:
		}
	}
	spawn(func() {
		if err := spec.Watch(ctx, cmd.path, poke); err != nil && ctx.Err() == nil {
			n.log.Error("edits are not seen any more, only looked for every interval", zap.Error(err))
		}
	})
	seen := newObserver(n, src)
	defer seen.manager.stopping()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	spawn(func() { seen.Run(ctx) }) // ready: from now on a SIGHUP is understood
	spawn(func() {
		for range reload {
			seen.Reload()
			poke()
		}
	})

	notify := newNotifier(n)
	if err := n.config.notify.look(); err != nil {
		src.told(untold(err))
	}
	spawn(func() { notify.Run(ctx) })
	if !src.await(ctx, nudge, n.config.interval) || !n.reach(ctx, func(wait time.Duration, err error) {
		seen.Pass(nil, nil, wait, err)
		notify.Pass(nil, n.explain(err))
	}) {
		return exitOK, nil
	}
	want := src.load()
	if n.sight.Only, err = named(want, "--only", cmd.only); err != nil {
		return 0, err
	}
	report := &watchReport{con: con, text: con.text(cmd, n.sight.Only)}
	report.progress = reconcile.NewProgress(con.stdout, report.text)
	mu.Lock()
	agent = reconcile.New(n.options("--watch", func(e reconcile.Event) { report.event(e); seen.Event(e) }))
	mu.Unlock()
	spawn(func() { watchHolds(ctx, n, poke) })
	spawn(func() {
		n.watchLeases(ctx, func(all []lease, now time.Time) {
			for _, line := range warnings(all, now) {
				src.told(line)
			}
			seen.expiring(all)
			notify.expiring(all, now)
		})
	})
	fmt.Fprintf(con.stdout, "watching %s for %s\n", cmd.path, n.sight.Node)
	return exitOK, agent.Watch(ctx, n.config.interval, src.load, func(plan *reconcile.Plan, wait time.Duration, err error) {
		why := n.explain(err)
		report.passed(plan, why) // what is printed stands there when the service manager hears of it
		seen.Pass(agent, plan, wait, err)
		notify.Pass(plan, why)
	})
}

// nextTry says when an error that lasts is looked at again, where that is a while.
func nextTry(err error, wait time.Duration) error {
	if err == nil || wait < time.Minute {
		return err
	}
	return fmt.Errorf("%w; next try %s", err, time.Now().Add(wait).Format("15:04"))
}

// reach waits until the node can be asked who it is, and says once why it cannot. At boot we may be there
// before PVE's API is.
func (n *node) reach(ctx context.Context, failed func(wait time.Duration, err error)) bool {
	for told := ""; ; {
		err := n.find(ctx)
		if err == nil {
			return true
		}
		pause := 15 * time.Second
		if proxmox.IsUnauthorized(err) {
			pause = 5 * time.Minute
		}
		if ctx.Err() == nil {
			failed(pause, err)
			if text := n.explain(err).Error(); text != told {
				told = text
				n.log.Error("the node cannot be reached; trying on", zap.String("error", text), zap.Duration("every", pause))
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}

// A source is the desired state in force: what PATH says, or said when it was last valid.
type source struct {
	path string
	read func() (*spec.Desired, error)
	told func(text string)

	mu     sync.Mutex
	good   *spec.Desired
	seen   string // the fingerprint of what was looked at last
	broken string // what is wrong with it now
}

// load returns the desired state in force, after a look whether the files have changed. A broken edit is
// told of once, and changes nothing.
func (s *source) load() *spec.Desired {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, err := spec.Fingerprint(s.path)
	if err != nil {
		seen = err.Error()
	}
	if seen == s.seen {
		return s.good
	}
	s.seen = seen
	want, err := s.read()
	switch {
	case err != nil:
		var text strings.Builder
		writeErrors(&text, err)
		s.broken = strings.TrimSpace(text.String())
		if s.good != nil {
			fmt.Fprintf(&text, "The last valid state stays in force.")
		} else {
			fmt.Fprintf(&text, "Nothing is done until it is valid.")
		}
		s.told(text.String())
	default:
		if s.broken != "" {
			s.told(fmt.Sprintf("%s is valid again.", s.path))
		}
		s.good, s.broken = want, ""
	}
	return s.good
}

// mistakes are what is wrong with the files now, a line each.
func (s *source) mistakes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == "" {
		return nil
	}
	return strings.Split(s.broken, "\n")
}

// await waits for a first valid state.
func (s *source) await(ctx context.Context, nudge <-chan struct{}, interval time.Duration) bool {
	for s.load() == nil {
		select {
		case <-ctx.Done():
			return false
		case <-nudge:
		case <-time.After(interval):
		}
	}
	return true
}

// A watchReport tells of the passes of a watching agent, without repeating itself.
type watchReport struct {
	con      *console
	text     reconcile.TextOptions
	progress *reconcile.Progress

	mu      sync.Mutex
	closing string // the last one told
	failed  string
}

func (w *watchReport) event(e reconcile.Event) { w.progress.Event(e) }

// trouble is what is wrong in words that stay the same while it lasts: of the requests of a look, which go out
// together, a different one fails first each time.
func trouble(err error) string { return request.ReplaceAllString(err.Error(), "") }

var request = regexp.MustCompile(`\b(GET|POST|PUT|DELETE) /\S+: `)

// passed tells how far it is, whenever that is news.
func (w *watchReport) passed(plan *reconcile.Plan, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		if text := trouble(err); text != w.failed {
			w.failed = text
			writeErrors(w.con.stderr, err)
		}
		return
	}
	if w.failed != "" {
		w.failed = ""
		w.con.say("%s answers again", plan.Header.Node)
	}
	if len(plan.Actions) > 0 {
		return // its acts are told of one by one
	}
	var b strings.Builder
	report := reconcile.Report{Plan: plan}
	reconcile.WriteReport(&b, &report, w.text)
	if text := b.String(); text != w.closing {
		w.closing = text
		fmt.Fprint(w.con.stdout, text)
	}
}
