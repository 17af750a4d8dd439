package pvesim

import "strings"

// mayModify checks the rights for new or deleted keys of a guest's config.
// conf is what the guest has (nil at its creation). PVE: check_ct_modify_config_perm.
func (s *Sim) mayModify(w *subject, vmid int, pool string, conf *section, set map[string]string, del []string, unprivileged bool) error {
	if w.root() {
		return nil
	}
	onGuest := func(priv string) error {
		if pool != "" && s.can(w, "/pool/"+pool, priv) {
			return nil
		}
		return s.need(w, onVM(vmid), priv)
	}
	one := func(key string, deleted bool) error {
		switch kind := strings.TrimRight(key, "0123456789"); {
		case key == "cores" || key == "cpuunits" || key == "cpulimit":
			return onGuest("VM.Config.CPU")
		case key == "rootfs" || kind == "mp" && key != "mp":
			if err := onGuest("VM.Config.Disk"); err != nil || deleted {
				return err
			}
			m, err := parseMountPoint(key, set[key])
			if err != nil {
				return fail("%s", err.Error())
			}
			if m.kind() != "volume" {
				return forbid("mount point type " + m.kind() + " is only allowed for root@pam")
			}
			if d := newDiskRE.FindStringSubmatch(m.volid()); d != nil {
				return s.need(w, onStorage(d[1]), "Datastore.AllocateSpace")
			}
			return s.volumeAccess(w, vmid, m.volid(), "rootdir")
		case kind == "dev" && key != "dev":
			return forbid("configuring device passthrough is only allowed for root@pam")
		case key == "memory" || key == "swap":
			return onGuest("VM.Config.Memory")
		case kind == "net" && key != "net":
			if err := onGuest("VM.Config.Network"); err != nil {
				return err
			}
			var old string
			if conf != nil {
				old = conf.vals[key]
			}
			for _, text := range []string{old, set[key]} {
				if err := s.bridgeAccess(w, text); err != nil {
					return err
				}
			}
			return nil
		case key == "nameserver" || key == "searchdomain" || key == "hostname":
			return onGuest("VM.Config.Network")
		case key == "features":
			var old string
			if conf != nil {
				old = conf.vals[key]
			}
			return s.featuresAccess(onGuest, old, set[key], unprivileged, deleted)
		case key == "hookscript":
			return forbid("changing the hookscript is only allowed for root@pam")
		case key == "tags":
			if err := onGuest("VM.Config.Options"); err != nil {
				return err
			}
			return s.tagAccess(w, conf, set[key])
		}
		return onGuest("VM.Config.Options")
	}
	for _, key := range sortedKeys(set) {
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

// bridgeAccess: a net needs SDN.Use on its bridge. PVE: check_bridge_access, check_vnet_access.
func (s *Sim) bridgeAccess(w *subject, net string) error {
	if net == "" || w.root() {
		return nil
	}
	p, err := netSchema.parse(net, "")
	if err != nil || p["bridge"] == "" {
		return nil
	}
	path := "/sdn/zones/localnetwork/" + p["bridge"]
	if p["tag"] != "" {
		path += "/" + p["tag"]
	}
	return s.need(w, path, "SDN.Use")
}

// featuresAccess compares flag by flag: only those that differ count.
func (s *Sim) featuresAccess(onGuest func(string) error, old, now string, unprivileged, deleted bool) error {
	if !unprivileged {
		return forbid("changing feature flags for privileged container is only allowed for root@pam")
	}
	was, _ := featuresSchema.parse(old, "")
	will, err := featuresSchema.parse(now, "")
	if err != nil {
		return fail("%s", err.Error())
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
		for _, m := range []props{was, will} {
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
		return forbid("changing feature flags (except nesting) is only allowed for root@pam")
	}
	if nesting {
		return onGuest("VM.Allocate")
	}
	return nil
}

// tagAccess: registered tags need Sys.Modify on /; only changed ones are looked at.
func (s *Sim) tagAccess(w *subject, conf *section, now string) error {
	var old []string
	if conf != nil {
		old = splitList(conf.vals["tags"])
	}
	will := splitList(strings.ToLower(now))
	for _, tag := range append(append([]string(nil), old...), will...) {
		if contains(old, tag) != contains(will, tag) && contains(s.w.Tags, tag) && !s.can(w, "/", "Sys.Modify") {
			return forbid("/, Sys.Modify for modifying tag '" + tag + "'")
		}
	}
	return nil
}

// volumeAccess: who may use a volume for a guest. PVE: Storage check_volume_access.
func (s *Sim) volumeAccess(w *subject, vmid int, volid, want string) error {
	id, name, ok := strings.Cut(volid, ":")
	if !ok || strings.HasPrefix(volid, "/") {
		if w.root() {
			return nil
		}
		return fail("Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line 651.")
	}
	st := s.storages[id]
	if st == nil {
		return fail("storage '%s' does not exist", id)
	}
	kind, owner, err := st.kindOf(name)
	if err != nil {
		return err
	}
	if want != kind && !(want == "rootdir" && kind == "images") {
		return fail("unable to use volume %s - content type needs to be '%s'", volid, want)
	}
	if s.can(w, onStorage(id), "Datastore.Allocate") {
		return nil
	}
	switch {
	case kind == "iso" || kind == "vztmpl":
		return s.needAny(w, onStorage(id), "Datastore.AllocateSpace", "Datastore.Audit")
	case owner != 0 && owner == vmid:
		return nil
	case kind == "backup" && owner != 0:
		if err := s.need(w, onStorage(id), "Datastore.AllocateSpace"); err != nil {
			return err
		}
		return s.need(w, onVM(owner), "VM.Backup")
	case kind == "images" && owner != 0:
		if err := s.need(w, onStorage(id), "Datastore.Audit"); err != nil {
			return err
		}
		return s.need(w, onVM(owner), "VM.Config.Disk")
	}
	return fail("missing privileges to access %s", volid)
}
