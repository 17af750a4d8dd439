package planning

import (
	"time"

	"github.com/felhom/felhom-agent/spec"
)

// timely reports whether a named snapshot that is not there may be taken now: from its date
// on, for a day. One of a later day would bear a false name, and after a disaster the
// restored data would pass for that of before.
func (p *Planner) timely(s *spec.Snapshot) bool {
	from, to := takenBetween(s, p.Have.Now.Location())
	switch {
	case s.Taken.IsZero():
		return true
	case p.Have.Now.Before(from):
		p.Plan.DueAt(from)
		p.note(&s.Object, "due on %s", from.Format("2 Jan"))
		return false
	case p.Have.Now.After(to):
		p.note(&s.Object, "not taken: a snapshot of today would bear a false name (taken: %s); fix: remove it, or write taken: %s", s.Taken, p.Have.Now.Format(time.DateOnly))
		return false
	}
	return true
}

// takenBetween is when a named snapshot may be taken. A day lasts until its end, and what
// was missed then is made up within another one.
func takenBetween(s *spec.Snapshot, zone *time.Location) (from, to time.Time) {
	from = s.Taken.In(zone)
	if len(s.Taken.String()) == len(time.DateOnly) {
		return from, from.AddDate(0, 0, 2)
	}
	return from, from.Add(24 * time.Hour)
}
