package applying

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// A tester probes the guests of restore tests that were started, in goroutines of its own. It only asks.
type tester struct {
	*tools

	mu      sync.Mutex
	watched map[string]*watched           // guarded changes, by plan.Watch.Key
	found   map[string]journal.TestProbes // by the nonce of the test
	asks    map[string]bool
}

func newTester(t *tools) *tester {
	return &tester{tools: t, watched: map[string]*watched{}, found: map[string]journal.TestProbes{}, asks: map[string]bool{}}
}

// asking reports whether a test guest is being probed, or no pass has heard yet of what was found out.
func (t *tester) asking() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.watched {
		if !w.heard {
			return true
		}
	}
	return len(t.asks) > 0
}

// news reports whether something was found out of which no pass has heard.
func (t *tester) news() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for nonce := range t.found {
		if t.asks[nonce] {
			return true
		}
	}
	return false
}

// taskPace is how soon the end of a task is first asked for again; and where it is that of a real node, nobody waits for
// the tasks of a restore test, and they are asked for seldom.
const taskPace = 250 * time.Millisecond

func (w *waiter) paceOf(operation *journal.Operation) proxmox.WaitOptions {
	o := w.O.Wait
	if ofTest(operation) && o.Interval >= taskPace {
		o.First, o.Interval, o.Factor, o.Cap = 4*time.Second, 10*time.Second, 1.5, 30*time.Second
		if operation.Facts["makes"] != "" {
			o.First = 15 * time.Second
		}
		if w.age(operation) > o.First { // it may have ended long ago
			o.First = 0
		}
	}
	return o
}

// probe asks the test guests that run and of which nothing is known yet, and notes what was found out.
func (t *tester) probe(ctx context.Context, want *spec.Desired, have *node.Observed) {
	have.Memory.Probes = map[string]journal.TestProbes{}
	t.mu.Lock()
	defer t.mu.Unlock()
	for nonce := range t.found { // this pass hears of it
		delete(t.asks, nonce)
	}
	for _, test := range want.Tests {
		for _, run := range node.TestRuns(have, test) {
			if found, ok := t.found[run.Nonce]; ok {
				have.Memory.Probes[run.Nonce] = found
				continue
			}
			s := have.Guests[run.VMID]
			if t.asks[run.Nonce] || run.Verdict != "" || !run.Start.OK() || run.Open() || s == nil || s.Status != "running" || node.TestNonce(have, s) != run.Nonce {
				continue
			}
			t.asks[run.Nonce] = true
			p := &probing{tester: t, vmid: run.VMID, probes: probesOf(test, run.Made), declared: len(test.Probes) > 0, left: max(test.KeepAwake-have.Now.Sub(run.Start.Ended), 0), least: min(leastUptime, test.KeepAwake)}
			t.O.Go(func() {
				found := p.ask(ctx)
				t.mu.Lock()
				if t.found[run.Nonce] = found; ctx.Err() != nil {
					delete(t.found, run.Nonce)
					delete(t.asks, run.Nonce)
				}
				t.mu.Unlock()
				t.flights.Nudge()
			})
		}
	}
}

// probesOf are the probes of a test, of a backup that was made at a time. Without any, systemd is asked.
func probesOf(t *spec.Test, made time.Time) (all []privileged.Probe) {
	for _, p := range t.Probes {
		q := privileged.Probe{Kind: privileged.ProbeSystem}
		switch {
		case p.Unit != "":
			q = privileged.Probe{Kind: privileged.ProbeUnit, Name: p.Unit}
		case p.Process != "":
			q = privileged.Probe{Kind: privileged.ProbeProcess, Name: p.Process}
		case p.TCP != 0:
			q = privileged.Probe{Kind: privileged.ProbeTCP, Port: p.TCP}
		case p.HTTP != "":
			q = privileged.Probe{Kind: privileged.ProbeHTTP, Port: p.HTTPPort(), URL: p.HTTPPath(), Status: p.Status}
		case p.File != "":
			q = privileged.Probe{Kind: privileged.ProbeFile, File: p.File, SHA256: p.SHA256}
		case p.Newest != "":
			q = privileged.Probe{Kind: privileged.ProbeNewest, File: p.Newest}
		}
		if p.NewerThan > 0 {
			q.After = made.Add(-p.NewerThan)
		}
		all = append(all, q)
	}
	if len(all) == 0 {
		all = []privileged.Probe{{Kind: privileged.ProbeSystem}}
	}
	return all
}

