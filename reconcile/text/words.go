package text

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"path"
	"slices"
	"strings"
)

func ShortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// ProxmoxStorage is the storage part of a volume id.
func ProxmoxStorage(volid string) string {
	storage, _, _ := strings.Cut(volid, ":")
	return storage
}

// TemplateName is a template's name as pveam prints it, without architecture and ending.
func TemplateName(volid string) string {
	base := path.Base(volid)
	base, _, _ = strings.Cut(base, "_amd64")
	base, _, _ = strings.Cut(base, "_arm64")
	return base
}

// SortedFlags prints the features that are set: "keyctl", "nesting", "mount=nfs".
func SortedFlags(features map[string]string) []string {
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
