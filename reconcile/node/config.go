package node

import (
	"maps"
	"regexp"

	"github.com/felhom/felhom-agent/proxmox"
)

// Effective are the values that a guest has after its next start: those in force
// with the pending ones over them.
func Effective(config *proxmox.GuestConfig) map[string]string {
	values := maps.Clone(config.Raw)
	maps.Copy(values, config.Pending)
	for _, key := range config.Deleted {
		delete(values, key)
	}
	return values
}

var MountKey = regexp.MustCompile(`^mp\d+$`)
