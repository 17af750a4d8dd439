package proxmox

import "testing"

// Debian 13 writes no /etc/timezone any more, and PVE before 9.2 reads its zone from
// there: null where it is missing, an old name where only /etc/localtime was changed.
// The local time is the truth: archives are named by it.
func TestZoneOfANode(t *testing.T) {
	const noon = 1782036000 // 2026-06-21 10:00 UTC
	for name, c := range map[string]struct{ answer, zone, clock string }{
		"named":                {`{"time":1782036000,"localtime":1782043200,"timezone":"Europe/Budapest"}`, "Europe/Budapest", "12:00"},
		"strings":              {`{"time":"1782036000","localtime":"1782043200","timezone":"Europe/Budapest"}`, "Europe/Budapest", "12:00"},
		"no name":              {`{"time":1782036000,"localtime":1782043200,"timezone":null}`, "UTC+2", "12:00"},
		"empty name":           {`{"time":1782036000,"localtime":1782036000,"timezone":""}`, "UTC+0", "10:00"},
		"an old name":          {`{"time":1782036000,"localtime":1782043200,"timezone":"Etc/UTC"}`, "UTC+2", "12:00"},
		"an unknown name":      {`{"time":1782036000,"localtime":1782018000,"timezone":"Mars/Olympus"}`, "UTC-5", "05:00"},
		"this machine's":       {`{"time":1782036000,"localtime":1782055800,"timezone":"Local"}`, "UTC+5:30", "15:30"},
		"half hours behind":    {`{"time":1782036000,"localtime":1782023400,"timezone":null}`, "UTC-3:30", "06:30"},
		"no local time":        {`{"time":1782036000,"timezone":"Europe/Budapest"}`, "Europe/Budapest", "12:00"},
		"a local time of 1970": {`{"time":1782036000,"localtime":7200,"timezone":"Europe/Budapest"}`, "Europe/Budapest", "12:00"},
	} {
		clock, err := testClient(t, &script{to: map[string][]string{"GET /nodes/pve1/time": data(c.answer)}}).NodeTime(t.Context(), "pve1")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		zone, err := clock.Location()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := unix(noon).In(zone).Format("15:04"); got != c.clock || zone.String() != c.zone {
			t.Errorf("%s: %s in %s, want %s in %s", name, got, zone, c.clock, c.zone)
		}
	}
	for _, answer := range []string{`{"time":1782036000,"timezone":null}`, `{"localtime":1782043200,"timezone":"Europe/Budapest"}`, `{"time":1782036000,"localtime":0,"timezone":""}`} {
		if clock, err := testClient(t, &script{to: map[string][]string{"GET /nodes/pve1/time": data(answer)}}).NodeTime(t.Context(), "pve1"); err == nil {
			t.Errorf("%s is taken for %+v", answer, clock)
		}
	}
	if zone, err := (NodeTime{Unix: noon, Zone: "Mars/Olympus"}).Location(); err == nil {
		t.Errorf("Mars is %s", zone)
	}
}
