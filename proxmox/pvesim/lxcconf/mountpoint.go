package lxcconf

import (
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
	if m.Key == "rootfs" {
		return schema.RootFS.Text(m.Props)
	}
	return schema.MountPoint.Text(m.Props)
}

// ParseMountPoint reads the value of rootfs or mpN.
func ParseMountPoint(key, text string) (MountPoint, error) {
	sc := schema.MountPoint
	if key == "rootfs" {
		sc = schema.RootFS
	}
	p, err := sc.Parse(text, "")
	m := MountPoint{Key: key, Path: "/", Props: p}
	if key != "rootfs" {
		m.Path = p["mp"]
	}
	return m, err
}

// MountPoints are rootfs and the mpN, in that order; broken ones are left out.
func (sec *Section) MountPoints() []MountPoint {
	var all []MountPoint
	for _, k := range append([]string{"rootfs"}, sec.Numbered("mp")...) {
		if v := sec.Vals[k]; v != "" {
			if m, err := ParseMountPoint(k, v); err == nil {
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
