package applying

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/reconcile/journal"
)

// An ending of which a pass has heard asks for no other pass, whichever came first, its nudge or the pass. Another nudge stays.
func TestAnEndingIsHeardOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlights()
		nudged := func() bool {
			nudged, err := f.rest(t.Context(), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			return nudged
		}
		e := ending{operation: &journal.Operation{}}
		f.end(e)
		f.nudgeOver()
		if len(f.take()) != 1 || nudged() {
			t.Error("a pass that heard of an ending is followed by another one")
		}
		f.end(e)
		if f.take(); nudged() {
			t.Error("there is a nudge of which nobody spoke")
		}
		if f.nudgeOver(); nudged() {
			t.Error("the nudge that came late is followed by a pass")
		}
		f.end(e)
		if f.nudgeOver(); !nudged() {
			t.Error("an ending is followed by no pass")
		}
		f.Nudge()
		if f.take(); !nudged() {
			t.Error("the pass took the nudge of somebody else")
		}
	})
}
