package spec

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Snapshot is a named snapshot (Taken, or Absent) or a periodic one (Every),
// whose snapshots are called NAME_YYYYMMDD_HHMMSS.
//
// One that the YAML declares for several guests is one object per guest here, called NAME/GUEST; their snapshots are
// called by NAME all the same, see [Object.Series].
type Snapshot struct {
	Object
	Guest       string
	All         bool     // in the YAML it is for all declared guests,
	Tag         string   // for those that were declared with this tag,
	Guests      []string // or for these,
	Except      []string // without these
	Taken       Moment   // one taken then or later
	Description string
	Every       time.Duration
	Keep        Keep
	Absent      bool
}

var snapshotShape = shaped(map[string]string{
	"at":      "Snapshots are taken every so often: every: 1h.",
	"vmid":    "Name the guest by its object: guest: NAME.",
	"storage": "A snapshot lies where the guest's disks lie; leave it out.",
},
	append([]field[Snapshot]{
		of("guest", Agent, text, func(s *Snapshot, v string) { s.Guest = v }, "The restore or guest it is of."),
		of("guests", Agent, covered, func(s *Snapshot, v coverage) { s.All, s.Tag, s.Guests = v.all, v.tag, v.guests }, "Instead of guest: all (every declared guest, no golden images), a list, or tag:NAME (the guests whose config has that tag)."),
		of("except", Agent, names("list of guests", text), func(s *Snapshot, v []string) { s.Except = v }, "With guests: all or tag:NAME, not these."),
		of("taken", Agent, moment, func(s *Snapshot, v Moment) { s.Taken = v }, "A named snapshot: one taken on that day or at that time, or later."),
		of("every", Agent, atLeast(time.Minute), func(s *Snapshot, v time.Duration) { s.Every = v }, "A periodic snapshot, named NAME_YYYYMMDD_HHMMSS."),
		of("keep", Agent, keep, func(s *Snapshot, v Keep) { s.Keep = v }, "How many periodic ones are kept (default: all); a number counts the last ones."),
		of("description", Agent, description, func(s *Snapshot, v string) { s.Description = v }, "Its description."),
		of("ensure", Agent, oneOf("absent"), func(s *Snapshot, v string) { s.Absent = v == "absent" }, "absent: delete it, if the agent made it."),
	}, objectFields(func(s *Snapshot) *Object { return &s.Object })...)...,
)

// suffixed is the length of _YYYYMMDD_HHMMSS in the names of periodic
// snapshots, of PVE's 40 characters.
const suffixed = len("_20060102_150405")

// snapshotGuests checks for which guests a snapshot object is.
func snapshotGuests(c *checker, s *Snapshot) {
	o := &s.Object
	switch {
	case o.Has("guest") && o.Has("guests"):
		c.fail(o, "guest", "Keep one: guests: [a, b], or guest: a.", "says guest and guests")
	case !o.Has("guest") && !o.Has("guests"):
		c.fail(o, "guest", "Name the guest: guest: web.", "is missing")
	case o.Has("except") && !s.All && s.Tag == "":
		c.fail(o, "except", "Leave those out of the list.", "except is for guests: all and tag:NAME")
	case s.Tag != "" && c.whole && len(c.tagged(s.Tag, s.Except)) == 0:
		untagged(c, o, s.Tag)
	case s.All && s.Guest == "" && c.whole:
		c.fail(o, "guests", "Declare guests, or remove the object.", "covers no guest")
	}
	for _, name := range s.Except {
		c.refers(o, "except", name, "those are left out anyway")
	}
}

func (c *checker) snapshots() {
	seen := map[string]bool{}
	for _, s := range sorted(c.Snapshots) {
		o := &s.Object
		first := !seen[o.Series()] // what holds for the whole series is said once
		seen[o.Series()] = true
		if first {
			snapshotGuests(c, s)
		}
		field, fix := "guest", "Remove this object; a backup works (without that folder)."
		if o.Has("guests") {
			field, fix = "guests", fmt.Sprintf("Write except: [%s], or leave it out of the list; a backup works (without that folder).", s.Guest)
		}
		if g := c.refers(o, field, s.Guest, "those are kept as archives"); g != nil && !s.Absent {
			for _, i := range slices.Sorted(maps.Keys(g.Config.Mounts)) {
				if g.Config.Mounts[i].Bind() {
					c.fail(o, field, fix, "%s has a folder of the host as mp%d (%s), and PVE makes no snapshots of such guests", g.Ref, i, g.Config.Mounts[i].Pos)
					break
				}
			}
		}
		switch taken := o.Has("taken"); {
		case !first:
		case s.Absent && s.Every > 0:
			c.fail(o, "every", "For no more of them remove the object; they are then yours to delete.", "ensure: absent is for named snapshots")
		case s.Absent && taken:
			c.fail(o, "taken", "Remove the line.", "a snapshot with ensure: absent is not taken")
		case taken && (s.Every > 0 || o.Has("every")):
			c.fail(o, "every", "Keep taken: for one named snapshot, or every: for periodic ones.", "a snapshot is either named or periodic")
		case !o.Has("ensure") && !taken && !o.Has("every"):
			c.fail(o, "", "Say taken: 2026-11-22 for one named snapshot, or every: 1h for periodic ones.", "does not say when")
		case o.Has("keep") && !o.Has("every"):
			c.fail(o, "keep", "Leave it out; it is for every:.", "a named snapshot is kept until ensure: absent")
		case o.Has("every") && len(o.Series())+suffixed > 40:
			c.fail(o, "", fmt.Sprintf("Choose one of at most %d characters.", 40-suffixed), "the name is too long: PVE takes 40 characters, and _YYYYMMDD_HHMMSS is put after it")
		}
	}
}
