package compare

import (
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
)

// CompareKeys sorts net2 before net10.
func CompareKeys(a, b string) int {
	if proxmox.Stem(a) == proxmox.Stem(b) && len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
