package node

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/compare"
)

// A Claim is an identity inside one guest that one setting alone can have: a path where
// something is mounted, the name or hardware address of an interface, a device. PVE
// accepts two settings with one identity. Then the guest does not start (two interfaces
// eth0: "Failed to setup netdev"), or one of them hides the other (two mounts of /data).
type Claim struct{ Kind, Name string }

// The kinds of claims, as a sentence names them.
const (
	ClaimPath   = "path"
	ClaimName   = "interface name"
	ClaimMAC    = "hardware address"
	ClaimDevice = "device"
)

func (c Claim) String() string { return c.Kind + " " + c.Name }

// A Clash is a claim of two settings of one guest: key makes it, other makes it too.
type Clash struct {
	Claim
	Key, Other string // "mp1", "net0", or a raw key such as "lxc.mount.entry"
	Covers     bool   // the path of other is below the path of key and is hidden by it
}

// Claims are the identities that the settings of a guest make, by key. What is not
// understood makes none: blockUnreadable blocks it.
func Claims(values map[string]string, raw [][2]string) map[string][]Claim {
	all := map[string][]Claim{}
	for key, value := range values {
		switch proxmox.Stem(key) {
		case "rootfs":
			all[key] = []Claim{{ClaimPath, "/"}}
		case "mp":
			if mp, err := proxmox.ParseMountPoint(value); err == nil {
				all[key] = []Claim{{ClaimPath, path.Clean("/" + mp.Path())}}
			}
		case "net":
			if net, err := proxmox.ParseNet(value); err == nil {
				if net["name"] != "" { // of a virtual machine only the system inside knows it
					all[key] = []Claim{{ClaimName, net["name"]}}
				}
				if net["hwaddr"] != "" {
					all[key] = append(all[key], Claim{ClaimMAC, strings.ToUpper(net["hwaddr"])})
				}
			}
		case "dev":
			if device, err := proxmox.ParseDevice(value); err == nil && device["path"] != "" {
				all[key] = []Claim{{ClaimDevice, path.Clean(device["path"])}}
			}
		}
	}
	for i, line := range raw {
		for _, c := range RawClaims(line[0], line[1]) {
			key := fmt.Sprintf("%s %d", line[0], i) // a key can stand there several times
			all[key] = append(all[key], c)
		}
	}
	return all
}

var (
	rawNet   = regexp.MustCompile(`^lxc\.net(?:work)?\.(?:\d+\.)?(name|hwaddr)$`)
	rawMount = regexp.MustCompile(`^lxc\.mount\.entry$`)
)

// mntent reads a field of a line as getmntent(3) does.
var mntent = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// RawClaims are those of one raw lxc.* line (lxc.container.conf(5)). The target of an
// lxc.mount.entry is relative to the guest's root, or absolute below LXC's own path of it.
func RawClaims(key, value string) []Claim {
	if m := rawNet.FindStringSubmatch(key); m != nil {
		if value = strings.TrimSpace(value); m[1] == "hwaddr" {
			return []Claim{{ClaimMAC, strings.ToUpper(value)}}
		}
		return []Claim{{ClaimName, value}}
	}
	fields := strings.Fields(value)
	if !rawMount.MatchString(key) || len(fields) < 2 {
		return nil
	}
	target := mntent.Replace(fields[1])
	if _, inside, ok := strings.Cut(target, "/rootfs/"); ok && strings.HasPrefix(target, "/") {
		target = inside
	}
	target = path.Clean("/" + target)
	if strings.HasPrefix(target, "/dev/") {
		return []Claim{{ClaimPath, target}, {ClaimDevice, target}}
	}
	return []Claim{{ClaimPath, target}}
}

// Clashes lists what one of the given keys claims and another setting claims too, in a
// stable order. Of two given keys the later one is named as the one that clashes.
func Clashes(all map[string][]Claim, keys map[string]bool) []Clash {
	var found []Clash
	sorted := slices.SortedFunc(maps.Keys(all), compare.CompareKeys)
	for at, key := range sorted {
		if !keys[key] {
			continue
		}
		for i, other := range sorted {
			if other == key || keys[other] && i > at {
				continue
			}
			for _, c := range all[key] {
				if slices.Contains(all[other], c) {
					found = append(found, Clash{Claim: c, Key: key, Other: RawKey(other)})
				}
			}
		}
	}
	return found
}

// RawKey is the key of a raw line without its position.
func RawKey(key string) string {
	key, _, _ = strings.Cut(key, " ")
	return key
}

// WouldClash lists what the guest would have twice if a change were made: among what is in
// force now, for some changes are applied at once, and among what is after the next start.
// A mount over the parent of another one hides that too.
func WouldClash(state *GuestState, set map[string]string) []Clash {
	if len(set) == 0 {
		return nil
	}
	keys := map[string]bool{}
	for key := range set {
		keys[key] = true
	}
	var found []Clash
	for _, values := range []map[string]string{maps.Clone(Effective(state.Config)), maps.Clone(state.Config.Raw)} {
		before := Clashes(Claims(values, state.Config.LXC), keys)
		maps.Copy(values, set)
		all := Claims(values, state.Config.LXC)
		for _, c := range append(Clashes(all, keys), Covered(all, keys, state.Status == "running")...) {
			if !slices.Contains(before, c) && !slices.Contains(found, c) {
				found = append(found, c)
			}
		}
	}
	return found
}

// Covered lists the mounts below the path of a new one that it would hide. PVE mounts by
// number (PVE: LXC::Config, valid_volume_keys), and into a running guest at once.
func Covered(all map[string][]Claim, keys map[string]bool, running bool) []Clash {
	var found []Clash
	sorted := slices.SortedFunc(maps.Keys(all), compare.CompareKeys)
	for at, key := range sorted {
		if !keys[key] || !MountKey.MatchString(key) {
			continue
		}
		for i, other := range sorted {
			if keys[other] || i > at && !running || !MountKey.MatchString(other) {
				continue
			}
			if over, under := all[key][0], all[other][0]; strings.HasPrefix(under.Name, strings.TrimRight(over.Name, "/")+"/") {
				found = append(found, Clash{Claim: under, Key: key, Other: other, Covers: true})
			}
		}
	}
	return found
}

// Standing lists what a guest has twice after its next start.
func Standing(state *GuestState) []Clash {
	values := Effective(state.Config)
	if oneEach(values) && len(state.Config.LXC) == 0 {
		return nil
	}
	keys := map[string]bool{}
	for key := range values {
		keys[key] = true
	}
	return Clashes(Claims(values, state.Config.LXC), keys)
}

// oneEach reports whether a guest has so few settings that none can clash: one mount, one
// interface and one device at most.
func oneEach(values map[string]string) bool {
	var mounts, nets, devices int
	for key := range values {
		switch proxmox.Stem(key) {
		case "rootfs", "mp":
			mounts++
		case "net":
			nets++
		case "dev":
			devices++
		}
	}
	return mounts <= 1 && nets <= 1 && devices <= 1
}
