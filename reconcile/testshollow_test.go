package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A step of a restore test that ends with OK and has done nothing is not taken for done.
func TestAHollowStepOfATest(t *testing.T) {
	for kind, says := range map[string]string{
		"vzrestore": "9900, the test guest of dns, is left alone: its Notes do not have the mark of this test",
		"vzstart":   "failed its restore test on 22 Nov 18:03: it stopped by itself",
		"vzstop":    "Converged 4 of 4",
		"vzdestroy": "PVE ended it with OK, but 9900 is still there",
	} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, want := testBench(t, "")
				before := b.sim.String()
				if err := b.sim.Inject(pvesim.Fault{Match: "task " + kind, Effect: "hollow"}); err != nil {
					t.Fatal(err)
				}
				b.again()
				r := b.once(want)
				left := pvesim.Diff(before, b.sim.String())
				if text := b.events.String() + b.closing(r); !strings.Contains(text, says) || (left != "") != (kind == "vzrestore" || kind == "vzdestroy") {
					t.Errorf("%s\nleft: %s", text, left)
				}
			})
		})
	}
}

// A test guest that restarts while it boots fails, although its probes are good at last.
func TestATestGuestThatRestartsFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, want := testBench(t, "")
		also := b.agent.O.Events
		b.agent.O.Events = func(e Event) {
			if also(e); e.State == "started" && e.Verb == "start test" {
				go func() {
					time.Sleep(9500 * time.Millisecond) // just after it was asked; it boots for 20 s
					for _, line := range []string{"pct stop 9900", "pct start 9900"} {
						if out, err := b.sim.Shell("pve1", line); err != nil {
							t.Errorf("%s: %s %v", line, out, err)
						}
					}
				}()
			}
		}
		b.again()
		r := b.once(want)
		if last := lastTest(t, b); last.Verdict != "fails" || last.Why != "it restarted by itself" {
			t.Errorf("%+v\n%s\n%s", last, b.events, b.closing(r))
		}
	})
}
