package journal

import (
	"testing"
	"time"
)

// What an operation usually takes is the median of the newest that ended well: one that hung or failed says nothing.
func TestUsual(t *testing.T) {
	var history []HistoryEntry
	add := func(text, result string, minutes ...int) {
		for _, m := range minutes {
			history = append(history, HistoryEntry{Object: "backups/nightly", Verb: "back up", Text: text, Result: result, Elapsed: time.Duration(m) * time.Minute})
		}
	}
	add("back up dns", ResultOK, 90, 90, 90, 3, 4, 5, 60, 4)
	add("back up dns", ResultFailed, 700, 700, 700)
	add("back up web", ResultOK, 20)
	add("back up mail", "", 0)
	usual := UsualOf(history)
	for text, want := range map[string]time.Duration{"back up dns": 4 * time.Minute, "back up web": 20 * time.Minute, "back up new": 5 * time.Minute} {
		if got := usual.Of("backups/nightly", "back up", text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got := usual.Of("backups/weekly", "back up", "back up dns"); got != 0 {
		t.Errorf("of another object: %s", got)
	}
}
