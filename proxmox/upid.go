package proxmox

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// UPID names a task: which process on which node, since when, doing what, for
// whom. It is comparable; the zero UPID stands for no task (a call that was
// carried out at once).
type UPID struct {
	Node        string
	PID, PStart uint64 // PStart: the process' start in clock ticks since boot
	StartTime   int64  // Unix seconds
	Type        string // vzrestore, vzdump …
	ID          string // mostly the VMID; may be empty, or 111@usb-backup
	User        string // user@realm or user@realm!token
}

var upidForm = regexp.MustCompile(`^UPID:([A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?):([0-9A-Fa-f]{8}):([0-9A-Fa-f]{8}|[1-9A-Fa-f][0-9A-Fa-f]{8}):([0-9A-Fa-f]{8}):([^:\s/]+):([^:\s/]*):([^:\s/]+):$`)

// ParseUPID reads PVE's form, which ends with a colon (PVE: UPID, decode).
func ParseUPID(s string) (UPID, error) {
	m := upidForm.FindStringSubmatch(s)
	if m == nil {
		return UPID{}, fmt.Errorf("invalid task ID %q: expected UPID:NODE:PID:PSTART:STARTTIME:TYPE:ID:USER: with the colon at its end", s)
	}
	hex := func(s string) uint64 {
		n, _ := strconv.ParseUint(s, 16, 64) // at most nine digits
		return n
	}
	return UPID{
		Node: m[1], PID: hex(m[2]), PStart: hex(m[3]), StartTime: int64(hex(m[4])),
		Type: m[5], ID: m[6], User: m[7],
	}, nil
}

// String is PVE's form, or "" for the zero UPID.
func (u UPID) String() string {
	if u.IsZero() {
		return ""
	}
	return fmt.Sprintf("UPID:%s:%08X:%08X:%08X:%s:%s:%s:", u.Node, u.PID, u.PStart, u.StartTime, u.Type, u.ID, u.User)
}

// IsZero tells that there is no task.
func (u UPID) IsZero() bool { return u == UPID{} }

// Start is when the task began, by the node's clock.
func (u UPID) Start() time.Time { return time.Unix(u.StartTime, 0) }

// MarshalText gives PVE's form, so that a UPID is a string in JSON.
func (u UPID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads PVE's form; an empty text is the zero UPID.
func (u *UPID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*u = UPID{}
		return nil
	}
	parsed, err := ParseUPID(string(text))
	if err == nil {
		*u = parsed
	}
	return err
}
