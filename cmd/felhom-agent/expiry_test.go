package main

import (
	"testing"
	"time"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
)

func TestLeaseLines(t *testing.T) {
	now := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		lease session.Lease
		want  string
		days  int
	}{
		{session.Lease{What: "token", End: time.Time{}, Fix: "x"}, "", 0},
		{session.Lease{What: "token", End: now.Add(31 * 24 * time.Hour), Fix: "x"}, "", 0},
		{session.Lease{What: "token", End: now.Add(29*24*time.Hour + time.Hour), Fix: "Prolong it"}, "The token expires on Mon 21 Dec 2026 19:00 (in 30 days). Prolong it", 30},
		{session.Lease{What: "certificate", End: now.Add(23 * time.Hour), Fix: "Renew it"}, "The certificate expires on Mon 23 Nov 2026 17:00 (in 1 day). Renew it", 14},
		{session.Lease{What: "certificate", End: now.Add(-time.Hour), Fix: "Renew it"}, "The certificate expires on Sun 22 Nov 2026 17:00 (it is over). Renew it", 14},
	} {
		if got := test.lease.Line(now); got != test.want || test.lease.Urgent(now) != test.days {
			t.Errorf("%q (%d days), want %q (%d)", got, test.lease.Urgent(now), test.want, test.days)
		}
	}
}
