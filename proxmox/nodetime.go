package proxmox

import (
	"context"
	"fmt"
	"time"
)

// NodeTime is a node's clock and time zone.
type NodeTime struct {
	Unix int64 // seconds
	// Zone is the content of the node's /etc/timezone, such as Europe/Budapest: ""
	// where that file is missing, as after an installation of Debian 13, and an old name
	// where only /etc/localtime was changed since.
	Zone string
	// Ahead is by how much the node's local time, in which archives are named, is ahead
	// of UTC now; nil where PVE does not say.
	Ahead *time.Duration
}

// furthest is how far a local time may be from UTC: in Kiribati it is 14 hours.
const furthest = 15 * time.Hour

// NodeTime asks for a node's clock. Needs Sys.Audit on the node.
func (v *View) NodeTime(ctx context.Context, node string) (NodeTime, error) {
	w, r, err := read[struct {
		Time      number
		LocalTime *number // as if it were UTC (PVE: API2/Nodes, time)
		Timezone  text
	}](ctx, v, "/nodes/"+node+"/time", nil)
	if err != nil {
		return NodeTime{}, err
	}
	t := NodeTime{Unix: int64(w.Time), Zone: string(w.Timezone)}
	if w.LocalTime != nil && *w.LocalTime != 0 {
		if ahead := seconds(*w.LocalTime - w.Time); ahead.Abs() <= furthest {
			t.Ahead = &ahead
		}
	}
	if w.Time == 0 || t.Zone == "" && t.Ahead == nil { // which would be taken for UTC
		return NodeTime{}, r.fault("it has no time, or neither a timezone nor a local time (timedatectl set-timezone on the node sets one)")
	}
	return t, nil
}

// Location is the node's time zone: the one that it names, where its local time agrees
// with it, else one that is always as far ahead of UTC as the node is now, named like
// UTC+2. It is an error where nothing but a name is told that this machine does not know.
func (t NodeTime) Location() (*time.Location, error) {
	zone, err := time.LoadLocation(t.Zone)
	if t.Zone == "" || t.Zone == "Local" { // which would be this machine's
		zone, err = nil, fmt.Errorf("invalid time zone %q", t.Zone)
	}
	if t.Ahead == nil {
		return zone, err
	}
	ahead := int(*t.Ahead / time.Second)
	if err == nil {
		if _, offset := time.Unix(t.Unix, 0).In(zone).Zone(); offset == ahead {
			return zone, nil
		}
	}
	name := fmt.Sprintf("UTC%+d", ahead/3600)
	if minutes := ahead / 60 % 60; minutes != 0 {
		name += fmt.Sprintf(":%02d", max(minutes, -minutes))
	}
	return time.FixedZone(name, ahead), nil
}
