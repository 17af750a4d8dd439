package spec

import "time"

// Schedule is a time of day on some days of the week.
type Schedule struct {
	Days         [7]bool // by time.Weekday
	Hour, Minute int
}

// String is the schedule as one writes it: "02:30", "mon..fri 02:30".
func (s Schedule) String() string { return "" }

// Last is the latest slot that is not after now, in now's location.
func (s Schedule) Last(now time.Time) time.Time { return time.Time{} }

// Next is the first slot after now, in now's location.
func (s Schedule) Next(now time.Time) time.Time { return time.Time{} }
