package spec

import "time"

// Moment is a day or a time as a person writes it: 2026-11-22 (the day's
// begin), 2026-11-22T18:00 (in the node's zone) or 2026-11-22T18:00:00Z.
type Moment struct {
	t     time.Time // the wall clock in UTC where not zoned
	zoned bool
	text  string
}

// In is the moment, read in the node's zone where the text has none.
func (m Moment) In(loc *time.Location) time.Time {
	if m.zoned || m.IsZero() {
		return m.t
	}
	return time.Date(m.t.Year(), m.t.Month(), m.t.Day(), m.t.Hour(), m.t.Minute(), m.t.Second(), 0, loc)
}

// IsZero reports whether no moment was written.
func (m Moment) IsZero() bool { return m.text == "" }

// String is the moment as written.
func (m Moment) String() string { return m.text }
