package spec

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Schedule is a time of day on some days of the week.
type Schedule struct {
	Days         [7]bool // by time.Weekday
	Hour, Minute int
}

var (
	weekdays     = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
	scheduleForm = regexp.MustCompile(`^(?:([a-z.,]+) +)?([0-9]{1,2}):([0-9]{2})$`)
)

// day is the time.Weekday of the i-th day of a week that begins on Monday.
func day(i int) int { return (i + 1) % 7 }

// ParseSchedule reads "02:30", "mon..fri 02:30", "sat,sun 04:00".
func ParseSchedule(s string) (Schedule, error) {
	bad := func(why string) (Schedule, error) {
		return Schedule{}, fmt.Errorf("invalid schedule %q, %s: expected \"02:30\", \"mon..fri 02:30\" or \"sat,sun 04:00\"", s, why)
	}
	m := scheduleForm.FindStringSubmatch(strings.ToLower(s))
	if m == nil {
		return bad("it has another form")
	}
	var at Schedule
	at.Hour, _ = strconv.Atoi(m[2])
	at.Minute, _ = strconv.Atoi(m[3])
	if at.Hour > 23 || at.Minute > 59 {
		return bad("a day has 24 hours of 60 minutes")
	}
	if m[1] == "" {
		m[1] = "mon..sun"
	}
	for part := range strings.SplitSeq(m[1], ",") {
		from, to, ranged := strings.Cut(part, "..")
		if !ranged {
			to = from
		}
		first, last := slices.Index(weekdays, from), slices.Index(weekdays, to)
		if first < 0 || last < 0 {
			return bad("the days are " + list(weekdays))
		}
		if last < first { // sat..mon goes around
			last += 7
		}
		for i := first; i <= last; i++ {
			at.Days[day(i%7)] = true
		}
	}
	return at, nil
}

// String is the schedule in its shortest form: "02:30", "mon..fri 02:30",
// "mon,wed..fri 02:30".
func (s Schedule) String() string {
	clock := fmt.Sprintf("%02d:%02d", s.Hour, s.Minute)
	var parts []string
	for i := 0; i < 7; i++ {
		if !s.Days[day(i)] {
			continue
		}
		first := i
		for i < 6 && s.Days[day(i+1)] {
			i++
		}
		switch i - first {
		case 0:
			parts = append(parts, weekdays[first])
		case 1:
			parts = append(parts, weekdays[first], weekdays[i])
		case 6:
			return clock
		default:
			parts = append(parts, weekdays[first]+".."+weekdays[i])
		}
	}
	return strings.TrimSpace(strings.Join(parts, ",") + " " + clock)
}

// Last is the latest slot that is not after now, in now's location; the zero
// time for a schedule without days. A slot that the clocks skip in spring is
// at the end of the gap; one that they show twice in autumn happens once, the
// first time.
func (s Schedule) Last(now time.Time) time.Time {
	for i := 1; i >= -8; i-- {
		if t := s.slot(now, i); !t.IsZero() && !t.After(now) {
			return t
		}
	}
	return time.Time{}
}

// Next is the first slot after now, in now's location.
func (s Schedule) Next(now time.Time) time.Time {
	for i := -1; i <= 8; i++ {
		if t := s.slot(now, i); t.After(now) {
			return t
		}
	}
	return time.Time{}
}

// slot is the slot of the day that is i days after now's, zero where that is
// not a day of the schedule.
func (s Schedule) slot(now time.Time, i int) time.Time {
	y, m, d := now.Date()
	shown := time.Date(y, m, d+i, s.Hour, s.Minute, 0, 0, time.UTC)
	if !s.Days[shown.Weekday()] {
		return time.Time{}
	}
	return wall(shown, now.Location())
}

// gaps are the shortest and the longest time between two slots.
func (s Schedule) gaps() (shortest, longest time.Duration) {
	start := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	shortest = 7 * 24 * time.Hour
	for t := s.Next(start); !t.IsZero() && t.Before(start.AddDate(0, 0, 8)); {
		next := s.Next(t)
		shortest, longest = min(shortest, next.Sub(t)), max(longest, next.Sub(t))
		t = next
	}
	return shortest, longest
}

var schedule = scalar("time of day", typed("string"), strTags, `Write it in quotes: "02:30".`, ParseSchedule)
