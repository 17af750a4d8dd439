package reconcile

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/reconcile/retention"
	"github.com/felhom/felhom-agent/spec"
)

// The same archives, the same keep: what retain drops is what the simulated node's own
// prune-backups would remove, which was written by itself from PVE's
// prune_mark_backup_group. Among the times are both hours of an autumn's doubled one,
// the ends of years and of ISO weeks.
func TestRetainDropsWhatPruneBackupsWould(t *testing.T) {
	budapest, err := time.LoadLocation("Europe/Budapest")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 11))
	edges := []time.Time{
		time.Date(2026, 10, 25, 0, 10, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 20, 0, 0, time.UTC), time.Date(2026, 3, 29, 0, 59, 0, 0, time.UTC),
		time.Date(2026, 12, 31, 22, 59, 59, 0, time.UTC), time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC), time.Date(2027, 1, 3, 22, 59, 0, 0, time.UTC), time.Date(2027, 1, 3, 23, 0, 0, 0, time.UTC),
	}
	for round := range 150 {
		var archives strings.Builder
		when, known := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), map[string]bool{}
		for i := range 40 {
			when = when.Add(time.Duration(rng.Float64()*rng.Float64()*float64([]time.Duration{2 * time.Hour, 48 * time.Hour, 40 * 24 * time.Hour}[round%3])) + time.Second)
			at := when
			if i < len(edges) {
				at = edges[i]
			}
			name := "backup/vzdump-lxc-101-" + at.In(budapest).Format("2006_01_02-15_04_05") + ".tar.zst"
			if !known[name] {
				fmt.Fprintf(&archives, "            %s: {vmid: 101, size: 1000, format: tar.zst, created: %d, config: \"\"}\n", name, at.Unix())
			}
			known[name] = true
		}
		const first = "          /:\n            backup/vzdump-lxc-101-"
		sim := reconciletest.Reborn(t, pvesim.New(), first, strings.Replace(first, "/:\n", "/:\n"+archives.String(), 1))
		for _, command := range []string{"mkdir -p /mnt/usb/backup", "mount UUID=6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11 /mnt/usb/backup"} {
			if printed, err := sim.Shell("pve1", command); err != nil {
				t.Fatal(command, printed, err)
			}
		}
		n := func() int { return max(0, rng.IntN(9)-4) }
		keep := spec.Keep{Last: n(), Hourly: n(), Daily: n(), Weekly: n(), Monthly: n(), Yearly: n()}
		asked := ""
		for _, k := range []struct {
			name string
			n    int
		}{{"last", keep.Last}, {"hourly", keep.Hourly}, {"daily", keep.Daily}, {"weekly", keep.Weekly}, {"monthly", keep.Monthly}, {"yearly", keep.Yearly}} {
			if k.n > 0 {
				asked += fmt.Sprintf(",keep-%s=%d", k.name, k.n)
			}
		}
		if asked == "" {
			continue
		}
		status, body := sim.Do("root@pam", "GET", "/nodes/pve1/storage/usb-backup/prunebackups", map[string]string{"prune-backups": asked[1:], "vmid": "101"})
		var answer struct {
			Data []struct {
				VolID, Mark string
				CTime       int64
			}
		}
		if err := json.Unmarshal([]byte(body), &answer); status != 200 || err != nil {
			t.Fatal(status, body, err)
		}
		var items []retention.KeptItem
		var want []string
		for _, a := range answer.Data {
			items = append(items, retention.KeptItem{ID: a.VolID, Time: time.Unix(a.CTime, 0)})
			if a.Mark == "remove" {
				want = append(want, a.VolID)
			}
		}
		got := retention.Retain(keep, items, budapest)
		slices.Sort(got)
		slices.Sort(want)
		if len(items) < 30 || !slices.Equal(got, want) {
			t.Fatalf("round %d, %s of %d archives: retain drops %d:\n%s\nPVE %d:\n%s", round, asked[1:], len(items), len(got), strings.Join(got, "\n"), len(want), strings.Join(want, "\n"))
		}
	}
}
