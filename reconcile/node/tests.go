package node

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// TestAccess is with what restore tests are sent: a token of their own, whose privileges PVE confines to a pool.
type TestAccess struct {
	TokenID string // "": there is none
	Pool    string
	Missing string // why there is none, where one was configured
}

// TestPrefix begins the hostname of every test guest.
const TestPrefix = "felhom-test-"

// NonceFact is the fact in the marker of a test guest that proves which restore has made it.
const NonceFact = "test"

// TestNonce is the nonce in the notes of a guest; "" where it is no test guest of this agent.
func TestNonce(o *Observed, s *GuestState) string {
	if s == nil || s.Config == nil {
		return ""
	}
	m, ok := marker.OneMarker(s.Config.Description())
	if !ok || m.Owner != o.Owner || m.VMID != s.VMID || !strings.HasPrefix(m.Object, string(spec.KindTest)+"/") {
		return ""
	}
	return m.Facts[NonceFact]
}

// TestOver reports whether nothing of a restore test is left to be done: it was deleted, it was never made, or its
// guest is gone.
func TestOver(o *Observed, run *journal.TestRun) bool {
	switch {
	case !run.Sent(), run.Destroy.OK():
		return true
	case run.Open():
		return false
	}
	s := o.Guests[run.VMID]
	_, elsewhere := o.Others[run.VMID]
	if s == nil {
		return !elsewhere
	}
	return s.Config != nil && s.Lock == "" && TestNonce(o, s) != run.Nonce && o.Memory.TestOf(TestNonce(o, s)) != nil // a later test has its VMID
}

// TestRuns are the restore tests of which something is left to be done, of one object.
func TestRuns(o *Observed, t *spec.Test) (runs []*journal.TestRun) {
	for i := range o.Memory.Tests {
		run := &o.Memory.Tests[i]
		if (run.Object == t.Ref.String() || t.Was != "" && run.Object == spec.Ref{Kind: spec.KindTest, Name: t.Was}.String()) && !TestOver(o, run) {
			runs = append(runs, run)
		}
	}
	return runs
}

// TouchesTest reports whether the next step of a test starts or stops its guest: to delete it is out of the question, so
// that its configuration names no snapshot is enough.
func TouchesTest(run *journal.TestRun, s *GuestState) bool {
	if run.Open() || !run.Restore.OK() || run.Stop != nil || run.Destroy != nil {
		return false
	}
	if s.Status == "running" {
		return run.Start.OK()
	}
	return s.Status == "stopped" && run.Start == nil
}

// TestSources are the storages where the backups of a guest are looked for, sorted.
func TestSources(want *spec.Desired, t *spec.Test, g *spec.Guest) []string {
	if t.From != "" {
		return []string{t.From}
	}
	found := map[string]bool{}
	for _, b := range want.Backups {
		if want.BacksUp(b, g.Ref.Name) {
			found[b.Storage] = true
		}
	}
	for _, source := range g.From {
		if IsOwn(g, source) && source.Newest != "" {
			found[source.Newest] = true
		}
	}
	return text.Keys(found)
}

// LastTest is the newest restore test of a guest: as it is stored, or newer as the journal has it.
func LastTest(o *Observed, guest string) state.LastTest {
	last := o.Stored.Tests[guest]
	for i := range o.Memory.Tests {
		run := &o.Memory.Tests[i]
		if run.Guest != guest || run.Verdict == "" && !TestOver(o, run) {
			continue
		}
		if r := resultOf(run); r.Verdict != "" && r.Ended.After(last.Ended) {
			last = last.With(r)
		}
	}
	return last
}

// resultOf is how a restore test that is over has ended.
func resultOf(run *journal.TestRun) state.TestResult {
	r := state.TestResult{Object: run.Object, Verdict: run.Verdict, Why: run.Why, Ended: run.Ended(), Archive: run.Archive, Made: run.Made}
	if run.Probes != "" {
		r.Notes = strings.Split(run.Probes, "\n")
	}
	if run.Restore.OK() {
		r.Seconds = run.Restore.Ended.Sub(run.Restore.Begun).Seconds()
	}
	switch {
	case r.Verdict != "":
	case run.Restore.Result == journal.ResultRefused:
		r.Verdict, r.Why = state.VerdictUnverified, "PVE refused the restore: "+run.Restore.Text
	case run.Restore.Result == journal.ResultFailed:
		r.Verdict, r.Why = state.VerdictFails, "the restore failed: "+run.Restore.Text
	case run.Restore.OK():
		r.Verdict, r.Why = state.VerdictUnverified, "its test guest was deleted before anything was found out"
	}
	return r
}

