package proxmox

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
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

type grammar struct {
	what       string // for errors
	defaultKey string
	required   []string
	booleans   []string
	example    string
}

var (
	netGrammar = grammar{
		what: "network interface", required: []string{"name"},
		booleans: []string{"firewall", "host-managed", "link_down"},
		example:  "name=eth0,bridge=vmbr0,ip=dhcp",
	}
	mountGrammar = grammar{
		what: "mount point", defaultKey: "volume", required: []string{"mp"},
		booleans: []string{"acl", "backup", "keepattrs", "quota", "replicate", "ro", "shared"},
		example:  "local-lvm:vm-111-disk-1,mp=/data,backup=1",
	}
	featuresGrammar = grammar{
		what:     "list of features",
		booleans: []string{"force_rw_sys", "fuse", "keyctl", "mknod", "nesting"},
		example:  "keyctl=1,nesting=1",
	}
	startupGrammar = grammar{
		what: "startup order", defaultKey: "order",
		example: "order=3,up=30",
	}
	deviceGrammar = grammar{
		what: "device", defaultKey: "path", booleans: []string{"deny-write"},
		example: "/dev/dri/renderD128,gid=104",
	}
)

// parse takes a property string apart. Beside an error it returns what could
// be read, for callers that must not overlook a thing only because it is
// written oddly.
func (g grammar) parse(s string) (map[string]string, error) {
	m := make(map[string]string, strings.Count(s, ",")+1)
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("invalid %s %q: %s", g.what, s, fmt.Sprintf(format, args...)))
	}
	for part := range strings.SplitSeq(s, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		if strings.ContainsFunc(part, unicode.IsControl) {
			fault("%q has a line break or another control character, remove it", part)
			continue
		}
		key, value, found := strings.Cut(part, "=")
		switch {
		case !found && g.defaultKey == "":
			fault("%q has no key, expected for example %s", part, g.example)
			continue
		case !found:
			key, value = g.defaultKey, part
		case key == "" || value == "":
			fault("%q lacks its key or its value, expected for example %s", part, g.example)
			continue
		case !isSubkey(key):
			fault("invalid key %q (without spaces), expected for example %s", key, g.example)
			continue
		}
		if _, twice := m[key]; twice {
			fault("%s appears twice, keep one", key)
			continue
		}
		if slices.Contains(g.booleans, key) {
			b, ok := parseBool(value)
			if !ok {
				fault("%s=%s is neither yes nor no, expected %s=1 or %s=0", key, value, key, key)
			} else {
				value = b
			}
		}
		m[key] = value
	}
	if len(m) == 0 && len(errs) == 0 {
		fault("it is empty, expected for example %s", g.example)
	}
	return m, errors.Join(errs...)
}

// isSubkey reports whether a word can be a sub-key: letters, digits, _ and -.
func isSubkey(key string) bool {
	for i := range len(key) {
		if c := key[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return key != ""
}

func parseBool(s string) (string, bool) {
	switch strings.ToLower(s) {
	case "1", "on", "yes", "true":
		return "1", true
	case "0", "off", "no", "false":
		return "0", true
	}
	return s, false
}

func (g grammar) print(m map[string]string) string {
	rank := func(key string) int {
		switch {
		case key == g.defaultKey:
			return 0
		case slices.Contains(g.required, key):
			return 1
		}
		return 2
	}
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if r := rank(a) - rank(b); r != 0 {
			return r
		}
		return strings.Compare(a, b)
	})
	var b strings.Builder
	for i, key := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		// A default value with "=" in it would be taken for another key, a blank
		// one for nothing.
		if key != g.defaultKey || strings.Contains(m[key], "=") || strings.TrimSpace(m[key]) == "" {
			b.WriteString(key)
			b.WriteByte('=')
		}
		b.WriteString(m[key])
	}
	return b.String()
}

// whole is a property string that could be read without an error, else nil.
func whole[M ~map[string]string](m map[string]string, err error) (M, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

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
