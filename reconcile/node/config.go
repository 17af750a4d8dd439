package node

import (
	"maps"
	"regexp"
	"slices"
	"strings"

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

// Unreadable finds a net or a mount point that a guest has and that is not understood, as
// a later version of PVE may have it. Taken for none, it would be replaced.
func Unreadable(config *proxmox.GuestConfig) (key string, err error) {
	for _, values := range []map[string]string{config.Raw, config.Pending} {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			switch strings.TrimRight(key, "0123456789") {
			case "net":
				_, err = proxmox.ParseNet(values[key])
			case "mp", "rootfs":
				_, err = proxmox.ParseMountPoint(values[key])
			}
			if err != nil {
				return key, err
			}
		}
	}
	return "", nil
}
