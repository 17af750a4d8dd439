package reconcile

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
)

// A claim is an identity inside one guest that one setting alone can have: a path where
// something is mounted, the name or hardware address of an interface, a device. PVE
// accepts two settings with one identity. Then the guest does not start (two interfaces
// eth0: "Failed to setup netdev"), or one of them hides the other (two mounts of /data).
type claim struct{ kind, name string }

// The kinds of claims, as a sentence names them.
const (
	claimPath   = "path"
	claimName   = "interface name"
	claimMAC    = "hardware address"
	claimDevice = "device"
)

func (c claim) String() string { return c.kind + " " + c.name }

// A clash is a claim of two settings of one guest: key makes it, other makes it too.
type clash struct {
	claim
	key, other string // "mp1", "net0", or a raw key such as "lxc.mount.entry"
	covers     bool   // the path of other is below the path of key and is hidden by it
}

// claims are the identities that the settings of a guest make, by key. What is not
// understood makes none: holdUnreadable blocks it.
func claims(values map[string]string, raw [][2]string) map[string][]claim {
	all := map[string][]claim{}
	for key, value := range values {
		switch strings.TrimRight(key, "0123456789") {
		case "rootfs":
			all[key] = []claim{{claimPath, "/"}}
		case "mp":
			if mp, err := proxmox.ParseMountPoint(value); err == nil {
				all[key] = []claim{{claimPath, path.Clean("/" + mp.Path())}}
			}
		case "net":
			if net, err := proxmox.ParseNet(value); err == nil {
				all[key] = []claim{{claimName, net["name"]}}
				if net["hwaddr"] != "" {
					all[key] = append(all[key], claim{claimMAC, strings.ToUpper(net["hwaddr"])})
				}
			}
		case "dev":
			if device, err := proxmox.ParseDevice(value); err == nil && device["path"] != "" {
				all[key] = []claim{{claimDevice, path.Clean(device["path"])}}
			}
		}
	}
	for i, line := range raw {
		for _, c := range rawClaims(line[0], line[1]) {
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

// rawClaims are those of one raw lxc.* line (lxc.container.conf(5)). The target of an
// lxc.mount.entry is relative to the guest's root, or absolute below LXC's own path of it.
func rawClaims(key, value string) []claim {
	if m := rawNet.FindStringSubmatch(key); m != nil {
		if value = strings.TrimSpace(value); m[1] == "hwaddr" {
			return []claim{{claimMAC, strings.ToUpper(value)}}
		}
		return []claim{{claimName, value}}
	}
	fields := strings.Fields(value)
	if !rawMount.MatchString(key) || len(fields) < 2 {
		return nil
	}
	target := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[1])
	if _, inside, ok := strings.Cut(target, "/rootfs/"); ok && strings.HasPrefix(target, "/") {
		target = inside
	}
	target = path.Clean("/" + target)
	if strings.HasPrefix(target, "/dev/") {
		return []claim{{claimPath, target}, {claimDevice, target}}
	}
	return []claim{{claimPath, target}}
}

// clashes lists what one of the given keys claims and another setting claims too, in a
// stable order. Of two given keys the later one is named as the one that clashes.
func clashes(all map[string][]claim, keys map[string]bool) []clash {
	var found []clash
	sorted := slices.SortedFunc(maps.Keys(all), compareKeys)
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
					found = append(found, clash{claim: c, key: key, other: rawKey(other)})
				}
			}
		}
	}
	return found
}

// rawKey is the key of a raw line without its position.
func rawKey(key string) string {
	key, _, _ = strings.Cut(key, " ")
	return key
}

// wouldClash lists what the guest would have twice if a change were made: among what is in
// force now, for some changes are applied at once, and among what is after the next start.
// A mount over the parent of another one hides that too.
func wouldClash(state *GuestState, set map[string]string) []clash {
	keys := map[string]bool{}
	for key := range set {
		keys[key] = true
	}
	var found []clash
	for _, values := range []map[string]string{effective(state.Config), maps.Clone(state.Config.Raw)} {
		before := clashes(claims(values, state.Config.LXC), keys)
		maps.Copy(values, set)
		all := claims(values, state.Config.LXC)
		for _, c := range append(clashes(all, keys), covered(all, keys, state.Status == "running")...) {
			if !slices.Contains(before, c) && !slices.Contains(found, c) {
				found = append(found, c)
			}
		}
	}
	return found
}

// covered lists the mounts below the path of a new one that it would hide. PVE mounts by
// number (PVE: LXC::Config, valid_volume_keys), and into a running guest at once.
func covered(all map[string][]claim, keys map[string]bool, running bool) []clash {
	var found []clash
	sorted := slices.SortedFunc(maps.Keys(all), compareKeys)
	for at, key := range sorted {
		if !keys[key] || !mountKey.MatchString(key) {
			continue
		}
		for i, other := range sorted {
			if keys[other] || i > at && !running || !mountKey.MatchString(other) {
				continue
			}
			if over, under := all[key][0], all[other][0]; strings.HasPrefix(under.name, strings.TrimRight(over.name, "/")+"/") {
				found = append(found, clash{claim: under, key: key, other: other, covers: true})
			}
		}
	}
	return found
}

