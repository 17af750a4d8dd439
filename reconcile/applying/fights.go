package applying

import (
	"time"

	"github.com/felhom/felhom-agent/reconcile/journal"
)

// repeats counts the acts that ended well: those of this process, or while it watches
// those of the last hour. A backup does the same each time, and is meant to.
func (a *Agent) repeats(now time.Time) map[string]int {
	j := a.O.Journal
	j.Mu.Lock()
	defer j.Mu.Unlock()
	var n map[string]int
	for i := len(j.Order) - 1; i >= 0; i-- {
		done := j.Order[i]
		if now.Sub(done.Time) > time.Hour && (a.O.Watching || !done.Sent) {
			break
		}
		if done.Result != journal.ResultOK || done.Verb == "back up" || !a.O.Watching && !done.Sent {
			continue
		}
		if n == nil {
			n = map[string]int{}
		}
		n[done.Key]++
	}
	return n
}
