// Package retention decides which backups a rule such as "keep-last=3,keep-daily=7" keeps. It is
// pure: times in, marks out. It is written from PVE's rules, not from those of reconcile, which it
// tests.
package retention

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
)

// A Rule is a retention: how many to keep of each kind.
type Rule map[string]int

// Kinds are the kinds of a rule in the order in which they mark.
var Kinds = []string{"last", "hourly", "daily", "weekly", "monthly", "yearly"}

// Parse reads a prune-backups string.
func Parse(text string) (Rule, error) {
	k := make(Rule)
	for _, f := range strings.Split(text, ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		name, v, _ := strings.Cut(f, "=")
		kind, ok := strings.CutPrefix(name, "keep-")
		if !ok || kind != "all" && !slices.Contains(Kinds, kind) || !notation.IsInteger(v) {
			return nil, fmt.Errorf("format error\n%s: property is not defined in schema and the schema does not allow additional properties", name)
		}
		k[kind] = notation.Atoi(v)
	}
	if k["all"] > 0 && len(k) > 1 {
		return nil, refusal.Fail("keep-all cannot be set together with other options.")
	}
	return k, nil
}

// All reports whether nothing is ever pruned.
func (k Rule) All() bool {
	for _, kind := range Kinds {
		if k[kind] > 0 {
			return false
		}
	}
	return true
}

// String is the rule as PVE writes it.
func (k Rule) String() string {
	var f []string
	for _, kind := range Kinds {
		if k[kind] > 0 {
			f = append(f, fmt.Sprintf("keep-%s=%d", kind, k[kind]))
		}
	}
	if len(f) == 0 {
		return "keep-all=1"
	}
	return strings.Join(f, ", ")
}

// A Candidate is one archive and what becomes of it.
type Candidate struct {
	Name string
	Time int64
	VMID int
	Kind string
	Mark string
}

// period names the hour, day, week … that a time lies in, by the node's calendar.
func period(kind string, t time.Time) string {
	switch kind {
	case "hourly":
		return t.Format("2006-01-02 15")
	case "daily":
		return t.Format("2006-01-02")
	case "weekly":
		y, w := t.ISOWeek()
		return fmt.Sprintf("%d/%d", y, w)
	case "monthly":
		return t.Format("2006-01")
	case "yearly":
		return t.Format("2006")
	}
	return t.String()
}

// Mark decides over one group, newest first. PVE: prune_mark_backup_group.
func (k Rule) Mark(group []*Candidate, zone *time.Location) {
	sort.SliceStable(group, func(i, j int) bool { return group[i].Time > group[j].Time })
	if k.All() {
		for _, c := range group {
			c.Mark = "keep"
		}
		return
	}
	for _, kind := range Kinds {
		if k[kind] == 0 {
			continue
		}
		id := func(i int) string {
			if kind == "last" {
				return strconv.Itoa(i)
			}
			return period(kind, time.Unix(group[i].Time, 0).In(zone))
		}
		had, now := make(map[string]bool), make(map[string]bool)
		for i, c := range group {
			if c.Mark == "keep" {
				had[id(i)] = true
			}
		}
		for i, c := range group {
			at := id(i)
			if c.Mark != "" || had[at] {
				continue
			}
			if now[at] {
				c.Mark = "remove"
				continue
			}
			if len(now) >= k[kind] {
				break
			}
			now[at] = true
			c.Mark = "keep"
		}
	}
	for _, c := range group {
		if c.Mark == "" {
			c.Mark = "remove"
		}
	}
}
