package questions

import (
	"cmp"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// EffectiveMounts are the mount points that a guest has after its next start. Their
// sizes are those in force, for a resize is done at once, also below a pending change.
func EffectiveMounts(config *proxmox.GuestConfig) map[int]proxmox.MountPoint {
	mounts := map[int]proxmox.MountPoint{}
	for key, value := range node.Effective(config) {
		i, ok := proxmox.NumberedKey(key, "mp")
		if !ok {
			continue
		}
		mp, err := proxmox.ParseMountPoint(value)
		if err != nil {
			continue
		}
		if now, err := proxmox.ParseMountPoint(config.Raw[key]); err == nil && now.Volume() == mp.Volume() && now["size"] != "" {
			mp["size"] = now["size"]
		}
		mounts[i] = mp
	}
	return mounts
}

// Loose lists the volumes of a guest that are attached nowhere: unusedN, and those
// that neither its current nor its pending config names. Volumes that a snapshot
// names are attached in that snapshot.
func Loose(q Questions, state *node.GuestState) []string {
	attached := map[string]bool{}
	note := func(value string) {
		if mp, err := proxmox.ParseMountPoint(value); err == nil {
			attached[mp.Volume()] = true
		}
	}
	for _, values := range []map[string]string{state.Config.Raw, state.Config.Pending} {
		for key, value := range values {
			if key == "rootfs" || strings.HasPrefix(key, "mp") {
				note(value)
			}
		}
	}
	var loose []string
	unused := state.Config.Unused()
	for _, i := range text.Keys(unused) {
		loose = append(loose, unused[i])
	}
	for _, v := range q.Have.ByGuest[state.VMID] {
		if (v.Content == "rootdir" || v.Content == "images") && v.VMID == state.VMID && !attached[v.VolID] && !slices.Contains(loose, v.VolID) {
			loose = append(loose, v.VolID)
		}
	}
	return loose
}

// VolumeOptions are the options that a volume's mount point is to have.
func VolumeOptions(declared spec.MountPoint) proxmox.MountPoint {
	want := MountOptions(declared)
	for _, flag := range []string{"backup", "ro"} {
		want[flag] = cmp.Or(want[flag], "0")
	}
	return want
}