const (
	probePace   = 5 * time.Second
	leastUptime = 30 * time.Second // that a guest must have which nothing can look into
)

// A probing asks one test guest until everything is as it must be, or its time is over.
type probing struct {
	*tester
	vmid     proxmox.VMID
	probes   []privileged.Probe
	declared bool // in the YAML; else systemd is asked
	left     time.Duration
	least    time.Duration
	uptime   time.Duration // the longest that was seen
}

func (p *probing) ask(ctx context.Context) journal.TestProbes {
	end := time.Now().Add(p.left)
	for {
		found, last := p.once(ctx)
		if found.Verdict != "" {
			return found
		}
		pace := min(probePace, time.Until(end))
		if pace <= 0 || ctx.Err() != nil {
			return last
		}
		select {
		case <-ctx.Done():
		case <-time.After(pace):
		}
	}
}

// once asks everything once. last is the verdict where the time is over.
func (p *probing) once(ctx context.Context) (found, last journal.TestProbes) {
	status, err := p.O.Client.GuestStatus(ctx, p.O.Node, p.vmid)
	switch {
	case proxmox.IsNotFound(err):
		return verdict(state.VerdictUnverified, "its test guest is gone"), last
	case err != nil:
		return found, verdict(state.VerdictUnverified, "PVE does not say how it is: "+plainError(err))
	case !status.Running():
		return verdict(state.VerdictFails, "it stopped by itself"), last
	case status.Uptime < p.uptime:
		return verdict(state.VerdictFails, "it restarted by itself"), last
	}
	p.uptime = status.Uptime
	if p.O.Fence == nil {
		return p.upOnly()
	}
	var bad []string
	for _, probe := range p.probes {
		v, err := privileged.ProbeGuest(ctx, p.O.Fence, p.O.Node, int(p.vmid), probe)
		var refused *privileged.RefusedError
		switch {
		case errors.As(err, &refused):
			return verdict(state.VerdictUnverified, strings.TrimSuffix(plainError(err)+". "+refused.Fix, ". ")), last
		case err != nil:
			return found, verdict(state.VerdictUnverified, "the root helper does not answer: "+plainError(err))
		case !v.Good && !p.declared && strings.Contains(v.Says, notSystemd):
			return p.upOnly()
		case !v.Good:
			bad = append(bad, v.Says)
		}
	}
	if len(bad) > 0 {
		return found, verdict(state.VerdictFails, strings.Join(bad, "; "))
	}
	found = verdict(state.VerdictWorks, "")
	if !p.declared {
		found.Probes = p.propose(ctx)
	}
	return found, last
}

// notSystemd is what the root helper says of a guest with another init.
const notSystemd = "its init is not systemd"

// upOnly is the verdict on a guest into which nothing looks.
func (p *probing) upOnly() (found, last journal.TestProbes) {
	if p.uptime >= p.least {
		return verdict(state.VerdictBoots, ""), last
	}
	return found, verdict(state.VerdictFails, fmt.Sprintf("it runs for %d s only", int(p.uptime.Seconds())))
}

func verdict(v state.Verdict, why string) journal.TestProbes {
	return journal.TestProbes{Verdict: v, Why: why}
}

// proposedAtMost bounds how many probes are proposed.
const proposedAtMost = 10

// propose writes the YAML of probes that a guest without any would pass: what listens, and which units are active.
func (p *probing) propose(ctx context.Context) string {
	survey, err := privileged.SurveyGuest(ctx, p.O.Fence, p.O.Node, int(p.vmid))
	if err != nil {
		return ""
	}
	var lines []string
	for _, port := range survey.Ports {
		lines = append(lines, fmt.Sprintf("- {tcp: %d}", port))
	}
	for _, unit := range survey.Units {
		lines = append(lines, fmt.Sprintf("- {unit: %s}", unit))
	}
	return strings.Join(lines[:min(len(lines), proposedAtMost)], "\n")
}

// ofTest reports whether an operation belongs to a restore test.
func ofTest(operation *journal.Operation) bool { return operation.Facts[journal.FactTest] != "" }

// tokenOf is the token with which an operation was sent.
func tokenOf(operation *journal.Operation, have *node.Observed) string {
	if ofTest(operation) {
		return have.Tests.TokenID
	}
	return have.TokenID
}
