package httpstatus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/exit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/source"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/systemd"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile"
)

// An Observer knows what a watching agent is doing, and tells those who look: the service manager, --status
// (through the state directory, after every change), Prometheus, and people with a browser. The agent's loop
// calls Pass and Event; it looks at nothing itself but disks and sensors, and at these only when somebody asks.
type Observer struct {
	Node     *session.Session
	Src      *source.Source
	Manager  *systemd.Supervisor
	registry *prometheus.Registry
	counts   counts
	hardware Aged[Hardware]
	NoFence  string // why there is no root helper
	// undelivered says what those did not take that are to be told, and how many notices that are.
	undelivered func() (lines []string, count int)

	Mu        sync.Mutex
	began     time.Time
	name      string // of the node, as far as the last pass knew it: Node.Source is of the goroutine that makes passes
	Agent     *reconcile.Agent
	Plan      *reconcile.Plan            // of the last pass that could look
	Failed    string                     // why the last one could not
	Trouble   string                     // the same, and when it is tried again
	converged time.Time                  // when all was as declared, by the node's clock
	next      time.Time                  // when the next look is due at the latest; zero: the loop has not begun
	Running   map[string]reconcile.Event // the last that was heard of each, by progressKey
	leases    []session.Lease
	written   time.Time // the status
	reloading bool
	deaf      bool // PVE does not accept the token: the loop waits, whatever nudges
}

func NewObserver(n *session.Session, src *source.Source) *Observer {
	o := &Observer{Node: n, Src: src, Manager: systemd.NewSupervisor(), NoFence: n.Source.FenceReason, began: time.Now(), name: n.Source.Node, Running: map[string]reconcile.Event{}}
	o.hardware = Aged[Hardware]{Read: o.readHardware, Good: time.Minute, Bad: time.Minute, Limit: 20 * time.Second}
	o.undelivered = func() ([]string, int) { return nil, 0 }
	o.registry = o.Metrics()
	o.write()
	return o
}

// Run tells the service manager that we are there, and serves where the configuration says, until ctx ends.
func (o *Observer) Run(ctx context.Context) {
	o.Manager.Ready()
	if at := o.Node.Config.Listen; at.Network != "" {
		exit.Go(func() { o.Serve(ctx, at) })
	}
	o.Manager.Watch(ctx, o.Alive, o.tell)
}

// Reload tells that somebody asked for a look (SIGHUP). The next pass ends it.
func (o *Observer) Reload() {
	o.Mu.Lock()
	defer o.Mu.Unlock()
	o.Manager.Reloading()
	if o.reloading = !o.next.IsZero() && !o.deaf; !o.reloading { // no pass is to come
		o.Manager.Ready()
	}
}

// Notified shows what those do not take that are to be told, from now on.
func (o *Observer) Notified(undelivered func() (lines []string, count int)) {
	o.Mu.Lock()
	o.undelivered = undelivered
	o.Mu.Unlock()
	o.write()
}

// Refresh writes the status again, after something that is no event of the agent's.
func (o *Observer) Refresh() { o.write() }

// Pass takes over what a pass has found, that nothing has changed since, or why it could not look, and how long the loop waits at most for the
// next one.
func (o *Observer) Pass(agent *reconcile.Agent, plan *reconcile.Plan, wait time.Duration, err error) {
	o.Mu.Lock()
	o.Agent, o.name = agent, o.Node.Source.Node
	o.Failed, o.Trouble = "", ""
	if err != nil {
		why := o.Node.Explain(err)
		o.Failed, o.Trouble = oneSentence(why), oneSentence(nextTry(why, wait))
		o.counts.passes.WithLabelValues("failed").Inc()
	} else {
		o.Plan = plan
		if plan.Header.Unchanged.IsZero() {
			o.counts.passes.WithLabelValues("ok").Inc()
			o.counts.requests.Add(float64(plan.Header.Requests))
		} else {
			o.counts.passes.WithLabelValues("unchanged").Inc()
		}
		if len(plan.AsDeclared()) == len(plan.Objects) {
			o.converged = plan.Header.AsOf()
		}
	}
	o.deaf = proxmox.IsUnauthorized(err)
	o.next = time.Now().Add(wait)
	reloaded := o.reloading
	o.reloading = false
	o.Mu.Unlock()
	if reloaded {
		o.Manager.Ready()
	}
	o.tell()
	o.write()
}

