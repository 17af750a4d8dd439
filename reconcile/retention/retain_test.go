package retention

import (
	"slices"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/spec"
)

func TestRetainFollowsPVE(t *testing.T) {
	at := func(s string) time.Time {
		when, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	tests := []struct {
		name  string
		keep  spec.Keep
		items []string // times, which are their own IDs
		drop  []string
	}{
		{"nothing said keeps everything", spec.Keep{}, []string{"2026-11-20 02:30", "2026-11-21 02:30"}, nil},
		{"the newest always stays", spec.Keep{Yearly: 0, Last: 1}, []string{"2026-11-20 02:30"}, nil},
		{"last", spec.Keep{Last: 2}, []string{"2026-11-19 02:30", "2026-11-20 02:30", "2026-11-21 02:30"}, []string{"2026-11-19 02:30"}},
		{"daily keeps the newest of each day", spec.Keep{Daily: 2},
			[]string{"2026-11-19 02:30", "2026-11-20 02:30", "2026-11-20 14:00", "2026-11-21 02:30"},
			[]string{"2026-11-19 02:30", "2026-11-20 02:30"}},
		{"a period served by an earlier rule does not count again", spec.Keep{Last: 1, Daily: 1},
			[]string{"2026-11-19 02:30", "2026-11-20 02:30", "2026-11-21 02:30", "2026-11-21 12:00"},
			[]string{"2026-11-19 02:30", "2026-11-21 02:30"}},
		{"weeks are ISO weeks", spec.Keep{Weekly: 2},
			[]string{"2026-11-15 02:30", "2026-11-16 02:30", "2026-11-22 02:30", "2026-11-23 02:30"}, // Sun, Mon, Sun, Mon
			[]string{"2026-11-15 02:30", "2026-11-16 02:30"}},
		{"daily, weekly and monthly", spec.Keep{Daily: 2, Weekly: 1, Monthly: 1},
			[]string{"2026-09-30 02:30", "2026-10-31 02:30", "2026-11-13 02:30", "2026-11-20 02:30", "2026-11-23 02:30", "2026-11-24 02:30"},
			[]string{"2026-09-30 02:30", "2026-11-13 02:30"}},
		{"what a week has dropped no month keeps", spec.Keep{Weekly: 1, Monthly: 1},
			[]string{"2026-11-26 02:30", "2026-11-30 02:30", "2026-12-02 02:30"}, // Thu, and Mon and Wed of the next week
			[]string{"2026-11-30 02:30"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var items []KeptItem
			for _, s := range test.items {
				items = append(items, KeptItem{ID: s, Time: at(s)})
			}
			if drop := Retain(test.keep, items, time.UTC); !slices.Equal(drop, test.drop) {
				t.Errorf("drops %v, want %v", drop, test.drop)
			}
			slices.Reverse(items) // the order of a listing does not matter
			if drop := Retain(test.keep, items, time.UTC); !slices.Equal(drop, test.drop) {
				t.Errorf("reversed, it drops %v, want %v", drop, test.drop)
			}
		})
	}
}

func FuzzRetain(f *testing.F) {
	f.Add(uint8(1), uint8(0), uint8(2), []byte{1, 2, 3, 250, 7})
	f.Fuzz(func(t *testing.T, last, hourly, daily uint8, gaps []byte) {
		keep := spec.Keep{Last: int(last % 5), Hourly: int(hourly % 5), Daily: int(daily % 5)}
		when := time.Unix(1795371041, 0)
		var items []KeptItem
		for i, gap := range gaps {
			when = when.Add(time.Duration(gap) * 7 * time.Minute)
			items = append(items, KeptItem{ID: string(rune('a'+i%26)) + when.String(), Time: when})
			if gap%3 == 0 { // listed twice
				items = append(items, items[len(items)-1])
			}
		}
		drop := Retain(keep, items, time.UTC)
		kept := slices.DeleteFunc(slices.Clone(items), func(i KeptItem) bool { return slices.Contains(drop, i.ID) })
		if len(items) > 0 && (len(kept) == 0 || !kept[len(kept)-1].Time.Equal(items[len(items)-1].Time)) {
			t.Fatalf("the newest of %d is dropped", len(items))
		}
		if keep.IsZero() && len(drop) > 0 {
			t.Fatalf("an empty keep drops %v", drop)
		}
		if again := Retain(keep, kept, time.UTC); len(again) > 0 {
			t.Fatalf("what was kept is not kept the next time: %v", again)
		}
	})
}

// An entry that is listed several times is one item, also where its times differ: what is
// kept once is not dropped as another.
func TestRetainCountsItemsNotEntries(t *testing.T) {
	day := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	a, b, c := KeptItem{"a", day}, KeptItem{"b", day.Add(-24 * time.Hour)}, KeptItem{"c", day.Add(-48 * time.Hour)}
	for _, items := range [][]KeptItem{{a, b, c}, {a, a, b, b, c, c}, {a, {"a", day.Add(-90 * time.Hour)}, b, {"b", day.Add(-91 * time.Hour)}, c}} {
		if drop := Retain(spec.Keep{Last: 2}, items, time.UTC); !slices.Equal(drop, []string{"c"}) {
			t.Errorf("of %v it drops %v, want only c", items, drop)
		}
	}
	if drop := Retain(spec.Keep{Daily: 7}, []KeptItem{a, a}, time.UTC); len(drop) > 0 {
		t.Errorf("of one archive it drops %v", drop)
	}
}
