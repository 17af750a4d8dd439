package planning

import (
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// goOn plans the next step of a test whose guest is there: start, stop with what was found out, delete. The guest is
// touched only where everything shows that this test has made it.
func goOn(p *planner, t *spec.Test, run *journal.TestRun) {
	o, s := &t.Object, p.Have.Guests[run.VMID]
	switch {
	case run.Open():
		return
	case s == nil:
		p.block(o, "vmids", fmt.Sprintf("the test guest %d of %s is on another node", run.VMID, run.Guest), fmt.Sprintf("if nothing needs it, delete it there: pct destroy %d", run.VMID))
		return
	case s.Err != nil:
		blockUnread(p, o, run.VMID, proxmox.LXC, s.Err)
		return
	}
	if missing := questions.TestGuards(p.Questions, t, run, s); len(missing) > 0 {
		leaveTest(p, t, run, s, missing)
		return
	}
	found := foundOut(p, run)
	running := s.Status == "running"
	switch {
	case running && run.Start == nil:
		leaveTest(p, t, run, s, []string{"it was started, and not by this test"})
	case running && found.Verdict == "": // it is being probed
	case running:
		p.add(testStep(p, t, run, journal.VerbTestStop, plan.Power, fmt.Sprintf("stop %d, the test guest of %s: %s", run.VMID, run.Guest, verdictText(found)), proxmox.On(p.Have.Node).Stop(run.VMID), found))
	case found.Verdict == "" && (run.Start == nil || run.Start.Result == journal.ResultLocked || run.Start.Result == journal.ResultUnsent || run.Start.Result == journal.ResultLost):
		p.add(testStep(p, t, run, journal.VerbTestStart, plan.Power, fmt.Sprintf("start %d, the test guest of %s", run.VMID, run.Guest), proxmox.On(p.Have.Node).Start(run.VMID), found))
	default:
		if found.Verdict == "" {
			found = journal.TestProbes{Verdict: state.VerdictFails, Why: "it stopped by itself"}
		}
		a := testStep(p, t, run, journal.VerbTestDestroy, plan.Delete, fmt.Sprintf("delete %d, the test guest of %s: %s", run.VMID, run.Guest, verdictText(found)), proxmox.On(p.Have.Node).DestroyGuest(run.VMID), found)
		a.Facts[journal.FactHostname], a.Facts[journal.FactDigest], a.Facts[journal.FactMarker] = s.Config.Hostname(), s.Config.Digest, node.NonceFact+"="+run.Nonce
		p.add(a)
	}
}

// foundOut is what is known of a test so far: what was written down, else what this process has seen.
func foundOut(p *planner, run *journal.TestRun) journal.TestProbes {
	switch {
	case run.Verdict != "":
		return journal.TestProbes{Verdict: run.Verdict, Why: run.Why, Probes: run.Probes}
	case run.Restore.Result == journal.ResultFailed:
		return journal.TestProbes{Verdict: state.VerdictFails, Why: "the restore failed: " + run.Restore.Text}
	case run.Start != nil && run.Start.Result == journal.ResultFailed:
		return journal.TestProbes{Verdict: state.VerdictFails, Why: "it does not start: " + run.Start.Text}
	case run.Start != nil && run.Start.Result == journal.ResultRefused:
		return journal.TestProbes{Verdict: state.VerdictUnverified, Why: "PVE refused to start it: " + run.Start.Text}
	}
	return p.Have.Memory.Probes[run.Nonce]
}

func verdictText(found journal.TestProbes) string {
	if found.Why == "" {
		return string(found.Verdict)
	}
	return string(found.Verdict) + ", " + found.Why
}

func testStep(p *planner, t *spec.Test, run *journal.TestRun, verb string, symbol plan.Symbol, text string, call proxmox.Call, found journal.TestProbes) plan.Action {
	facts := map[string]string{journal.FactTest: run.Nonce, journal.FactGuest: run.Guest, "storage": t.Storage}
	if found.Verdict != "" {
		facts[journal.FactVerdict], facts[journal.FactWhy], facts[journal.FactProbes] = string(found.Verdict), found.Why, found.Probes
	}
	first, _, _ := strings.Cut(verb, " ")
	return plan.Action{ID: t.Ref.String() + "/" + run.Guest + "/" + first, Object: t.Ref, Guest: run.Guest, Verb: verb, Symbol: symbol, Text: text,
		Queue: Queue(run.VMID), Timeout: questions.Timeout(&t.Object, questions.ShortTask), Call: &call, Facts: facts}
}

// leaveTest names a guest in the range that may be no test guest, or no longer, and leaves it alone.
func leaveTest(p *planner, t *spec.Test, run *journal.TestRun, s *node.GuestState, missing []string) {
	reason := fmt.Sprintf("%d, the test guest of %s, is left alone: %s", run.VMID, run.Guest, strings.Join(missing, "; "))
	if p.Have.Holder(run.VMID) != nil {
		p.await(&t.Object, reason, "wait for the task that runs on it")
		return
	}
	unlock := ""
	if s.Lock != "" {
		unlock = fmt.Sprintf("pct unlock %d; ", run.VMID)
	}
	p.block(&t.Object, "vmids", reason, "to keep it, choose another range: vmids: 9910-9919", fmt.Sprintf("to delete it, as root: %spct stop %d; pct destroy %d", unlock, run.VMID, run.VMID))
}

// restOfTest says what follows in a test that was begun.
func restOfTest(p *planner, t *spec.Test, run *journal.TestRun) {
	var steps []string
	if run.Start == nil {
		steps = append(steps, fmt.Sprintf("start %d", run.VMID))
	}
	after := "after the restore"
	switch {
	case run.Stop != nil:
		steps, after = append(steps, fmt.Sprintf("delete %d", run.VMID)), "after the stop"
	case run.Start != nil:
		steps, after = append(steps, fmt.Sprintf("probe, stop and delete %d", run.VMID)), "after the start"
	default:
		steps = append(steps, "probe, stop and delete it")
	}
	if run.Destroy == nil {
		p.later(plan.Deferred{Object: t.Ref, Guest: run.Guest, Verb: journal.VerbTest, Symbol: plan.Power, Text: strings.Join(steps, ", "), Waits: after, Queue: Queue(run.VMID)})
	}
	due := slices.DeleteFunc(node.DueTests(p.Want, p.Have, t), func(name string) bool { return name == run.Guest })
	if len(due) > 0 {
		p.later(plan.Deferred{Object: t.Ref, Verb: journal.VerbTest, Symbol: plan.Create, Text: testsOf(due), Waits: "after the test of " + run.Guest})
	}
}
