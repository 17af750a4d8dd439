package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A keep that suddenly drops most of what there is, is perhaps a slip of the pen: nothing
// is deleted, of no object, until a person raises max_destructive. Below that it is done,
// and the plan shows each.
func TestTooManyDeletionsWaitForAPerson(t *testing.T) {
	house := func(first, second string) string {
		return "guests: {dns: {vmid: 101}}\nsnapshots:\n" +
			"  first: {guest: dns, every: 1h, keep: " + first + "}\n  second: {guest: dns, every: 1h, keep: " + second + "}\n"
	}
	all, few, most := desired(t, house("30", "30")), desired(t, house("1", "25")), desired(t, house("28", "25"))
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New(), func(o *Options) { o.MaxDeletions = 20 })
		for range 30 {
			b.once(all)
			b.sim.Advance(time.Hour)
		}
		left := func() (first, second int) {
			return strings.Count(b.sim.String(), "[first_"), strings.Count(b.sim.String(), "[second_")
		}
		report := b.once(few)
		first, second := left()
		if first != 31 || second != 31 || report.ExitCode() != 3 {
			t.Errorf("%d and %d snapshots are left, exit code %d\n%s", first, second, report.ExitCode(), b.events)
		}
		if text := b.closing(report); !strings.Contains(text, "snapshots/first   wants to delete 30 snapshots and archives; with the others that is 34 beyond one per object and guest, and 20 are allowed (max_destructive)") ||
			!strings.Contains(text, "FELHOM_AGENT_MAX_DESTRUCTIVE=34 felhom-agent --once") || !strings.Contains(text, "snapshots/second") {
			t.Errorf("it says\n%s", text)
		}
		plan, text := b.plan(most) // 3 and 6
		if n := strings.Count(text, "delete the snapshot"); n != 9 || len(plan.Blocked) != 0 {
			t.Errorf("a pass deletes %d\n%s", n, text)
		}
		b.once(most)
		if first, second := left(); first != 28 || second != 25 {
			t.Errorf("%d and %d snapshots are left", first, second)
		}
		b.agent.O.MaxDeletions = 31
		b.once(few)
		if first, second := left(); first != 1 || second != 25 {
			t.Errorf("%d and %d snapshots are left", first, second)
		}
	})
}
