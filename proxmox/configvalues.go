package proxmox

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// What the values of a config mean.

// Hostname is the guest's name; "" if none is set. That of a virtual machine is known to PVE
// alone.
func (c GuestConfig) Hostname() string {
	if c.Type.VM() {
		return c.Raw["name"]
	}
	return c.Raw["hostname"]
}

// Description is the text without the newline that PVE puts at its end.
func (c GuestConfig) Description() string { return CanonicalDescription(c.Raw["description"]) }

// Lock is the word of the lock, or "".
func (c GuestConfig) Lock() string { return c.Raw["lock"] }

// Parent is the snapshot that the current state stems from, or "".
func (c GuestConfig) Parent() string { return c.Raw["parent"] }

// Tags are sorted and in lower case.
func (c GuestConfig) Tags() []string { return ParseTags(c.Raw["tags"]) }

// MemoryMiB is the limit of memory; PVE's default is 512.
func (c GuestConfig) MemoryMiB() int64 {
	if n, err := strconv.ParseInt(strings.TrimPrefix(c.Raw["memory"], "current="), 10, 64); err == nil {
		return n
	}
	return 512
}

func (c GuestConfig) flag(key string) bool {
	v, _ := parseBool(c.Raw[key])
	return v == "1"
}

// Unprivileged tells that root in the guest is nobody on the host.
func (c GuestConfig) Unprivileged() bool { return c.flag("unprivileged") }

// Template tells that the guest is a template and cannot be started.
func (c GuestConfig) Template() bool { return c.flag("template") }

// Protection tells that PVE refuses to remove the guest and its disks.
func (c GuestConfig) Protection() bool { return c.flag("protection") }

// OnBoot tells that the guest starts with the node.
func (c GuestConfig) OnBoot() bool { return c.flag("onboot") }

// isNumbered reports whether a key is one of a row, such as net0.
func isNumbered(key string) bool {
	for _, prefix := range []string{"net", "mp", "dev", "unused"} {
		if _, ok := NumberedKey(key, prefix); ok {
			return true
		}
	}
	return false
}

// NumberedKey is the number of a key such as net0, where it has that prefix: digits
// without a leading zero.
func NumberedKey(key, prefix string) (n int, ok bool) {
	digits, ok := strings.CutPrefix(key, prefix)
	if !ok || digits == "" || len(digits) > 9 || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		n = 10*n + int(digits[i]-'0')
	}
	return n, true
}

// Stem is a key without its number: mp of mp0, and memory of memory.
func Stem(key string) string {
	for key != "" && '0' <= key[len(key)-1] && key[len(key)-1] <= '9' {
		key = key[:len(key)-1]
	}
	return key
}

// numbered calls f for each value of a key like netN.
func (c GuestConfig) numbered(prefix string, f func(n int, value string)) {
	for key, value := range c.Raw {
		if n, ok := NumberedKey(key, prefix); ok {
			f(n, value)
		}
	}
}

// Nets are the network interfaces by number. A value that PVE itself could not
// have written is there as far as it can be read: never missing.
func (c GuestConfig) Nets() map[int]Net {
	nets := map[int]Net{}
	c.numbered("net", func(n int, value string) { m, _ := netGrammar.parse(value); nets[n] = unifyNet(m) })
	return nets
}

// MountPoints are the mpN by number, without the rootfs; nil without any.
func (c GuestConfig) MountPoints() map[int]MountPoint {
	var mounts map[int]MountPoint
	c.numbered("mp", func(n int, value string) {
		if mounts == nil {
			mounts = map[int]MountPoint{}
		}
		mounts[n], _ = parseMount(value)
	})
	return mounts
}

// Devices are the devN by number.
func (c GuestConfig) Devices() map[int]Device {
	devices := map[int]Device{}
	c.numbered("dev", func(n int, value string) { devices[n], _ = deviceGrammar.parse(value) })
	return devices
}

// Unused are the volumes that belong to the guest and are not mounted, by
// number. Deleting such a key deletes the data.
func (c GuestConfig) Unused() map[int]string {
	unused := map[int]string{}
	c.numbered("unused", func(n int, value string) { unused[n] = value })
	return unused
}

// RootFS is the root volume.
func (c GuestConfig) RootFS() (MountPoint, bool) {
	value, ok := c.Raw["rootfs"]
	if !ok {
		return nil, false
	}
	m, _ := parseMount(value)
	return m, true
}

// RootVolume is the volume of the rootfs, "" without one.
func (c GuestConfig) RootVolume() string {
	if first, _, _ := strings.Cut(c.Raw["rootfs"], ","); first != "" && !strings.ContainsFunc(first, func(r rune) bool { return r == '=' || r == ' ' || unicode.IsControl(r) }) {
		return first // as PVE writes it
	}
	root, _ := c.RootFS()
	return root.Volume()
}

// Features are the flags that are set; nil without any.
func (c GuestConfig) Features() Features {
	value, ok := c.Raw["features"]
	if !ok {
		return nil
	}
	m, _ := featuresGrammar.parse(value)
	return m
}

// Startup is when the guest starts; nil if nothing is said.
func (c GuestConfig) Startup() Startup {
	value, ok := c.Raw["startup"]
	if !ok {
		return nil
	}
	m, _ := startupGrammar.parse(value)
	return m
}

var knownKeys = strings.Fields(`arch cmode console cores cpulimit cpuunits debug description
	entrypoint env features hookscript hostname lock memory nameserver onboot ostype parent
	protection rootfs searchdomain snapstate snaptime startup swap tags template timezone tty
	unprivileged`)

// Extra are the keys of Raw that this package knows nothing about.
func (c GuestConfig) Extra() map[string]string {
	extra := map[string]string{}
	for key, value := range c.Raw {
		if !slices.Contains(knownKeys, key) && !isNumbered(key) {
			extra[key] = value
		}
	}
	return extra
}
