package planning

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// planTest plans restore tests: the next step of the one that was begun, else the restore of the backup whose guest has
// waited longest. One test runs at a time, and everything real goes first.
func planTest(p *planner, t *spec.Test) {
	o := &t.Object
	for _, name := range p.Want.TestGuests(t) {
		judgeTests(p, t, name)
	}
	if vms := p.Want.UntestedVMs(t); len(vms) > 0 {
		p.note(o, "not tested, for restore tests are for containers: %s; except: [%s] takes this line away", text.List(vms), strings.Join(vms, ", "))
	}
	if p.Have.Tests.TokenID == "" {
		noTestToken(p, o)
		return
	}
	runs := node.TestRuns(p.Have, t)
	for _, run := range runs {
		if p.Have.Foretold == nil {
			goOn(p, t, run)
		}
	}
	free := rangeIsFree(p, t, runs)
	if len(runs) > 0 {
		restOfTest(p, t, runs[len(runs)-1])
		return
	}
	due := slices.DeleteFunc(node.DueTests(p.Want, p.Have, t), func(name string) bool { return questions.Elsewhere(p.Questions, p.Want.Guest(name).Ref) != "" })
	if free && len(due) > 0 {
		beginTest(p, t, due)
	}
}

// noTestToken blocks tests that nothing can send.
func noTestToken(p *planner, o *spec.Object) {
	if why := p.Have.Tests.Missing; why != "" {
		p.block(o, "", "restore tests have no token: "+why, "see tests_token_id in /etc/felhom-agent/agent.yaml", "a new one, as root: felhom-agent --print-setup --restore-tests")
		return
	}
	p.block(o, "", "restore tests need a token of their own, with which PVE lets nothing be deleted but the guests of one pool",
		"make it, as root with the lines of: felhom-agent --print-setup --restore-tests", "then name it in /etc/felhom-agent/agent.yaml: tests_token_id, tests_token_file")
}

// judgeTests notes how the last test of a guest ended, and reports what is bad: a failure until a test is good again,
// and a guest without a good test for longer than warn-after.
func judgeTests(p *planner, t *spec.Test, name string) {
	o, last := &t.Object, node.LastTest(p.Have, name)
	if last.Since.IsZero() {
		last.Since = p.Have.Now
	}
	if p.plan.Tests == nil {
		p.plan.Tests = map[string]state.LastTest{}
	}
	p.plan.Tests[name] = last
	if due, next := node.TestDue(p.Have, t, name); !due && !next.IsZero() { // one that is due waits for no time
		p.due(next)
	}
	again := "test it again: felhom-agent --test " + name
	if last.Object == o.Ref.String() && last.Verdict == state.VerdictFails {
		p.block(o, "", fmt.Sprintf("the backup of %s of %s failed its restore test on %s: %s", p.Have.Date(last.Made), name, p.Have.Date(last.Ended), last.Why),
			"see felhom-agent --history --only "+o.Ref.String(), again)
		b := &p.plan.Blocked[len(p.plan.Blocked)-1]
		b.Kind, b.Failed = plan.BlockedFailed, true
	}
	if last.Object == o.Ref.String() && last.Verdict == state.VerdictUnverified && last.Archive != "" {
		p.block(o, "", fmt.Sprintf("the restore test of the backup of %s of %s could not verify anything: %s", p.Have.Date(last.Made), name, last.Why), append(slices.Clone(last.Fix), again)...)
	}
	since := last.Since
	if last.Good != nil {
		since = last.Good.Ended
	}
	if t.WarnAfter > 0 && p.Have.Now.Sub(since) > t.WarnAfter {
		p.blockAs(plan.BlockedOverdue, o, "warn-after", fmt.Sprintf("no good restore test of %s since %s", name, p.Have.Date(since)), "see why: felhom-agent --history --only "+o.Ref.String())
	}
}

// rangeIsFree reports whether no guest but those of tests that go on has a VMID of the range. Who is there is named.
func rangeIsFree(p *planner, t *spec.Test, runs []*journal.TestRun) bool {
	free := true
	for _, vmid := range node.InTestRange(p.Have, t) {
		if slices.ContainsFunc(runs, func(run *journal.TestRun) bool { return run.VMID == vmid }) {
			continue
		}
		free = false
		s, other := p.Have.Guests[vmid], p.Have.Others[vmid]
		if nonce := node.TestNonce(p.Have, s); nonce != "" {
			p.block(&t.Object, "vmids", fmt.Sprintf("%d (%s) is a guest of a restore test that the journal does not know, so it is not deleted", vmid, s.Name),
				fmt.Sprintf("if nothing needs it, as root: pct stop %d; pct destroy %d", vmid, vmid))
			continue
		}
		name := other.Name
		if s != nil {
			name = s.Name
		}
		p.block(&t.Object, "vmids", fmt.Sprintf("%d (%s) is in the range %s, which must be for test guests alone; nothing is tested", vmid, name, t.VMIDs), "choose a range that nothing else uses: vmids: 9900-9909")
	}
	return free
}

