package refresh

import (
	"github.com/felhom/felhom-agent/proxmox"
)

// A Shortage is a guest for whose next archive a storage has no room.
type Shortage struct {
	Guest string
	Last  proxmox.Size             // of the archive to come back from
	Older []proxmox.StorageContent // what a person could delete, the oldest first
}
