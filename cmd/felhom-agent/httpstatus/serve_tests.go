package httpstatus

import (
	"time"

	"github.com/felhom/felhom-agent/reconcile"
)

// tests adds what restore tests have shown; now is the node's clock.
func (to sink) tests(all map[string]reconcile.LastTest, now time.Time) {
	for guest, last := range all {
		if last.Verdict != "" {
			to.gauge(descTestVerdict, 1, guest, string(last.Verdict))
		}
		if last.Good == nil {
			to.gauge(descTest, 0, guest)
			continue
		}
		to.at(descTest, last.Good.Ended, guest)
		to.gauge(descTestTook, last.Good.Seconds, guest)
		if !last.Good.Made.IsZero() {
			to.gauge(descTestAge, max(now.Sub(last.Good.Made), 0).Seconds(), guest)
		}
	}
}
