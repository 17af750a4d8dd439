package reconcile

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// proxmoxStorage is the storage part of a volume id.
func proxmoxStorage(volid string) string {
	storage, _, _ := strings.Cut(volid, ":")
	return storage
}

// templateName is a template's name as pveam prints it, without architecture and ending.
func templateName(volid string) string {
	base := path.Base(volid)
	base, _, _ = strings.Cut(base, "_amd64")
	base, _, _ = strings.Cut(base, "_arm64")
	return base
}

// sortedFlags prints the features that are set: "keyctl", "nesting", "mount=nfs".
func sortedFlags(features map[string]string) []string {
	var flags []string
	for _, key := range slices.Sorted(maps.Keys(features)) {
		switch features[key] {
		case "0", "":
		case "1":
			flags = append(flags, key)
		default:
			flags = append(flags, key+"="+features[key])
		}
	}
	return flags
}
