package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile"
)

// An observer knows what a watching agent is doing, and tells those who look: the service manager, --status
// (through the state directory, after every change), Prometheus, and people with a browser. The agent's loop
// calls Pass and Event; it looks at nothing itself but disks and sensors, and at these only when somebody asks.
type observer struct {
	node     *node
	src      *source
	manager  *supervisor
	registry *prometheus.Registry
	counts   counts
	hardware aged[hardware]
	noFence  string // why there is no root helper

	mu        sync.Mutex
	began     time.Time
	name      string // of the node; "" until the first look
	agent     *reconcile.Agent
	plan      *reconcile.Plan            // of the last pass that could look
	failed    string                     // why the last one could not
	trouble   string                     // the same, and when it is tried again
	converged time.Time                  // when all was as declared, by the node's clock
	next      time.Time                  // when the next look is due at the latest; zero: the loop has not begun
	running   map[string]reconcile.Event // the last that was heard of each, by progressKey
	leases    []lease
	written   time.Time // the status
	reloading bool
	deaf      bool // PVE does not accept the token: the loop waits, whatever nudges
}

func newObserver(n *node, src *source) *observer {
	o := &observer{node: n, src: src, manager: newSupervisor(), noFence: n.sight.FenceReason, began: time.Now(), running: map[string]reconcile.Event{}}
	o.hardware = aged[hardware]{look: o.lookHardware, good: time.Minute, bad: time.Minute, limit: 20 * time.Second}
	o.registry = o.metrics()
	o.write()
	return o
}

// Run tells the service manager that we are there, and serves where the configuration says, until ctx ends.
func (o *observer) Run(ctx context.Context) {
	o.manager.ready()
	if at := o.node.config.listen; at.network != "" {
		spawn(func() { o.Serve(ctx, at) })
	}
	o.manager.watch(ctx, o.alive, o.tell)
}

// Reload tells that somebody asked for a look (SIGHUP). The next pass ends it.
func (o *observer) Reload() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.manager.reloading()
	if o.reloading = !o.next.IsZero() && !o.deaf; !o.reloading { // no pass is to come
		o.manager.ready()
	}
}

// Pass takes over what a pass has found, or why it could not look, and how long the loop waits at most for the
// next one.
func (o *observer) Pass(agent *reconcile.Agent, plan *reconcile.Plan, wait time.Duration, err error) {
	o.mu.Lock()
	o.agent = agent
	o.failed, o.trouble = "", ""
	if err != nil {
		why := o.node.explain(err)
		o.failed, o.trouble = oneSentence(why), oneSentence(nextTry(why, wait))
		o.counts.passes.WithLabelValues("failed").Inc()
	} else {
		o.plan, o.name = plan, plan.Header.Node
		o.counts.passes.WithLabelValues("ok").Inc()
		o.counts.requests.Add(float64(plan.Header.Requests))
		if len(plan.AsDeclared()) == len(plan.Objects) {
			o.converged = plan.Header.Looked
		}
	}
	o.deaf = proxmox.IsUnauthorized(err)
	o.next = time.Now().Add(wait)
	reloaded := o.reloading
	o.reloading = false
	o.mu.Unlock()
	if reloaded {
		o.manager.ready()
	}
	o.tell()
	o.write()
}

// oneSentence is an error in one line.
func oneSentence(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// Event takes over what became of an act.
func (o *observer) Event(e reconcile.Event) {
	key := progressKey(e.Object.String(), e.Verb, e.UPID)
	o.mu.Lock()
	soon := e.State == "running" && time.Since(o.written) < statusPace
	switch e.State {
	case "started", "adopted", "running":
		o.running[key] = e
	default:
		delete(o.running, key)
	}
	switch e.State {
	case "ok", "FAILED", "REFUSED":
		result := strings.ToLower(e.State)
		o.counts.actions.WithLabelValues(e.Verb, result).Inc()
		if e.UPID != "" {
			o.counts.seconds.WithLabelValues(e.Verb, result).Observe(e.Elapsed.Seconds())
		}
	}
	o.mu.Unlock()
	if !soon {
		o.write()
	}
}

// lookTime is how long a look may take: PVE gives up on a request after 30 s, and we after 40 s; some are
// repeated.
const lookTime = 5 * time.Minute

// alive reports whether looks come when they are due. While the loop has not begun, for want of a valid
// YAML or of a node, there is nothing that could be late.
func (o *observer) alive() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next.IsZero() || time.Now().Before(o.next.Add(o.node.config.timeout+lookTime))
}

// line is the state in one line: "converged 6 of 6, next look at 18:17".
func (o *observer) line() string {
	mistakes := o.src.mistakes()
	o.mu.Lock()
	defer o.mu.Unlock()
	var parts []string
	if o.plan != nil {
		parts = append(parts, fmt.Sprintf("converged %d of %d", len(o.plan.AsDeclared()), len(o.plan.Objects)))
	}
	switch {
	case o.failed != "":
		parts = append(parts, o.failed)
	case len(mistakes) > 0 && o.plan == nil:
		parts = append(parts, "waiting for a valid desired state: "+strings.TrimSuffix(mistakes[0], "."))
	case len(mistakes) > 0:
		parts = append(parts, "an edit is not valid and was not taken over: "+strings.TrimSuffix(mistakes[0], "."))
	case o.plan == nil:
		parts = append(parts, "waiting for the first look at the node")
	}
	if n := len(o.running); n > 0 {
		parts = append(parts, plural(n, "task runs", "tasks run"))
	}
	if !o.next.IsZero() {
		zone := time.Local
		if o.plan != nil {
			zone = o.plan.Header.Looked.Location()
		}
		parts = append(parts, "next look at "+o.next.In(zone).Format("15:04"))
	}
	return strings.Join(parts, ", ")
}

func (o *observer) tell() { o.manager.say(o.line()) }

// health is the line and whether all is well with us (not: with the node's guests).
func (o *observer) health() (string, bool) {
	text := o.line()
	alive := o.alive()
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case !alive:
		return "overdue: " + text, false
	case o.failed != "" || o.plan == nil:
		return text, false
	}
	return "ok: " + text, true
}
