package notify_test

import (
	"testing"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
)

// A notice goes out once at 30 days and once at 14, whatever the number of looks; and
// after it was renewed the next end is told of again.
func TestExpiringIsToldTwice(t *testing.T) {
	n := testNotifier(t, t.TempDir())
	end := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	told := 0
	for now := end.Add(-60 * 24 * time.Hour); now.Before(end); now = now.Add(24 * time.Hour) {
		n.Expiring([]session.Lease{{What: "token", End: end, Fix: "Prolong it"}}, now)
		told += len(noticesOf(t, n))
	}
	if told != 2 {
		t.Errorf("told %d times", told)
	}
	n.Expiring([]session.Lease{{What: "token", End: end.Add(365 * 24 * time.Hour), Fix: "Prolong it"}}, end)
	n.Expiring([]session.Lease{{What: "token", End: end.Add(365 * 24 * time.Hour), Fix: "Prolong it"}}, end.Add(350*24*time.Hour))
	if got := noticesOf(t, n); len(got) != 1 {
		t.Errorf("after it was renewed: %q", got)
	}
}
