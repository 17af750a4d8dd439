package compare

import (
	"maps"
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
)

// SameStored reports whether PVE has stored what was sent for a key.
func SameStored(key, sent, stored string) bool {
	plain := proxmox.Stem(key)
	switch {
	case key == "description":
		return proxmox.CanonicalDescription(sent) == proxmox.CanonicalDescription(stored)
	case key == "tags":
		return slices.Equal(proxmox.ParseTags(sent), proxmox.ParseTags(stored))
	case key == "rootfs", plain == "mp":
		a, errA := proxmox.ParseMountPoint(sent)
		b, errB := proxmox.ParseMountPoint(stored)
		if errA != nil || errB != nil {
			return false
		}
		id, _ := proxmox.ParseVolumeID(a.Volume())
		_, named := id.Owner()
		return sameSubkeys(a, b, "volume", "size") && (a.Volume() == b.Volume() || id.Storage != "" && !named) // a new volume has a name of PVE's choice
	case plain == "net":
		return sameProperties(proxmox.ParseNet, sent, stored, "type")
	case plain == "dev":
		return sameProperties(proxmox.ParseDevice, sent, stored)
	case key == "features":
		return sameProperties(proxmox.ParseFeatures, sent, stored)
	case key == "startup":
		return sameProperties(proxmox.ParseStartup, sent, stored)
	}
	return SameValue(key, sent, stored)
}

func sameProperties[M ~map[string]string](parse func(string) (M, error), sent, stored string, but ...string) bool {
	a, errA := parse(sent)
	b, errB := parse(stored)
	return errA == nil && errB == nil && sameSubkeys(a, b, but...)
}

// sameSubkeys compares two property strings, but for some sub-keys.
func sameSubkeys[M ~map[string]string](a, b M, but ...string) bool {
	all := maps.Clone(a)
	maps.Copy(all, b)
	for key := range all {
		if !slices.Contains(but, key) && !SameSubkey(key, a[key], b[key]) {
			return false
		}
	}
	return true
}
