package reconcile

import (
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// The look is what an idle agent costs the node: at most 8 requests and one per
// guest at first, 4 and one per guest later, plus one per guest with declared
// snapshots and one per storage with declared backups or goldens.
func TestLookIsCheap(t *testing.T) {
	want := examples(t)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.once(want)
		guests := len(want.Golden) + len(want.Restores) + len(want.Guests)
		extra := len(want.Snapshots) + 2 // of different guests; usb-backup and local

		first, _ := b.plan(want)
		if n, most := first.Header.Requests, 8+guests+extra; n > most {
			t.Errorf("the first look costs %d requests, at most %d", n, most)
		}
		b.once(want) // knows what rarely changes
		before := b.sim.Requests()
		report := b.once(want)
		if report.Passes != 1 || report.Sent != 0 {
			t.Fatalf("an idle run made %d passes and sent %d acts", report.Passes, report.Sent)
		}
		if n, most := b.sim.Requests()-before, 4+guests+extra; n > most {
			t.Errorf("a later look costs %d requests, at most %d", n, most)
		}
		if n := report.Plan.Header.Requests; n != b.sim.Requests()-before {
			t.Errorf("the plan says %d requests, the node saw %d", n, b.sim.Requests()-before)
		}
		writes := b.sim.Writes()
		b.plan(want)
		if b.sim.Writes() != writes {
			t.Error("a plan has written")
		}
	})
}
