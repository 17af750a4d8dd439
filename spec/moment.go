package spec

import (
	"fmt"
	"time"
)

// Moment is a day or a time as a person writes it: 2026-11-22 (the day's
// begin), 2026-11-22T18:00 (in the node's zone) or 2026-11-22T18:00:00Z.
type Moment struct {
	t     time.Time // the wall clock in UTC where not zoned
	zoned bool
	text  string
}

// ParseMoment reads a moment.
func ParseMoment(s string) (Moment, error) {
	for _, layout := range []string{"2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return Moment{t, true, s}, nil
		}
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04:05", time.DateTime, "2006-01-02T15:04", "2006-01-02 15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			return Moment{t, false, s}, nil
		}
	}
	return Moment{}, fmt.Errorf("invalid day or time %q: expected for example 2026-11-22 or 2026-11-22T18:00:00Z", s)
}

// In is the moment, read in the node's zone where the text has none. A time
// that the clocks skip is the end of the gap, one that they show twice is the
// first.
func (m Moment) In(loc *time.Location) time.Time {
	if m.zoned || m.IsZero() {
		return m.t
	}
	return wall(m.t, loc)
}

// IsZero reports whether no moment was written.
func (m Moment) IsZero() bool { return m.text == "" }

// String is the moment as written.
func (m Moment) String() string { return m.text }

var moment = scalar("day or time", typed("string"), strTags, "Write it like 2026-11-22.", ParseMoment)

// wall is when the clocks of loc show what t shows in UTC: at the gap's end
// where they skip it, the first time where they show it twice.
func wall(t time.Time, loc *time.Location) time.Time {
	got := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), loc)
	_, offset := got.Zone()
	shown := got.UTC().Add(time.Duration(offset) * time.Second)
	begin, end := got.ZoneBounds()
	switch {
	case shown.After(t): // the clocks had jumped over it already
		return begin
	case shown.Before(t):
		return end
	case begin.IsZero():
		return got
	}
	_, before := begin.Add(-time.Second).Zone()
	if first := got.Add(-time.Duration(before-offset) * time.Second); before > offset && first.Before(begin) {
		return first
	}
	return got
}
