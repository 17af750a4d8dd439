package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

const hourly = `
guests: {dns: {vmid: 101}}
snapshots: {hourly: {guest: dns, every: 1h, keep: 3}}
`

// What a crash has left of a snapshot is named, also when the next one was taken.
func TestTheRestOfASnapshotIsNamed(t *testing.T) {
	want := desired(t, hourly)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.agent.O.Patience = time.Minute
		if err := b.sim.Inject(pvesim.Fault{Match: "task vzsnapshot 101", Effect: "die"}); err != nil {
			t.Fatal(err)
		}
		b.once(want)
		b.sim.Heal()
		if printed, err := b.sim.Shell("pve1", "pct unlock 101"); err != nil {
			t.Fatal(printed, err)
		}
		b.sim.Advance(2 * time.Hour)
		b = newBench(t, b.sim)
		b.once(want)
		report := b.once(want)
		_, text := b.plan(want)
		if !strings.Contains(text, "pct delsnapshot 101 hourly_20261122_170000 --force") || report.ExitCode() != 3 {
			t.Errorf("exit code %d\n%s\n%s\n%s", report.ExitCode(), text, b.events, b.sim)
		}
	})
}

// A clock that was ahead and is right again neither doubles nor silences a series.
func TestAClockThatWasAheadDoesNotConfuseASeries(t *testing.T) {
	want := desired(t, hourly)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.sim.Advance(45 * time.Minute) // 18:47
		b.once(want)
		b = newBench(t, withClock(t, b.sim, b.sim.Now().Add(-40*time.Minute))) // 18:07: within the same hour
		report := b.once(want)
		if made := strings.Count(b.sim.String(), "[hourly_"); made != 1 || report.ExitCode() != 0 {
			t.Errorf("%d snapshots, exit code %d\n%s\n%s", made, report.ExitCode(), b.events, b.closing(report))
		}
		b.sim.Advance(29 * 24 * time.Hour)
		b.once(want)
		b = newBench(t, withClock(t, b.sim, b.sim.Now().Add(-20*24*time.Hour)))
		b.once(want)
		report = b.once(want)
		if made := strings.Count(b.sim.String(), "[hourly_"); made != 3 || report.ExitCode() != 0 {
			t.Errorf("%d snapshots, exit code %d\n%s\n%s\n%s", made, report.ExitCode(), b.events, b.closing(report), b.sim)
		}
	})
}
