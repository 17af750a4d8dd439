package proxmox

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A Need is a privilege that a call needs: one of AnyOf, on a path of PVE's permissions.
type Need struct {
	Path  string
	AnyOf []string
}

// Needs are the privileges that PVE asks for a call that a Builder has made, as far as the call says so itself. What only
// root@pam may do is not among them. (PVE: the permissions of each API method, check_ct_modify_config_perm.)
func (c Call) Needs() []Need {
	parts := strings.Split(strings.TrimPrefix(c.Path, "/"), "/")
	if len(parts) < 3 || parts[0] != "nodes" {
		return nil
	}
	switch rest := parts[3:]; {
	case parts[2] == "vzdump":
		needs := storageNeed(c.Params["storage"])
		if _, fleecing, ok := strings.Cut(c.Params["fleecing"], "storage="); ok {
			needs = append(needs, storageNeed(fleecing)...)
		}
		for vmid := range strings.SplitSeq(c.Params["vmid"], ",") {
			needs = append(needs, guestNeed(vmid, "VM.Backup"))
		}
		return needs
	case parts[2] == "storage" && len(rest) >= 3 && rest[1] == "content":
		needs := storageNeed(rest[0])
		if owner := archiveOwner.FindStringSubmatch(strings.Join(rest[2:], "/")); owner != nil {
			needs = append(needs, guestNeed(owner[1], "VM.Backup"))
		}
		return needs
	case (parts[2] == "lxc" || parts[2] == "qemu") && len(rest) == 0:
		return c.creationNeeds()
	case c.Destroys():
		return []Need{guestNeed(rest[0], "VM.Allocate")}
	case (parts[2] == "lxc" || parts[2] == "qemu") && len(rest) >= 2:
		return c.guestNeeds(rest[0], strings.Join(rest[1:], "/"))
	}
	return nil
}

// archiveOwner finds the guest of a backup in its volume id.
var archiveOwner = regexp.MustCompile(`(?:vzdump-(?:lxc|qemu)-|backup/(?:ct|vm)/)(\d+)[-/]`)

func guestNeed(vmid string, anyOf ...string) Need { return Need{"/vms/" + vmid, anyOf} }

func storageNeed(id string) []Need {
	if id == "" {
		return nil
	}
	return []Need{{"/storage/" + id, []string{"Datastore.AllocateSpace"}}}
}

// creationNeeds are those of a container that is made, of an archive or of a template.
func (c Call) creationNeeds() []Need {
	vmid := c.Params["vmid"]
	needs := []Need{guestNeed(vmid, "VM.Allocate")}
	if pool := c.Params["pool"]; pool != "" {
		needs = append(needs, Need{"/pool/" + pool, []string{"VM.Allocate"}})
	}
	needs = append(needs, storageNeed(c.Params["storage"])...)
	if owner := archiveOwner.FindStringSubmatch(c.Params["ostemplate"] + c.Params["archive"]); owner != nil && owner[1] != vmid {
		needs = append(needs, guestNeed(owner[1], "VM.Backup"))
	}
	for _, key := range slices.Sorted(maps.Keys(c.Params)) {
		switch key {
		case "vmid", "ostemplate", "archive", "restore", "storage", "pool", "unprivileged", "force", "unique":
		default:
			needs = append(needs, KeyNeeds(vmid, key, c.Params[key])...)
		}
	}
	return needs
}

func (c Call) guestNeeds(vmid, what string) []Need {
	switch {
	case what == "config":
		var needs []Need
		for _, key := range slices.Sorted(maps.Keys(c.Params)) {
			if key != "digest" && key != "delete" {
				needs = append(needs, KeyNeeds(vmid, key, c.Params[key])...)
			}
		}
		for key := range strings.SplitSeq(c.Params["delete"], ",") {
			if key != "" {
				needs = append(needs, KeyNeeds(vmid, key, "")...)
			}
		}
		return needs
	case what == "resize":
		return []Need{guestNeed(vmid, "VM.Config.Disk"), guestNeed(vmid, "VM.Config.Options")}
	case strings.HasPrefix(what, "status/"):
		return []Need{guestNeed(vmid, "VM.PowerMgmt")}
	case strings.HasSuffix(what, "/rollback"):
		return []Need{guestNeed(vmid, "VM.Snapshot", "VM.Snapshot.Rollback")}
	case what == "snapshot" || strings.HasPrefix(what, "snapshot/"):
		return []Need{guestNeed(vmid, "VM.Snapshot")}
	}
	return nil
}

// newVolume is a volume that is still to be allocated: local-lvm:8.
var newVolume = regexp.MustCompile(`^(?:volume=)?([^,:=]+):[0-9.]+(?:,|$)`)

// KeyNeeds are the needs of one key of a guest's config, of those that this program sets.
func KeyNeeds(vmid, key, value string) []Need {
	switch kind := Stem(key); {
	case key == "cores", key == "sockets", key == "cpuunits", key == "cpulimit":
		return []Need{guestNeed(vmid, "VM.Config.CPU")}
	case key == "memory", key == "swap", key == "balloon":
		return []Need{guestNeed(vmid, "VM.Config.Memory")}
	case key == "nameserver", key == "searchdomain", key == "hostname":
		return []Need{guestNeed(vmid, "VM.Config.Network")}
	case kind == "net" && kind != key:
		needs := []Need{guestNeed(vmid, "VM.Config.Network")}
		if path := BridgePath(value); path != "" {
			needs = append(needs, Need{path, []string{"SDN.Use"}})
		}
		return needs
	case key == "rootfs", kind == "mp" && kind != key, kind == "unused" && kind != key:
		needs := []Need{guestNeed(vmid, "VM.Config.Disk")}
		if m := newVolume.FindStringSubmatch(value); m != nil {
			needs = append(needs, storageNeed(m[1])...)
		}
		return needs
	}
	return []Need{guestNeed(vmid, "VM.Config.Options")}
}

// MappingPath is the path of PVE's permissions of the mapped device of the host that a key of a
// virtual machine's config names, on which its restore needs Mapping.Use; "" where it names none.
// (PVE: QemuServer, check_mapping_access)
func MappingPath(key, value string) string {
	kind := Stem(key)
	if kind == key {
		return ""
	}
	for pair := range strings.SplitSeq(value, ",") {
		name, what, named := strings.Cut(pair, "=")
		switch {
		case (kind == "usb" || kind == "hostpci") && name == "mapping" && what != "":
			return "/mapping/" + strings.TrimPrefix(kind, "host") + "/" + what
		case kind == "rng" && (pair == "/dev/hwrng" || name == "source" && what == "/dev/hwrng"):
			return "/mapping/hwrng"
		case kind == "virtiofs" && (!named || name == "dirid"):
			return "/mapping/dir/" + strings.TrimPrefix(pair, "dirid=")
		}
	}
	return ""
}

// BridgePath is the path of PVE's permissions of the bridge of an interface (net0): /sdn/zones/localnetwork/vmbr0, with
// the VLAN tag as a last part. A bridge of another SDN zone has that zone in its place, which the interface does not say.
func BridgePath(net string) string {
	path := ""
	for pair := range strings.SplitSeq(net, ",") {
		if bridge, ok := strings.CutPrefix(pair, "bridge="); ok && bridge != "" {
			path = "/sdn/zones/localnetwork/" + bridge
		}
	}
	for pair := range strings.SplitSeq(net, ",") {
		if tag, ok := strings.CutPrefix(pair, "tag="); ok && path != "" && tag != "" {
			path += "/" + tag
		}
	}
	return path
}
