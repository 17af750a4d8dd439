package applying

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

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
	nonce    string
	vmid     proxmox.VMID
	probes   []privileged.Probe
	declared bool      // in the YAML; else systemd is asked
	asked    time.Time // when PVE was asked last; zero: not yet
	blind    bool      // nothing could look into it the last time
	down     bool      // the last probes found nothing that runs
	unheard  bool      // no pass has heard yet that it was started
	left     time.Duration
	least    time.Duration
	uptime   time.Duration // the longest that was seen
}

func (p *probing) ask(ctx context.Context) journal.TestProbes {
	end := time.Now().Add(p.left)
	if p.unheard { // where it takes a while, it is told before
		soon := time.AfterFunc(leastUptime, p.flights.Nudge)
		defer soon.Stop()
	}
	for {
		found, last := p.once(ctx)
		if found.Verdict != "" {
			return found
		}
		pace := probePace
		if p.blind {
			pace = max(pace, p.least-p.uptime)
		}
		pace = min(pace, time.Until(end))
		if pace <= 0 || ctx.Err() != nil {
			return last
		}
		select {
		case <-ctx.Done():
		case <-time.After(pace):
		}
	}
}

// once asks everything once. last is the verdict where the time is over. PVE is asked about a guest into which nothing looks,
// and else when the probes are bad for the first time, when they find nothing that runs, and when they are good at last: it
// may have restarted meanwhile.
func (p *probing) once(ctx context.Context) (found, last journal.TestProbes) {
	if p.blind = p.O.Fence == nil; !p.blind {
		found, last = p.inside(ctx)
		if !p.blind && (found.Verdict == state.VerdictWorks && p.asked.IsZero() || found.Verdict == "" && !p.asked.IsZero() && !p.down) {
			return found, last
		}
	}
	status, err := p.O.Client.GuestStatus(ctx, p.O.Node, p.vmid)
	switch {
	case proxmox.IsNotFound(err):
		return verdict(state.VerdictUnverified, "its test guest is gone"), last
	case err != nil:
		return journal.TestProbes{}, verdict(state.VerdictUnverified, "PVE does not say how it is: "+plainError(err))
	case !status.Running():
		return verdict(state.VerdictFails, "it stopped by itself"), last
	case !p.asked.IsZero() && (status.Uptime < p.uptime || status.Uptime+probePace < p.uptime+time.Since(p.asked)):
		return verdict(state.VerdictFails, "it restarted by itself"), last
	}
	p.uptime, p.asked = status.Uptime, time.Now()
	if p.blind {
		return p.upOnly()
	}
	return found, last
}

// inside asks the probes.
func (p *probing) inside(ctx context.Context) (found, last journal.TestProbes) {
	p.down = false
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
			p.blind = true
			return found, last
		case !v.Good:
			p.down = p.down || strings.Contains(v.Says, notRunning)
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

// What the root helper says of a guest with another init, and of one that does not run.
const (
	notSystemd = "its init is not systemd"
	notRunning = "it does not run"
)

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
