package guests

import (
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/storages"
)

// MayModify checks the rights for new or deleted keys of a guest's config.
// conf is what the guest has (nil at its creation). PVE: check_ct_modify_config_perm.
func MayModify(cl *cluster.Cluster, w *rights.Subject, vmid int, pool string, conf *lxcconf.Section, set map[string]string, del []string, unprivileged bool) error {
	if w.Root() {
		return nil
	}
	m := modification{cl, w, vmid, pool, conf, set, unprivileged}
	for _, key := range slices.Sorted(maps.Keys(set)) {
		if err := m.allowed(key, false); err != nil {
			return err
		}
	}
	for _, key := range del {
		if err := m.allowed(key, true); err != nil {
			return err
		}
	}
	return nil
}

// A modification is somebody's change of a guest's config.
type modification struct {
	cl           *cluster.Cluster
	w            *rights.Subject
	vmid         int
	pool         string
	conf         *lxcconf.Section // what the guest has; nil at its creation
	set          map[string]string
	unprivileged bool
}

// onGuest is the 403 of who lacks a privilege on the guest, and on the pool that it is created in.
func (m modification) onGuest(priv string) error {
	if m.pool != "" && m.cl.Rights.Can(m.w, "/pool/"+m.pool, priv) {
		return nil
	}
	return m.cl.Rights.Need(m.w, rights.OnVM(m.vmid), priv)
}

// old is what the guest has of a key.
func (m modification) old(key string) string {
	if m.conf == nil {
		return ""
	}
	return m.conf.Vals[key]
}

// allowed checks one key that is set or deleted.
func (m modification) allowed(key string, deleted bool) error {
	switch kind := strings.TrimRight(key, "0123456789"); {
	case key == "cores" || key == "cpuunits" || key == "cpulimit":
		return m.onGuest("VM.Config.CPU")
	case key == "rootfs" || kind == "mp" && key != "mp":
		if err := m.onGuest("VM.Config.Disk"); err != nil || deleted {
			return err
		}
		return m.disk(key)
	case kind == "dev" && key != "dev":
		return refusal.Forbid("configuring device passthrough is only allowed for root@pam")
	case key == "memory" || key == "swap":
		return m.onGuest("VM.Config.Memory")
	case kind == "net" && key != "net":
		if err := m.onGuest("VM.Config.Network"); err != nil {
			return err
		}
		for _, text := range []string{m.old(key), m.set[key]} {
			if err := BridgeAccess(m.cl, m.w, text); err != nil {
				return err
			}
		}
		return nil
	case key == "nameserver" || key == "searchdomain" || key == "hostname":
		return m.onGuest("VM.Config.Network")
	case key == "features":
		return featuresAccess(m.onGuest, m.old(key), m.set[key], m.unprivileged, deleted)
	case key == "hookscript":
		return refusal.Forbid("changing the hookscript is only allowed for root@pam")
	case key == "tags":
		if err := m.onGuest("VM.Config.Options"); err != nil {
			return err
		}
		return tagAccess(m.cl, m.w, m.conf, m.set[key])
	}
	return m.onGuest("VM.Config.Options")
}

// disk checks a mount point that is set: only root mounts what is no volume.
func (m modification) disk(key string) error {
	point, err := lxcconf.ParseMountPoint(key, m.set[key])
	if err != nil {
		return refusal.Fail("%s", err.Error())
	}
	if point.Kind() != "volume" {
		return refusal.Forbid("mount point type " + point.Kind() + " is only allowed for root@pam")
	}
	if d := schema.NewDiskRE.FindStringSubmatch(point.Volid()); d != nil {
		return m.cl.Rights.Need(m.w, rights.OnStorage(d[1]), "Datastore.AllocateSpace")
	}
	return storages.VolumeAccess(m.cl, m.w, m.vmid, point.Volid(), "rootdir")
}

// MappingPath is the path of the mapped device of the host that a key of a virtual machine's config
// names. PVE: check_mapping_access.
func MappingPath(key, value string) string {
	props := map[string]string{}
	for pair := range strings.SplitSeq(value, ",") {
		name, v, ok := strings.Cut(pair, "=")
		if !ok {
			name, v = "", pair
		}
		props[name] = v
	}
	switch kind := strings.TrimRight(key, "0123456789"); {
	case kind == "usb" && props["mapping"] != "":
		return "/mapping/usb/" + props["mapping"]
	case kind == "hostpci" && props["mapping"] != "":
		return "/mapping/pci/" + props["mapping"]
	case kind == "rng" && props["source"]+props[""] == "/dev/hwrng":
		return "/mapping/hwrng"
	case kind == "virtiofs":
		return "/mapping/dir/" + props["dirid"] + props[""]
	}
	return ""
}

// BridgeAccess is the 403 of who may not use a bridge: a net needs SDN.Use on its bridge. PVE: check_bridge_access, check_vnet_access.
func BridgeAccess(cl *cluster.Cluster, w *rights.Subject, net string) error {
	if net == "" || w.Root() {
		return nil
	}
	p, err := schema.NetOf(net)
	if err != nil || p["bridge"] == "" {
		return nil
	}
	path := "/sdn/zones/localnetwork/" + p["bridge"]
	if p["tag"] != "" {
		path += "/" + p["tag"]
	}
	return cl.Rights.Need(w, path, "SDN.Use")
}

// featuresAccess compares flag by flag: only those that differ count.
func featuresAccess(onGuest func(string) error, old, now string, unprivileged, deleted bool) error {
	if !unprivileged {
		return refusal.Forbid("changing feature flags for privileged container is only allowed for root@pam")
	}
	was, _ := schema.Features.Parse(old, "")
	will, err := schema.Features.Parse(now, "")
	if err != nil {
		return refusal.Fail("%s", err.Error())
	}
	nesting, other := false, false
	switch {
	case deleted || len(was) == 0:
		set := will
		if deleted {
			set = was
		}
		if _, is := set["nesting"]; is && len(set) == 1 {
			nesting = true
		} else if len(set) > 0 {
			other = true
		}
	default:
		for _, m := range []schema.Props{was, will} {
			for k := range m {
				if was[k] != will[k] {
					if k == "nesting" {
						nesting = true
					} else {
						other = true
					}
				}
			}
		}
	}
	if other {
		return refusal.Forbid("changing feature flags (except nesting) is only allowed for root@pam")
	}
	if nesting {
		return onGuest("VM.Allocate")
	}
	return nil
}

// tagAccess: registered tags need Sys.Modify on /; only changed ones are looked at.
func tagAccess(cl *cluster.Cluster, w *rights.Subject, conf *lxcconf.Section, now string) error {
	var old []string
	if conf != nil {
		old = notation.SplitList(conf.Vals["tags"])
	}
	will := notation.SplitList(strings.ToLower(now))
	for _, tag := range append(append([]string(nil), old...), will...) {
		if slices.Contains(old, tag) != slices.Contains(will, tag) && slices.Contains(cl.World.Tags, tag) && !cl.Rights.Can(w, "/", "Sys.Modify") {
			return refusal.Forbid("/, Sys.Modify for modifying tag '" + tag + "'")
		}
	}
	return nil
}
