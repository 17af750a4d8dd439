package node

import (
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
)

// Effective are the values that a guest has after its next start: those in force
// with the pending ones over them. They are only read: where nothing is pending, they are
// those in force themselves.
func Effective(config *proxmox.GuestConfig) map[string]string {
	if len(config.Pending) == 0 && len(config.Deleted) == 0 {
		return config.Raw
	}
	values := maps.Clone(config.Raw)
	maps.Copy(values, config.Pending)
	for _, key := range config.Deleted {
		delete(values, key)
	}
	return values
}

var MountKey = regexp.MustCompile(`^mp\d+$`)

// Unreadable finds a net, a mount point or a drive that a guest has and that is not understood, as
// a later version of PVE may have it. Taken for none, it would be replaced.
func Unreadable(config *proxmox.GuestConfig) (key string, err error) {
	for _, values := range []map[string]string{config.Raw, config.Pending} {
		for k, value := range values {
			var wrong error
			switch proxmox.Stem(k) {
			case "net":
				wrong = proxmox.CheckNet(value)
			case "mp", "rootfs":
				wrong = proxmox.CheckMountPoint(value)
			case "agent":
				_, wrong = proxmox.ParseAgent(value)
			case "memory":
				_, wrong = strconv.ParseInt(strings.TrimPrefix(value, "current="), 10, 64)
			default:
				if proxmox.IsDrive(k) {
					_, wrong = proxmox.ParseDrive(value)
				}
			}
			if wrong != nil && (err == nil || k < key) {
				key, err = k, wrong
			}
		}
		if err != nil {
			return key, err
		}
	}
	return "", nil
}
