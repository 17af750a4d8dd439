package spec

import (
	"time"

	"github.com/felhom/felhom-agent/proxmox"
)

// State is the wanted run state of a guest.
type State string

// The run states; empty means the YAML does not say.
const (
	Running State = "running"
	Stopped State = "stopped"
)

// RestartPolicy says who restarts a guest when a change needs it.
type RestartPolicy string

// The restart policies. RestartManual is filled in where the YAML is silent.
const (
	RestartManual RestartPolicy = "manual" // a person
	RestartAuto   RestartPolicy = "auto"   // the agent: shutdown, then start
)

// Guest is one entry of restores (Adopt false) or guests (Adopt true).
type Guest struct {
	Object
	Adopt    bool
	VMID     proxmox.VMID
	Is       string   // the expected hostname; empty: the object's name
	From     []Source // tried in this order; empty under guests: never brought back
	Storage  string   // for volumes at birth; empty (guests only): the archive's
	RootFS   RootFS   // only Size may be set here
	Config   Config
	Needs    []string // restores or guests that must run before this is started
	State    State
	Restart  RestartPolicy
	Rollback *Rollback // nil: none asked for
}

// Hostname is the hostname that the guest is expected to have: the key is,
// else the object's name.
func (g *Guest) Hostname() string {
	if g.Is != "" {
		return g.Is
	}
	return g.Ref.Name
}

// Source is one place a guest can be made from. Exactly one of Golden, Archive
// and Newest is set.
type Source struct {
	Pos     Pos
	Golden  string       // the published archive of this golden
	Archive string       // this volume id
	Newest  string       // the newest proven backup on this storage
	VMID    proxmox.VMID // with Newest: of this guest; 0: the object's own
}

// Rollback is a request to take a guest back to a snapshot, once.
type Rollback struct {
	Pos           Pos
	To            string // the snapshot's name in PVE
	Requested     time.Time
	Zoned         bool   // whether the text of requested has a zone; without one nothing is rolled back
	RequestedText string // as written
	Loses         []string
}
