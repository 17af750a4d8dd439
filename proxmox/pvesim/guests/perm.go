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
	onGuest := func(priv string) error {
		if pool != "" && cl.Rights.Can(w, "/pool/"+pool, priv) {
			return nil
		}
		return cl.Rights.Need(w, rights.OnVM(vmid), priv)
	}
	one := func(key string, deleted bool) error {
		switch kind := strings.TrimRight(key, "0123456789"); {
		case key == "cores" || key == "cpuunits" || key == "cpulimit":
			return onGuest("VM.Config.CPU")
		case key == "rootfs" || kind == "mp" && key != "mp":
			if err := onGuest("VM.Config.Disk"); err != nil || deleted {
				return err
			}
			m, err := lxcconf.ParseMountPoint(key, set[key])
			if err != nil {
				return refusal.Fail("%s", err.Error())
			}
			if m.Kind() != "volume" {
				return refusal.Forbid("mount point type " + m.Kind() + " is only allowed for root@pam")
			}
			if d := schema.NewDiskRE.FindStringSubmatch(m.Volid()); d != nil {
				return cl.Rights.Need(w, rights.OnStorage(d[1]), "Datastore.AllocateSpace")
			}
			return storages.VolumeAccess(cl, w, vmid, m.Volid(), "rootdir")
		case kind == "dev" && key != "dev":
			return refusal.Forbid("configuring device passthrough is only allowed for root@pam")
		case key == "memory" || key == "swap":
			return onGuest("VM.Config.Memory")
		case kind == "net" && key != "net":
			if err := onGuest("VM.Config.Network"); err != nil {
				return err
			}
			var old string
			if conf != nil {
				old = conf.Vals[key]
			}
			for _, text := range []string{old, set[key]} {
				if err := BridgeAccess(cl, w, text); err != nil {
					return err
				}
			}
			return nil
		case key == "nameserver" || key == "searchdomain" || key == "hostname":
			return onGuest("VM.Config.Network")
		case key == "features":
			var old string
			if conf != nil {
				old = conf.Vals[key]
			}
			return featuresAccess(onGuest, old, set[key], unprivileged, deleted)
		case key == "hookscript":
			return refusal.Forbid("changing the hookscript is only allowed for root@pam")
		case key == "tags":
			if err := onGuest("VM.Config.Options"); err != nil {
				return err
			}
			return tagAccess(cl, w, conf, set[key])
		}
		return onGuest("VM.Config.Options")
	}
	for _, key := range slices.Sorted(maps.Keys(set)) {
		if err := one(key, false); err != nil {
			return err
		}
	}
	for _, key := range del {
		if err := one(key, true); err != nil {
			return err
		}
	}
	return nil
}

// BridgeAccess is the 403 of who may not use a bridge: a net needs SDN.Use on its bridge. PVE: check_bridge_access, check_vnet_access.
func BridgeAccess(cl *cluster.Cluster, w *rights.Subject, net string) error {
	if net == "" || w.Root() {
		return nil
	}
	p, err := schema.Net.Parse(net, "")
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