// oneSentence is an error in one line.
func oneSentence(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// Event takes over what became of an operation.
func (o *Observer) Event(e reconcile.Event) {
	key := progressKey(e.Object.String(), e.Verb, e.UPID)
	o.Mu.Lock()
	soon := e.State == "running" && time.Since(o.written) < statusPace
	switch e.State {
	case "started", "adopted", "running":
		o.Running[key] = e
	default:
		delete(o.Running, key)
	}
	switch e.State {
	case "ok", "FAILED", "REFUSED":
		result := strings.ToLower(e.State)
		o.counts.actions.WithLabelValues(e.Verb, result).Inc()
		if e.UPID != "" {
			o.counts.seconds.WithLabelValues(e.Verb, result).Observe(e.Elapsed.Seconds())
		}
	}
	o.Mu.Unlock()
	if !soon {
		o.write()
	}
}

// lookTime is how long a look may take: PVE gives up on a request after 30 s, and we after 40 s; some are
// repeated.
const readTime = 5 * time.Minute

// Alive reports whether looks come when they are due. While the loop has not begun, for want of a valid
// YAML or of a node, there is nothing that could be late.
func (o *Observer) Alive() bool {
	o.Mu.Lock()
	defer o.Mu.Unlock()
	return o.next.IsZero() || time.Now().Before(o.next.Add(o.Node.Config.Timeout+readTime))
}

// Line is the state in one line: "converged 6 of 6, next look at 18:17".
func (o *Observer) Line() string {
	mistakes := o.Src.Mistakes()
	o.Mu.Lock()
	defer o.Mu.Unlock()
	var parts []string
	if o.Plan != nil && len(o.Plan.Running) > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d so far", len(o.Plan.AsDeclared()), len(o.Plan.Objects)))
	} else if o.Plan != nil {
		parts = append(parts, fmt.Sprintf("converged %d of %d", len(o.Plan.AsDeclared()), len(o.Plan.Objects)))
	}
	switch {
	case o.Failed != "":
		parts = append(parts, o.Failed)
	case len(mistakes) > 0 && o.Plan == nil:
		parts = append(parts, "waiting for a valid desired state: "+strings.TrimSuffix(mistakes[0], "."))
	case len(mistakes) > 0:
		parts = append(parts, "an edit is not valid and was ignored: "+strings.TrimSuffix(mistakes[0], "."))
	case o.Plan == nil:
		parts = append(parts, "waiting for the first refresh")
	}
	if n := len(o.Running); n > 0 {
		parts = append(parts, session.Plural(n, "task runs", "tasks run"))
	}
	if !o.next.IsZero() {
		zone := time.Local
		if o.Plan != nil {
			zone = o.Plan.Header.Refreshed.Location()
		}
		parts = append(parts, "next refresh at "+o.next.In(zone).Format("15:04"))
	}
	return strings.Join(parts, ", ")
}

func (o *Observer) tell() { o.Manager.Say(o.Line()) }

// Health is the line and whether all is well with us (not: with the node's guests).
func (o *Observer) Health() (string, bool) {
	text := o.Line()
	alive := o.Alive()
	o.Mu.Lock()
	defer o.Mu.Unlock()
	switch {
	case !alive:
		return "overdue: " + text, false
	case o.Failed != "" || o.Plan == nil:
		return text, false
	}
	if need := needing(ObjectStates(o.Plan)); len(need) > 0 {
		return fmt.Sprintf("%d of %d need you: %s", len(need), len(o.Plan.Objects), text), true
	}
	return "ok: " + text, true
}

// needs are the objects of the last plan that wait for a person.
func (o *Observer) needs() []ObjectState {
	o.Mu.Lock()
	defer o.Mu.Unlock()
	if o.Plan == nil {
		return nil
	}
	return needing(ObjectStates(o.Plan))
}

// needing are the objects that wait for a person: what failed, is overdue or is blocked.
func needing(all []ObjectState) []ObjectState {
	return slices.DeleteFunc(slices.Clone(all), func(s ObjectState) bool { return slices.Index(states, s.State) >= slices.Index(states, "running") })
}

// nextTry says when an error that lasts is looked at again, where that is a while.
func nextTry(err error, wait time.Duration) error {
	if err == nil || wait < time.Minute {
		return err
	}
	return fmt.Errorf("%w; next try %s", err, time.Now().Add(wait).Format("15:04"))
}
