package lxcconf

import (
	"slices"
	"sort"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
)

// Numbered are the keys of a kind that are set, by number.
func (sec *Section) Numbered(kind string) []string {
	var keys []string
	for k := range sec.Vals {
		if strings.HasPrefix(k, kind) && len(k) > len(kind) && notation.IsInteger(k[len(kind):]) {
			keys = append(keys, k)
		}
	}
	sort.Slice(keys, func(i, j int) bool { return notation.Atoi(keys[i][len(kind):]) < notation.Atoi(keys[j][len(kind):]) })
	return keys
}

// A MountPoint is rootfs or an mpN, parsed.
type MountPoint struct {
	Key  string
	Path string // in the guest
	schema.Props
}

// Volid is the volume ID, or the path of a bind or device.
func (m MountPoint) Volid() string { return m.Props["volume"] }

// Kind is "volume", "bind" or "device".
func (m MountPoint) Kind() string { return schema.VolumeKind(m.Volid()) }

// Text is the mount point as a property string.
func (m MountPoint) Text() string {
	switch {
	case m.Key == "rootfs":
		return schema.RootFS.Text(m.Props)
	case IsDrive(m.Key):
		return schema.Drive.Text(m.Props)
	}
	return schema.MountPoint.Text(m.Props)
}

// ParseMountPoint reads the value of rootfs or mpN.
func ParseMountPoint(key, text string) (MountPoint, error) {
	sc := schema.MountPoint
	switch {
	case key == "rootfs":
		sc = schema.RootFS
	case IsDrive(key):
		sc = schema.Drive
	}
	p, err := sc.Parse(text, "")
	m := MountPoint{Key: key, Path: "/", Props: p}
	if IsDrive(key) {
		m.Path = key
	} else if key != "rootfs" {
		m.Path = p["mp"]
	}
	return m, err
}

// driveKinds are the keys of a virtual machine's drives, in the order in which it has them.
var driveKinds = []string{"scsi", "virtio", "sata", "ide", "efidisk", "tpmstate"}

// IsDrive reports whether a key is a drive of a virtual machine.
func IsDrive(key string) bool {
	kind := strings.TrimRight(key, "0123456789")
	return kind != key && slices.Contains(driveKinds, kind)
}

// Backed reports whether a backup contains the volume: of a container the root and what says
// backup=1, of a virtual machine all but what says backup=0.
func (m MountPoint) Backed() bool {
	if IsDrive(m.Key) {
		return m.Props["backup"] != "0"
	}
	return m.Key == "rootfs" || m.Props["backup"] == "1"
}

// MountPoints are rootfs and the mpN, or the drives of a virtual machine without those for
// discs, in that order; broken ones are left out.
func (sec *Section) MountPoints() []MountPoint {
	var all []MountPoint
	keys := append([]string{"rootfs"}, sec.Numbered("mp")...)
	for _, kind := range driveKinds {
		keys = append(keys, sec.Numbered(kind)...)
	}
	for _, k := range keys {
		if v := sec.Vals[k]; v != "" {
			if m, err := ParseMountPoint(k, v); err == nil && m.Props["media"] != "cdrom" {
				all = append(all, m)
			}
		}
	}
	return all
}

// MpOrder sorts rootfs first and then by number.
func MpOrder(key string) int {
	if key == "rootfs" {
		return -1
	}
	return notation.Atoi(strings.TrimPrefix(key, "mp"))
}
