package retention

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/spec"
)

// A kept thing is a snapshot or an archive as retention sees it.
type KeptItem struct {
	ID   string
	Time time.Time
}

// Retain returns the IDs of the items that keep does not keep, oldest first. It
// follows PVE's own pruning (PVE::Storage::prune_mark_backup_group): the rules are
// applied in the order last, hourly, daily, weekly, monthly, yearly; each goes from
// the newest to the oldest and keeps the newest item of every period, up to its
// number; an item that an earlier rule keeps is passed over, and its period counts
// as served by it. What stands behind the newest of a period that a rule keeps is not
// kept by later rules either, though a week may end in another month. Periods are those of loc, weeks are ISO weeks. An empty keep
// keeps everything. An ID that is listed several times is one item.
func Retain(keep spec.Keep, items []KeptItem, loc *time.Location) []string {
	if keep.IsZero() || len(items) == 0 {
		return nil
	}
	sorted := eachOnce(items)
	slices.SortStableFunc(sorted, func(a, b KeptItem) int {
		if c := b.Time.Compare(a.Time); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	kept, dropped := make([]bool, len(sorted)), make([]bool, len(sorted))
	mark := func(n int, period func(time.Time) string) {
		if n <= 0 {
			return
		}
		served, now := map[string]bool{}, map[string]bool{}
		for i, item := range sorted { // periods that an earlier rule has served
			if kept[i] {
				served[period(item.Time.In(loc))] = true
			}
		}
		for i, item := range sorted {
			p := period(item.Time.In(loc))
			switch {
			case kept[i] || dropped[i] || served[p]:
			case now[p]: // for good: a later rule does not come back to it
				dropped[i] = true
			case len(now) == n:
				return
			default:
				now[p], kept[i] = true, true
			}
		}
	}
	for i := 0; i < min(keep.Last, len(sorted)); i++ {
		kept[i] = true
	}
	mark(keep.Hourly, func(t time.Time) string { return t.Format("2006-01-02 15") })
	mark(keep.Daily, func(t time.Time) string { return t.Format("2006-01-02") })
	mark(keep.Weekly, func(t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprintf("%d-%d", y, w) })
	mark(keep.Monthly, func(t time.Time) string { return t.Format("2006-01") })
	mark(keep.Yearly, func(t time.Time) string { return t.Format("2006") })

	var drop []string
	for i := len(sorted) - 1; i > 0; i-- { // index 0, the newest, always stays
		if !kept[i] {
			drop = append(drop, sorted[i].ID)
		}
	}
	return drop
}

// eachOnce counts things, not entries: of one that is listed several times the newest
// entry counts.
func eachOnce(items []KeptItem) []KeptItem {
	newest := map[string]KeptItem{}
	for _, item := range items {
		if have, known := newest[item.ID]; !known || item.Time.After(have.Time) {
			newest[item.ID] = item
		}
	}
	return slices.Collect(maps.Values(newest))
}
