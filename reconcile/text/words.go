package text

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
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
	for _, key := range Keys(features) {
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

// Keys are the keys of a map in order; of an empty one they cost nothing.
func Keys[K cmp.Ordered, V any](m map[K]V) []K {
	if len(m) == 0 {
		return nil
	}
	keys := make([]K, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
