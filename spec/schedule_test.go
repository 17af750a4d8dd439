package spec

import (
	"testing"
	"time"
	_ "time/tzdata"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestParseSchedule(t *testing.T) {
	for text, want := range map[string]string{
		"02:30": "02:30", "2:05": "02:05", "00:00": "00:00", "23:59": "23:59", "08:09": "08:09",
		"mon..fri 02:30": "mon..fri 02:30", "Mon..Fri  02:30": "mon..fri 02:30", "sat,sun 04:00": "sat,sun 04:00",
		"sun 04:00": "sun 04:00", "mon..sun 1:00": "01:00", "sat..mon 1:00": "mon,sat,sun 01:00", "mon,wed..fri 01:00": "mon,wed..fri 01:00",
	} {
		s, err := ParseSchedule(text)
		if err != nil || s.String() != want {
			t.Errorf("%q is %q, %v, want %q", text, s, err, want)
		}
		if again, err := ParseSchedule(s.String()); err != nil || again != s {
			t.Errorf("%q read back is %v, %v", s, again, err)
		}
	}
	for _, text := range []string{"", "24:00", "02:60", "2", "02:3", "mon", "mon 2", "mon..tuesday 02:30", "*:30", "-1:30", "02:30:00", "mon, tue 02:30"} {
		if s, err := ParseSchedule(text); err == nil {
			t.Errorf("%q was taken as %q", text, s)
		}
	}
}

func TestSlots(t *testing.T) {
	budapest := zone(t, "Europe/Budapest")
	for name, c := range map[string]struct {
		at, now, last, next string
		loc                 *time.Location
	}{
		"between":        {"02:30", "2026-11-22T18:00:00", "2026-11-22T02:30:00+01:00", "2026-11-23T02:30:00+01:00", budapest},
		"just now":       {"02:30", "2026-11-22T02:30:00", "2026-11-22T02:30:00+01:00", "2026-11-23T02:30:00+01:00", budapest},
		"before":         {"02:30", "2026-11-22T02:29:59", "2026-11-21T02:30:00+01:00", "2026-11-22T02:30:00+01:00", budapest},
		"week days":      {"mon..fri 02:30", "2026-11-22T18:00:00", "2026-11-20T02:30:00+01:00", "2026-11-23T02:30:00+01:00", budapest},
		"once a week":    {"sun 02:30", "2026-11-22T02:00:00", "2026-11-15T02:30:00+01:00", "2026-11-22T02:30:00+01:00", budapest},
		"in the gap":     {"02:30", "2026-03-29T12:00:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00", budapest},
		"before the gap": {"02:30", "2026-03-29T01:59:59", "2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", budapest},
		"doubled":        {"02:30", "2026-10-25T12:00:00", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00", budapest},
		"after it":       {"03:30", "2026-10-25T12:00:00", "2026-10-25T03:30:00+01:00", "2026-10-26T03:30:00+01:00", budapest},
		"year's end":     {"02:30", "2027-01-01T01:00:00", "2026-12-31T02:30:00+01:00", "2027-01-01T02:30:00+01:00", budapest},
		"a day left out": {"02:30", "2011-12-31T12:00:00", "2011-12-31T02:30:00+14:00", "2012-01-01T02:30:00+14:00", zone(t, "Pacific/Apia")},
		"half an hour":   {"02:15", "2026-10-04T12:00:00", "2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00", zone(t, "Australia/Lord_Howe")},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ParseSchedule(c.at)
			if err != nil {
				t.Fatal(err)
			}
			now, err := time.ParseInLocation("2006-01-02T15:04:05", c.now, c.loc)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Last(now).Format(time.RFC3339); got != c.last {
				t.Errorf("the last slot at %s is %s, want %s", now, got, c.last)
			}
			if got := s.Next(now).Format(time.RFC3339); got != c.next {
				t.Errorf("the next slot at %s is %s, want %s", now, got, c.next)
			}
		})
	}
	if !(Schedule{}).Last(time.Now()).IsZero() || !(Schedule{}).Next(time.Now()).IsZero() {
		t.Error("a schedule without days has slots")
	}
}

// Through a year with both changes of the clocks a daily slot comes once a day,
// whatever the minute, and Last and Next agree.
func TestSlotsOfAYear(t *testing.T) {
	for _, loc := range []*time.Location{zone(t, "Europe/Budapest"), zone(t, "America/St_Johns"), zone(t, "Australia/Lord_Howe"), time.UTC} {
		for minute := 0; minute < 24*60; minute += 15 {
			s := Schedule{Days: [7]bool{true, true, true, true, true, true, true}, Hour: minute / 60, Minute: minute % 60}
			at, days := s.Next(time.Date(2026, 1, 1, 0, 0, 0, -1, loc)), 0
			for ; at.Year() == 2026; days++ {
				next := s.Next(at)
				if last := s.Last(next.Add(-time.Second)); !last.Equal(at) {
					t.Fatalf("%s %s: before %s comes %s, not %s", loc, s, next, last, at)
				}
				if gap := next.Sub(at); gap < 22*time.Hour || gap > 26*time.Hour {
					t.Fatalf("%s %s: %s between %s and %s", loc, s, gap, at, next)
				}
				at = next
			}
			if days != 365 {
				t.Fatalf("%s %s: %d slots in a year", loc, s, days)
			}
		}
	}
}

func TestMoment(t *testing.T) {
	budapest := zone(t, "Europe/Budapest")
	for text, want := range map[string]string{
		"2026-11-22":                "2026-11-22T00:00:00+01:00",
		"2026-11-22T18:00":          "2026-11-22T18:00:00+01:00",
		"2026-11-22 18:00:05":       "2026-11-22T18:00:05+01:00",
		"2026-11-22T18:00:00Z":      "2026-11-22T18:00:00Z",
		"2026-11-22T18:00:00+05:00": "2026-11-22T18:00:00+05:00",
		"2026-03-29T02:30":          "2026-03-29T03:00:00+02:00",
		"2026-10-25T02:30":          "2026-10-25T02:30:00+02:00",
	} {
		m, err := ParseMoment(text)
		if err != nil {
			t.Error(err)
		} else if got := m.In(budapest).Format(time.RFC3339); got != want || m.String() != text {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	if !(Moment{}).IsZero() || !(Moment{}).In(budapest).IsZero() {
		t.Error("the zero moment is none")
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "5m": 5 * time.Minute, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "2w": 14 * 24 * time.Hour, "1h30m": 90 * time.Minute,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%q is %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "24", "1 h", "h", "1y", "-1h", "1.5h", "99999999999999999999h", "3650d3650d1s", "3650d1s", "999999w"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q was taken as %s", text, got)
		}
	}
	for d, want := range map[time.Duration]string{90 * time.Minute: "90m", 24 * time.Hour: "24h", 72 * time.Hour: "3d", time.Second: "1s"} {
		if got := printDuration(d); got != want {
			t.Errorf("%v is printed as %s, want %s", d, got, want)
		}
	}
}

func TestKeep(t *testing.T) {
	for want, k := range map[string]Keep{
		"everything": {}, "last 7": {Last: 7}, "daily 7, weekly 4": {Daily: 7, Weekly: 4},
		"last 1, hourly 2, daily 3, weekly 4, monthly 5, yearly 6": {1, 2, 3, 4, 5, 6},
	} {
		if k.String() != want || k.IsZero() != (want == "everything") {
			t.Errorf("%+v is %q", k, k)
		}
	}
}
