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

	"github.com/felhom/felhom-agent/cmd/felhom-agent/console"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/httpstatus"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/notify"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/recovery"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/source"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/systemd"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// runWatch stays, and converges on every edit, against drift, and whenever something is due.
func runWatch(ctx context.Context, cmd *command, con *console.Console) (code int, err error) {
	n, err := connect(ctx, cmd, con, true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := onlyService(n); err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	src := &source.Source{Path: cmd.path, Read: cmd.load, Told: func(text string) { fmt.Fprintln(con.Stdout, text) }}
	wake := &waker{nudge: make(chan struct{}, 1)}
	exit.Go(func() { watchEdits(ctx, n, cmd.path, wake.poke) })
	seen := httpstatus.NewObserver(n, src)
	defer seen.Manager.Stopping()
	present(ctx, seen, wake.poke)
	notify := tell(ctx, n, src, seen)
	defer func() { stop(); notify.Wait() }() // before the state is closed: what is being told is noted
	if !src.Await(ctx, wake.nudge, n.Config.Interval) || !reach(ctx, n, func(wait time.Duration, err error) {
		seen.Pass(nil, nil, wait, err)
		notify.Pass(nil, n.Explain(err))
	}) {
		return exit.OK, nil
	}
	want := src.Load()
	only, err := selected(want, cmd.only)
	if err != nil {
		return 0, err
	}
	n.Source.Only, n.Source.Fitting = only.refs, only.fitting
	report := &watchReport{con: con, text: textOptions(con, cmd, n.Source.Only)}
	report.progress = reconcile.NewProgress(con.Stdout, report.text)
	agent := reconcile.New(optionsOf(n, "--watch", func(e reconcile.Event) { report.event(e); seen.Event(e) }))
	wake.up(agent)
	exit.Go(func() { watchHolds(ctx, n, wake.poke) })
	exit.Go(func() { watchExpiry(ctx, n, src, seen, notify) })
	keeper := recovery.NewKeeper(n)
	keeper.Kept = seen.Refresh
	exit.Go(func() { keeper.Run(ctx) })
	load := func() *spec.Desired { want = src.Load(); return want }
	fmt.Fprintf(con.Stdout, "watching %s for %s\n", cmd.path, n.Source.Node)
	return exit.OK, agent.Watch(ctx, n.Config.Interval, load, func(plan *reconcile.Plan, wait time.Duration, err error) {
		why := n.Explain(err)
		read := plan != nil && plan.Header.Unchanged.IsZero()
		if read {
			passedOn(report.progress, n, plan, report.text)
		}
		report.passed(plan, why) // what is printed stands there when the service manager hears of it
		seen.Pass(agent, plan, wait, err)
		notify.Pass(plan, why)
		origin, _ := source.OriginOf(cmd.path)
		notify.Pulled(origin.Trouble())
		if read { // else nothing of what a kit is made of has changed
			keeper.Pass(recovery.See(agent, plan, cmd.path, want))
		}
	})
}

// A waker has the node looked at anew: by the agent, once there is one, or by whoever waits for it.
type waker struct {
	nudge chan struct{}
	mu    sync.Mutex // guards agent
	agent *reconcile.Agent
}

// up says that from now on it is this agent that looks.
func (w *waker) up(agent *reconcile.Agent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.agent = agent
}

func (w *waker) poke() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.agent != nil {
		w.agent.Nudge()
	}
	select {
	case w.nudge <- struct{}{}:
	default:
	}
}

// watchEdits pokes whenever the YAML was edited.
func watchEdits(ctx context.Context, n *session.Session, path string, poke func()) {
	if err := spec.Watch(ctx, path, poke); err != nil && ctx.Err() == nil {
		n.Log.Error("edits are no longer noticed at once, only at every interval", zap.Error(err))
	}
}

// present shows what is seen to the service manager and to those who ask, and obeys a SIGHUP.
func present(ctx context.Context, seen *httpstatus.Observer, poke func()) {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	exit.Go(func() { seen.Run(ctx) }) // ready: from now on a SIGHUP is understood
	exit.Go(func() {
		for range reload {
			seen.Reload()
			poke()
		}
	})
}

// tell makes the notifier, and says at once what it cannot deliver.
func tell(ctx context.Context, n *session.Session, src *source.Source, seen *httpstatus.Observer) *notify.Notifier {
	notify := notify.NewNotifier(n)
	for _, err := range n.Config.Notify.Unusable() {
		src.Told(source.Untold(err))
	}
	lines, _ := notify.Undelivered()
	for _, line := range lines {
		src.Told(line)
	}
	filtered := len(n.Config.Notify.Command) > 0 && systemd.LoopbackOnly()
	if filtered {
		src.Told(systemd.NotifyFiltered)
	}
	notify.Changed = seen.Refresh
	seen.Notified(func() ([]string, int) {
		lines, count := notify.Undelivered()
		if len(lines) > 0 && filtered {
			lines[0] += ". " + strings.ToUpper(systemd.NotifyFiltered[:1]) + systemd.NotifyFiltered[1:]
		}
		return lines, count
	})
	exit.Go(func() { notify.Run(ctx) })
	return notify
}

// watchExpiry says when the token or the certificate is about to expire.
func watchExpiry(ctx context.Context, n *session.Session, src *source.Source, seen *httpstatus.Observer, notify *notify.Notifier) {
	n.WatchLeases(ctx, func(all []session.Lease, now time.Time) {
		for _, line := range session.Warnings(all, now) {
			src.Told(line)
		}
		seen.Expiring(all)
		notify.Expiring(all, now)
	})
}

// reach waits until the node can be asked who it is, and says once why it cannot. At boot we may be there
// before PVE's API is.
func reach(ctx context.Context, n *session.Session, failed func(wait time.Duration, err error)) bool {
	for told := ""; ; {
		err := n.Find(ctx)
		if err == nil {
			return true
		}
		pause := 15 * time.Second
		if proxmox.IsUnauthorized(err) {
			pause = 5 * time.Minute
		}
		if ctx.Err() == nil {
			failed(pause, err)
			if text := n.Explain(err).Error(); text != told {
				told = text
				n.Log.Error("the node cannot be reached; trying on", zap.String("error", text), zap.Duration("every", pause))
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}

// A watchReport tells of the passes of a watching agent, without repeating itself.
type watchReport struct {
	con      *console.Console
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
			source.WriteErrors(w.con.Stderr, err)
		}
		return
	}
	if w.failed != "" {
		w.failed = ""
		w.con.Say("%s answers again", plan.Header.Node)
	}
	if len(plan.Actions) > 0 {
		return // its acts are told of one by one
	}
	var b strings.Builder
	report := reconcile.Report{Plan: plan}
	reconcile.WriteReport(&b, &report, w.text)
	if text := b.String(); text != w.closing {
		w.closing = text
		fmt.Fprint(w.con.Stdout, text)
	}
}
