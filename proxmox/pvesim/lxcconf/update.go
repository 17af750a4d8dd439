package lxcconf

import (
	"sort"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
)

// CanonicalTags lower-cases, sorts and joins. PVE: GuestHelpers get_unique_tags.
func CanonicalTags(v string) string {
	seen := make(map[string]bool)
	var tags []string
	for _, t := range notation.SplitList(v) {
		t = strings.ToLower(t)
		if !seen[t] {
			seen[t] = true
			tags = append(tags, t)
		}
	}
	sort.Strings(tags)
	if len(tags) == 0 {
		return " "
	}
	return strings.Join(tags, ";")
}
