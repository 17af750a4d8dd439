package spec

import "time"

// Backup is a periodic backup of guests, with retention.
type Backup struct {
	Object
	All       bool     // all declared guests; see Desired.BackupGuests
	Guests    []string // else these
	Except    []string
	Storage   string
	At        *Schedule     // nil: Every is set
	Every     time.Duration // 0: At is set
	Late      time.Duration // how long after its slot a backup may still start; 0: until the next slot
	Mode      string        // snapshot (default), suspend, stop
	Compress  string        // zstd (default), gzip, lzo, 0
	Keep      Keep
	WarnAfter time.Duration // 0: never
}
