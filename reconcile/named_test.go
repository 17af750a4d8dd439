package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A named snapshot waits for its day, is taken until the end of the next one, and never later
// under that name.
func TestANamedSnapshotBearsNoFalseName(t *testing.T) {
	for taken, want := range map[string]string{
		"2026-11-22": "snapshot before of dns",
		"2026-11-21": "snapshot before of dns",
		"2026-11-20": "not taken: a snapshot of today would bear a false name (taken: 2026-11-20)",
		"2026-11-28": "due on 28 Nov",
	} {
		want2 := desired(t, "guests: {dns: {vmid: 101}}\nsnapshots: {before: {guest: dns, taken: "+taken+"}}\n")
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			b.once(desired(t, "guests: {dns: {vmid: 101}}\n"))
			b.sim.Advance(time.Second)
			if _, text := b.plan(want2); !strings.Contains(text, want) {
				t.Errorf("taken %s: it says\n%s", taken, text)
			}
		})
	}
}
