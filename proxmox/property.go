package proxmox

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A property string packs several settings into one value, as in
// "name=eth0,bridge=vmbr0". The types below are such strings taken apart: maps
// by sub-key, so that sub-keys which this package has never heard of survive.
// Parsing makes booleans 1 or 0 and sizes canonical; String prints in PVE's
// order: the default key first and without its name, then the required keys,
// then the rest by name (PVE: JSONSchema, print_property_string).

// Net is one network interface, the value of netN.
type Net map[string]string

// MountPoint is a volume, a bind of a host directory or a device, the value of
// rootfs and mpN. Its default key is "volume".
type MountPoint map[string]string

// Features are what a container may do besides the usual, the value of
// features.
type Features map[string]string

// Startup is when a guest starts among the others, the value of startup. Its
// default key is "order".
type Startup map[string]string

// Device is a host device passed through, the value of devN. Its default key
// is "path".
type Device map[string]string

// MountKind tells what a mount point brings in.
type MountKind int

const (
	VolumeMount MountKind = iota // a volume of a storage
	BindMount                    // a directory of the host
	DeviceMount                  // a block device of the host
)

func (k MountKind) String() string {
	return [...]string{"volume", "bind", "device"}[k]
}

// ParseMountPoint reads the value of rootfs or mpN.
func ParseMountPoint(s string) (MountPoint, error) { return whole[MountPoint](parseMount(s)) }

// CheckMountPoint is the error of ParseMountPoint.
func CheckMountPoint(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		if size, ok := strings.CutPrefix(part, "size="); ok {
			if _, err := ParseSize(size); err != nil {
				_, err := parseMount(s)
				return err
			}
		}
	}
	return mountGrammar.check(s)
}

func parseMount(s string) (map[string]string, error) {
	m, err := mountGrammar.parse(s)
	if text, ok := m["size"]; ok {
		size, sizeErr := ParseSize(text)
		if sizeErr == nil {
			m["size"] = size.String()
		}
		err = errors.Join(err, sizeErr)
	}
	return m, err
}

func (m MountPoint) String() string { return mountGrammar.print(m) }

// Volume is the volume id, or the path on the host of a bind or a device.
func (m MountPoint) Volume() string { return m["volume"] }

// Path is where the guest sees it; empty for rootfs.
func (m MountPoint) Path() string { return m["mp"] }

// Size is the recorded size, if any. PVE does not resize by it.
func (m MountPoint) Size() (Size, bool) {
	size, err := ParseSize(m["size"])
	return size, err == nil
}

// Backup tells whether vzdump takes it along: for a mount point only when it
// is said, for a rootfs (which has no path) always, for a bind or a device
// never.
func (m MountPoint) Backup() bool {
	return m.Kind() == VolumeMount && (m["backup"] == "1" || m.Path() == "")
}

// Kind is told by the volume: /dev/… is a device, any other absolute path a
// bind.
func (m MountPoint) Kind() MountKind {
	switch {
	case strings.HasPrefix(m.Volume(), "/dev/"):
		return DeviceMount
	case strings.HasPrefix(m.Volume(), "/"):
		return BindMount
	}
	return VolumeMount
}

// NewVolume is the volume part of a rootfs or mpN that asks PVE to allocate a
// new volume: the storage and the size in GiB. PVE rounds down to whole MiB.
func NewVolume(storage string, size Size) string {
	gib := strconv.FormatFloat(float64(size/MiB)/1024, 'f', -1, 64)
	return storage + ":" + gib
}

// ParseFeatures reads the value of features.
func ParseFeatures(s string) (Features, error) { return whole[Features](featuresGrammar.parse(s)) }

func (f Features) String() string { return featuresGrammar.print(f) }

// ParseStartup reads the value of startup; a bare number is the order.
func ParseStartup(s string) (Startup, error) {
	m, err := startupGrammar.parse(s)
	for key, value := range m {
		if !slices.Contains([]string{"order", "up", "down"}, key) {
			err = errors.Join(err, fmt.Errorf("invalid startup order %q: PVE knows order, up and down, not %s", s, key))
		} else if n, numErr := strconv.Atoi(value); numErr != nil || n < 0 {
			err = errors.Join(err, fmt.Errorf("invalid startup order %q: %s=%s is not a number (up and down are seconds)", s, key, value))
		}
	}
	return whole[Startup](m, err)
}

// String prints order, up, down, each with its name.
func (s Startup) String() string {
	var parts []string
	for _, key := range []string{"order", "up", "down"} {
		if value, ok := s[key]; ok {
			parts = append(parts, key+"="+value)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if key != "order" && key != "up" && key != "down" {
			parts = append(parts, key+"="+s[key])
		}
	}
	return strings.Join(parts, ",")
}

// Order is the place among the guests, smaller is earlier.
func (s Startup) Order() (int, bool) {
	if s["order"] == "" {
		return 0, false
	}
	n, err := strconv.Atoi(s["order"])
	return n, err == nil
}

// ParseDevice reads the value of devN; a bare path is the path.
func ParseDevice(s string) (Device, error) { return whole[Device](deviceGrammar.parse(s)) }

func (d Device) String() string { return deviceGrammar.print(d) }