// unverifiedPause is how soon a test that has found nothing out is tried again, at the earliest.
const unverifiedPause = 24 * time.Hour

// TestDue reports whether the backup of a guest is to be tested now, and when else.
func TestDue(o *Observed, t *spec.Test, guest string) (due bool, next time.Time) {
	last := LastTest(o, guest)
	switch {
	case o.AtOnce.Wants(t.Ref, guest):
		return !last.Ended.After(o.AtOnce.Since) || last.Archive == "", time.Time{}
	case last.Ended.IsZero(), o.Future(last.Ended), last.Verdict == state.VerdictUnverified && last.Archive == "": // nothing was begun
		return true, time.Time{}
	}
	next = last.Ended.Add(t.Every)
	if t.At != nil {
		next = t.At.Next(last.Ended.In(o.Now.Location()))
	}
	if again := last.Ended.Add(unverifiedPause); last.Verdict == state.VerdictUnverified && again.Before(next) {
		next = again
	}
	return !next.After(o.Now), next
}

// DueTests are the guests whose backups are to be tested now: those whose last test is the longest ago first.
func DueTests(want *spec.Desired, o *Observed, t *spec.Test) []string {
	var due []string
	for _, name := range want.TestGuests(t) {
		g := want.Guest(name)
		if g == nil || o.Guests[g.VMID] == nil { // one that is missing comes back first
			continue
		}
		if is, _ := TestDue(o, t, name); is {
			due = append(due, name)
		}
	}
	slices.SortStableFunc(due, func(a, b string) int {
		return cmp.Or(LastTest(o, a).Ended.Compare(LastTest(o, b).Ended), strings.Compare(a, b))
	})
	return due
}

// ShownTests bounds how many guests whose test is due are looked at in one pass.
const ShownTests = 3

// ToTest are those of the due guests whose archives are looked into: not those of which this was tried a short while ago.
func ToTest(o *Observed, due []string) (first []string) {
	for _, name := range due {
		last := LastTest(o, name)
		if last.Verdict == state.VerdictUnverified && last.Archive == "" && o.Now.Sub(last.Ended).Abs() < time.Hour && len(o.AtOnce.Names) == 0 {
			continue
		}
		if first = append(first, name); len(first) == ShownTests {
			break
		}
	}
	return first
}

// InTestRange are the guests of the cluster with a VMID of the range, by VMID.
func InTestRange(o *Observed, t *spec.Test) (all []proxmox.VMID) {
	found := map[proxmox.VMID]bool{}
	for vmid := range o.Guests {
		found[vmid] = t.VMIDs.Contains(vmid)
	}
	for vmid := range o.Others {
		found[vmid] = found[vmid] || t.VMIDs.Contains(vmid)
	}
	for _, vmid := range text.Keys(found) {
		if found[vmid] {
			all = append(all, vmid)
		}
	}
	return all
}

// TestVMID is the first VMID of the range of which nothing is known: no guest, no volume, no backup. 0: there is none.
func TestVMID(o *Observed, t *spec.Test) proxmox.VMID {
	for vmid := t.VMIDs.First; vmid <= t.VMIDs.Last; vmid++ {
		_, other := o.Others[vmid]
		if o.Guests[vmid] == nil && !other && !o.Taken[vmid] && len(o.ByGuest[vmid]) == 0 {
			return vmid
		}
	}
	return 0
}

// TestedIn is " (restored in a test on 23 Nov in 41 s)" of a backup that a good test has restored; else "".
func TestedIn(o *Observed, guest, volid string) string {
	good := LastTest(o, guest).Good
	if good == nil || good.Archive != volid {
		return ""
	}
	return " (restored in a test on " + good.Ended.In(o.Now.Location()).Format("2 Jan") + " in " + text.Elapsed(time.Duration(good.Seconds*float64(time.Second))) + ")"
}
