package compare

import (
	"cmp"
	"maps"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/text"
)

func OrEmpty[M ~map[string]string](m M) M {
	if m == nil {
		return M{}
	}
	return m
}

// Covers reports whether the live sub-keys have all declared ones, so that Overlay would
// change nothing.
func Covers[M ~map[string]string](live M, declared M) bool {
	for key, value := range declared {
		if !SameSubkey(key, live[key], value) {
			return false
		}
	}
	return true
}

// Overlay writes the declared sub-keys over the live ones and prints what differs.
func Overlay[M ~map[string]string](live M, declared M) (old, new string) {
	var was, is []string
	for _, key := range text.Keys(declared) {
		if SameSubkey(key, live[key], declared[key]) {
			continue
		}
		if live[key] != "" {
			was = append(was, key+"="+live[key])
		}
		if declared[key] == "" {
			delete(live, key)
			is = append(is, "no "+key)
			continue
		}
		live[key] = declared[key]
		is = append(is, key+"="+declared[key])
	}
	return strings.Join(was, ","), strings.Join(is, ",")
}

// OverlayFlags is overlay for features, whose unset flags are 0.
func OverlayFlags(live, declared proxmox.Features) (old, new string) {
	plain := maps.Clone(declared)
	for key, value := range plain {
		if value == "0" && live[key] == "" {
			delete(plain, key)
		}
	}
	return Overlay(live, plain)
}

// subkeyDefaults are PVE's values of unset sub-keys of nets, mount points and devices
// (PVE::LXC::Config, netconf_desc, mp_desc and dev_desc). acl is not among them: unset
// it is the file system's default, which 0 is not.
var subkeyDefaults = map[string]string{
	"firewall": "0", "link_down": "0", "host-managed": "0",
	"quota": "0", "ro": "0", "shared": "0", "backup": "0", "keepattrs": "0", "replicate": "1",
	"uid": "0", "gid": "0", "deny-write": "0",
}

// SameSubkey compares two values of a property string's sub-key; what is unset has
// PVE's default, and hardware addresses have no case.
func SameSubkey(key, live, declared string) bool {
	if key == "hwaddr" {
		return strings.EqualFold(live, declared)
	}
	return cmp.Or(live, subkeyDefaults[key]) == cmp.Or(declared, subkeyDefaults[key])
}

// defaults are PVE's values of unset keys: declaring one of them is no difference.
var defaults = map[string]string{
	"cpulimit": "0", "cpuunits": "100", "swap": "512", "memory": "512", "onboot": "0", "protection": "0",
	"console": "1", "tty": "2", "cmode": "tty", "debug": "0",
}

// SameValue compares a plain key; numbers are compared as numbers, since PVE keeps
// them as they were sent.
func SameValue(key, want, live string) bool {
	if want == live || want != "" && live == "" && want == defaults[key] {
		return true
	}
	if want == "" || live == "" {
		return false
	}
	a, errA := strconv.ParseFloat(want, 64)
	b, errB := strconv.ParseFloat(live, 64)
	return errA == nil && errB == nil && a == b
}
