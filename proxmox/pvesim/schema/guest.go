package schema

import (
	"strings"
)

// VolumeKind is volume, bind or device. PVE: classify_mountpoint.
func VolumeKind(volid string) string {
	switch {
	case strings.HasPrefix(volid, "/dev/"):
		return "device"
	case strings.HasPrefix(volid, "/"):
		return "bind"
	}
	return "volume"
}
