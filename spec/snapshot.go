package spec

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Snapshot is a named snapshot (Taken, or Absent) or a periodic one (Every),
// whose snapshots are called NAME_YYYYMMDD_HHMMSS.
type Snapshot struct {
	Object
	Guest       string
	Taken       Moment // one taken then or later
	Description string
	Every       time.Duration
	Keep        Keep
	Absent      bool
}

var snapshotShape = shaped(map[string]string{
	"guests":  "A snapshot object is for one guest: guest: NAME.",
	"at":      "Snapshots are taken every so often: every: 1h.",
	"vmid":    "Name the guest by its object: guest: NAME.",
	"storage": "A snapshot lies where the guest's disks lie; leave it out.",
},
	append([]field[Snapshot]{
		of("guest", Agent, text, func(s *Snapshot, v string) { s.Guest = v }, "The restore or guest it is of.").
			must("Name the guest: guest: web."),
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

func (c *checker) snapshots() {
	for _, s := range sorted(c.Snapshots) {
		o := &s.Object
		if g := c.refers(o, "guest", s.Guest, "those are kept as archives"); g != nil && !s.Absent {
			for _, i := range slices.Sorted(maps.Keys(g.Config.Mounts)) {
				if g.Config.Mounts[i].Bind() {
					c.fail(o, "guest", "Remove this object; a backup works (without that folder).", "%s has a folder of the host as mp%d (%s), and PVE makes no snapshots of such guests", g.Ref, i, g.Config.Mounts[i].Pos)
					break
				}
			}
		}
		switch taken := o.Has("taken"); {
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
		case o.Has("every") && len(o.Ref.Name)+suffixed > 40:
			c.fail(o, "", fmt.Sprintf("Choose one of at most %d characters.", 40-suffixed), "the name is too long: PVE takes 40 characters, and _YYYYMMDD_HHMMSS is put after it")
		}
	}
}