// beginTest plans the restore of the first backup that can be tested.
func beginTest(p *planner, t *spec.Test, due []string) {
	o := &t.Object
	waiting := plan.Deferred{Object: o.Ref, Verb: journal.VerbTest, Symbol: plan.Create, Text: testsOf(due)}
	if waiting.Waits = otherTest(p, t); waiting.Waits == "" {
		waiting.Waits = questions.TestWaits(p.Questions, p.plan, tookBefore(p, due[0]), p.Have.AtOnce.Objects(o.Ref))
	}
	if waiting.Waits != "" && p.Have.AtOnce.Objects(o.Ref) {
		p.await(o, fmt.Sprintf("%s: %s", waiting.Text, waiting.Waits), "wait for it")
		return
	}
	if waiting.Waits == "" && p.Have.Foretold != nil {
		waiting.Waits = "afterwards"
	}
	if waiting.Waits != "" {
		p.later(waiting)
		return
	}
	vmid := node.TestVMID(p.Have, t)
	if vmid == 0 {
		p.block(o, "vmids", fmt.Sprintf("every VMID of %s has a volume or a backup", t.VMIDs), "choose a range that nothing else uses: vmids: 9900-9909")
		return
	}
	looked := node.ToTest(p.Have, due)
	for i, name := range due {
		if !slices.Contains(looked, name) {
			if last := node.LastTest(p.Have, name); last.Verdict == state.VerdictUnverified && last.Archive == "" {
				p.block(o, "", last.Why, last.Fix...)
			}
			continue
		}
		if ob := testBackup(p, t, p.Want.Guest(name), vmid); ob != nil {
			unverified(p, t, name, ob)
			continue
		}
		if rest := slices.Delete(slices.Clone(due), i, i+1); len(rest) > 0 {
			p.later(plan.Deferred{Object: o.Ref, Verb: journal.VerbTest, Symbol: plan.Create, Text: testsOf(rest), Waits: "after the test of " + name})
		}
		return
	}
}

func testsOf(names []string) string {
	if len(names) == 1 {
		return "test a backup of " + names[0]
	}
	return "test a backup each of " + text.List(names)
}

// otherTest says for which test of another object this one waits.
func otherTest(p *planner, t *spec.Test) string {
	for i := range p.Have.Memory.Tests {
		if run := &p.Have.Memory.Tests[i]; !node.TestOver(p.Have, run) && run.Object != t.Ref.String() {
			return "after the test of " + run.Guest
		}
	}
	for _, a := range p.plan.Actions {
		if a.Verb == journal.VerbTest && a.Object != t.Ref {
			return "after the test of " + a.Guest
		}
	}
	return ""
}

// tookBefore is how long the last good test's restore of a guest took.
func tookBefore(p *planner, name string) time.Duration {
	if good := node.LastTest(p.Have, name).Good; good != nil {
		return time.Duration(good.Seconds * float64(time.Second))
	}
	return 0
}

// unverified notes that a backup cannot be tested now: that never counts as good.
func unverified(p *planner, t *spec.Test, name string, ob *plan.Blocker) {
	why := fmt.Sprintf("no backup of %s can be tested: %s", name, ob.Reason)
	if ob.Mount != "" {
		p.blockFor(&t.Object, "", ob, plan.Deferred{Verb: journal.VerbTest, Symbol: plan.Create, Text: testsOf([]string{name})})
		return
	}
	p.plan.Blocked = append(p.plan.Blocked, plan.Blocked{Object: t.Ref, Reason: why, Fix: ob.Fix, Pos: t.Pos, Passing: ob.Passes})
	p.plan.Tests[name] = p.plan.Tests[name].With(state.TestResult{Object: t.Ref.String(), Verdict: state.VerdictUnverified, Why: why, Fix: ob.Fix, Ended: p.Have.Now})
}

// backupComes says after which backup of a guest, that this plan makes later, there is one to test.
func backupComes(p *planner, guest string) string {
	for _, d := range p.plan.Deferred {
		if b := p.Want.Backups[d.Object.Name]; d.Verb == journal.VerbBackUp && d.Object.Kind == spec.KindBackup && b != nil && p.Want.BacksUp(b, guest) {
			return "after back up of " + d.Object.String()
		}
	}
	return ""
}

// testBackup plans the restore of the newest verified backup of a guest as a test guest, or says why it cannot be.
func testBackup(p *planner, t *spec.Test, g *spec.Guest, vmid proxmox.VMID) *plan.Blocker {
	c, ob := questions.ArchiveToTest(p.Questions, p.mounting, t, g)
	if waits := backupComes(p, g.Ref.Name); ob != nil && waits != "" {
		p.later(plan.Deferred{Object: t.Ref, Guest: g.Ref.Name, Verb: journal.VerbTest, Symbol: plan.Create, Text: testsOf([]string{g.Ref.Name}), Waits: waits})
		return nil
	}
	if ob != nil {
		return ob
	}
	made, ob := questions.TestRestore(p.Questions, t, g, c, vmid)
	if ob != nil {
		return ob
	}
	if ob := questions.TestRoom(p.Questions, t, made, c.Inside); ob != nil {
		return ob
	}
	call := proxmox.On(p.Have.Node).RestoreLXC(made.Spec)
	p.add(plan.Action{ID: t.Ref.String() + "/" + g.Ref.Name + "/restore", Object: t.Ref, Guest: g.Ref.Name, Verb: journal.VerbTest, Symbol: plan.Create,
		Text:   fmt.Sprintf("test the backup of %s of %s (%d) from %s as %d", p.Have.Date(c.Volume.CTime), g.Ref.Name, g.VMID, questions.Where(p.Questions, text.ProxmoxStorage(c.Volume.VolID)), vmid),
		Detail: slices.Concat(made.Detail, serverDetail(p.Have, c.Volume)), Queue: Queue(vmid), Limit: "create " + t.Storage, Timeout: questions.Timeout(&t.Object, longTask), Call: &call,
		Facts: map[string]string{journal.FactTest: made.Marker.Facts[node.NonceFact], journal.FactGuest: g.Ref.Name, journal.FactArchive: c.Volume.VolID,
			journal.FactMade: p.Have.Begun(c.Volume).UTC().Format(time.RFC3339), "makes": vmid.String()}})
	return nil
}
