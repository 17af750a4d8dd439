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
