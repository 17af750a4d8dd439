package proxmox

import (
	"fmt"
	"strings"
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

// ParseUPID reads PVE's form, which ends with a colon (PVE: UPID, decode). Each refresh reads some
// hundreds, so it is done without a regular expression.
func ParseUPID(s string) (UPID, error) {
	var part [9]string // UPID, node, PID, PSTART, STARTTIME, type, ID, user, ""
	rest, n := s, 0
	for ; n < len(part)-1; n++ {
		var more bool
		if part[n], rest, more = strings.Cut(rest, ":"); !more {
			break
		}
	}
	pid, pidOK := hexNumber(part[2], 8)
	pstart, pstartOK := hexNumber(part[3], max(8, min(len(part[3]), 9)))
	start, startOK := hexNumber(part[4], 8)
	switch {
	case n < len(part)-1, rest != "", part[0] != "UPID", !isNodeName(part[1]), !pidOK, !pstartOK, !startOK,
		len(part[3]) == 9 && part[3][0] == '0', part[5] == "" || part[7] == "", strings.ContainsAny(part[5]+part[6]+part[7], "/ \t\n\f\r"):
		return UPID{}, fmt.Errorf("invalid task ID %q: expected UPID:NODE:PID:PSTART:STARTTIME:TYPE:ID:USER: with the colon at its end", s)
	}
	return UPID{Node: part[1], PID: pid, PStart: pstart, StartTime: int64(start), Type: part[5], ID: part[6], User: part[7]}, nil
}

// hexNumber reads a number of so many hexadecimal digits.
func hexNumber(s string, digits int) (n uint64, ok bool) {
	for i := range len(s) {
		ch := s[i]
		switch {
		case ch >= '0' && ch <= '9':
			ch -= '0'
		case ch >= 'a' && ch <= 'f':
			ch -= 'a' - 10
		case ch >= 'A' && ch <= 'F':
			ch -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | uint64(ch)
	}
	return n, len(s) == digits
}

// isNodeName reports whether a word can name a node: letters, digits and, within, hyphens.
func isNodeName(s string) bool {
	for i := range len(s) {
		ch := s[i]
		letter := ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z' || ch >= '0' && ch <= '9'
		if !letter && (ch != '-' || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != ""
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
