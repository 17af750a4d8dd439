package spec

import "time"

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
		of("keep", Agent, keep, func(s *Snapshot, v Keep) { s.Keep = v }, "How many periodic ones are kept; a number counts the last ones; default: all."),
		of("description", Agent, description, func(s *Snapshot, v string) { s.Description = v }, "Its description."),
		of("ensure", Agent, oneOf("absent"), func(s *Snapshot, v string) { s.Absent = v == "absent" }, "absent: delete it, if it is ours."),
	}, objectFields(func(s *Snapshot) *Object { return &s.Object })...)...,
)
