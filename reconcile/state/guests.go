package state

import (
	"time"

	"github.com/felhom/felhom-agent/proxmox"
)

// A GuardFailure is a guarded change that was taken back.
type GuardFailure struct {
	Want string `json:"want"` // the digest of what the YAML asked for
	Why  string `json:"why"`  // what did not hold
}

// A Deletion names the guest whose deletion was in a plan that somebody has seen.
type Deletion struct {
	VMID proxmox.VMID `json:"vmid"`
	Born time.Time    `json:"born"` // of its data: a guest that is made again is another one
	Seen time.Time    `json:"seen"`
}
