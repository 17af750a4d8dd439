package spec

import (
	"math"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Keep says how many of what is kept, with the meaning of PVE's prune-backups.
type Keep struct{ Last, Hourly, Daily, Weekly, Monthly, Yearly int }

// IsZero reports whether everything is kept.
func (k Keep) IsZero() bool { return k == Keep{} }

// String is "daily 7, weekly 4"; "everything" where everything is kept.
func (k Keep) String() string {
	var parts []string
	add := func(word string, n int) {
		if n > 0 {
			parts = append(parts, word+" "+strconv.Itoa(n))
		}
	}
	add("last", k.Last)
	add("hourly", k.Hourly)
	add("daily", k.Daily)
	add("weekly", k.Weekly)
	add("monthly", k.Monthly)
	add("yearly", k.Yearly)
	if parts == nil {
		return "everything"
	}
	return strings.Join(parts, ", ")
}

var keepShape = shaped(nil,
	of("last", Agent, number(1, math.MaxInt32), func(k *Keep, v int) { k.Last = v }, "The newest ones."),
	of("hourly", Agent, number(1, math.MaxInt32), func(k *Keep, v int) { k.Hourly = v }, "The newest of each of so many hours."),
	of("daily", Agent, number(1, math.MaxInt32), func(k *Keep, v int) { k.Daily = v }, "The newest of each of so many days."),
	of("weekly", Agent, number(1, math.MaxInt32), func(k *Keep, v int) { k.Weekly = v }, "The newest of each of so many weeks."),
	of("monthly", Agent, number(1, math.MaxInt32), func(k *Keep, v int) { k.Monthly = v }, "The newest of each of so many months."),
	of("yearly", Agent, number(1, math.MaxInt32), func(k *Keep, v int) { k.Yearly = v }, "The newest of each of so many years."),
)

// keep is a map, or a number for the last ones. An empty map would keep
// everything where somebody meant to keep little, or the reverse.
var keep = value[Keep]{
	name: "number or map", schema: either(number(1, math.MaxInt32).schema, keepShape.schema()), below: keepShape.table(),
	read: func(a at, n *yaml.Node) (k Keep, ok bool) {
		n = resolve(n)
		if n.Kind == yaml.ScalarNode {
			k.Last, ok = number(1, math.MaxInt32).read(a, n)
			return k, ok
		}
		if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
			a.fail("Write for example keep: {daily: 7, weekly: 4}, or leave keep out to keep everything.", "says nothing")
			return k, false
		}
		ok = keepShape.fill(a, n, &k)
		return k, ok
	},
}

// backupKeep is what keep says of backups.
type backupKeep struct {
	Keep
	server bool // a Proxmox Backup Server decides
}

// keepHereOrThere is keep, or the word server.
var keepHereOrThere = value[backupKeep]{
	name: "number, map or server", schema: either(keep.schema, oneOf("server").schema), below: keep.below,
	read: func(a at, n *yaml.Node) (k backupKeep, ok bool) {
		if n = resolve(n); n.Kind == yaml.ScalarNode && n.Value == "server" {
			return backupKeep{server: true}, true
		}
		k.Keep, ok = keep.read(a, n)
		return k, ok
	},
}
