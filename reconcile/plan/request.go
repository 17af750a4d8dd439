package plan

import (
	"regexp"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
)

// VmidInPath finds the guest that a request is about.
var VmidInPath = regexp.MustCompile(`/(?:lxc|qemu)/(\d+)`)

// TypeInPath is the type of the guests that a request is about.
func TypeInPath(path string) proxmox.GuestType {
	if strings.Contains(path, "/qemu") {
		return proxmox.QEMU
	}
	return proxmox.LXC
}
