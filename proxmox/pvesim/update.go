package pvesim

import (
	"regexp"
	"sort"
	"strings"
	"time"
)

var liveDeleteNetRE = regexp.MustCompile(`^net\d$`)

// live are the keys that a running guest takes at once. PVE: vmconfig_hotplug_pending.
var live = map[string]bool{"description": true, "onboot": true, "startup": true, "protection": true, "hostname": true,
	"hookscript": true, "cores": true, "tags": true, "lock": true, "memory": true, "swap": true, "cpulimit": true, "cpuunits": true}

// update is PUT config. PVE: update_vm, update_pct_config.
func update(c *call) error {
	s := c.s
	set := make(map[string]string)
	nulls := 0
	for k, v := range c.params {
		switch k {
		case "node", "vmid", "digest", "delete", "revert":
		default:
			if v == "\x00null" {
				nulls++
				continue
			}
			set[k] = v
		}
	}
	if len(set)+nulls == 0 && !c.has("delete") && !c.has("revert") {
		return fail("no options specified")
	}
	del, revert := splitList(c.param("delete")), splitList(c.param("revert"))
	sort.Strings(del)
	for _, list := range []struct {
		name string
		keys []string
	}{{"delete", del}, {"revert", revert}} {
		for _, k := range list.keys {
			if _, both := set[k]; both {
				return badParam(list.name, "you can't use '-"+k+"' and -"+list.name+" "+k+"' at the same time")
			}
			if configSchema.find(k) == nil {
				return badParam(list.name, "unknown option '"+k+"'")
			}
		}
	}
	vmid := c.vmid()
	return c.withConfig(vmid, func() error {
		g, err := c.guest()
		if err != nil {
			return err
		}
		conf := g.conf
		if err := checkLock(conf); err != nil {
			return err
		}
		if d := c.param("digest"); d != "" && d != conf.sum() {
			return fail("detected modified configuration - file changed by other user? Try again.")
		}
		unprivileged := conf.vals["unprivileged"] == "1"
		if err := s.mayModify(c.who, c.node, vmid, "", &conf.section, nil, append(append([]string(nil), del...), revert...), unprivileged); err != nil {
			return err
		}
		if err := s.mayModify(c.who, c.node, vmid, "", &conf.section, set, nil, unprivileged); err != nil {
			return err
		}
		return s.change(c.node, g, set, del, revert)
	})
}

// checkLock refuses what a lock line forbids. PVE: check_lock.
func checkLock(conf *config) error {
	if l := conf.vals["lock"]; l != "" {
		return fail("CT is locked (%s)", l)
	}
	return nil
}

// change writes new values and deletions to the pending section and applies what can
// be applied. PVE: update_pct_config.
func (s *Sim) change(n *node, g *guest, set map[string]string, del, revert []string) error {
	conf := g.conf
	protected := func(key, verb string) error {
		kind := strings.TrimRight(key, "0123456789")
		if conf.vals["protection"] == "1" && (key == "rootfs" || key != kind && (kind == "mp" || kind == "unused")) {
			return fail("can't %s CT %d drive '%s' - protection mode enabled", verb, g.VMID, key)
		}
		return nil
	}
	for _, k := range del {
		switch k {
		case "memory", "rootfs", "ostype":
			return fail("unable to delete required option '%s'", k)
		case "unprivileged":
			return fail("unable to delete read-only option: '%s'", k)
		}
		if err := protected(k, "remove"); err != nil {
			return err
		}
	}
	clean := make(map[string]string, len(set))
	for _, k := range sortedKeys(set) {
		if err := protected(k, "update"); err != nil {
			return err
		}
		v, err := s.canonical(n, k, set[k])
		if err != nil {
			return err
		}
		clean[k] = v
	}
	conf.touch()
	for _, k := range revert {
		conf.pending.unset(k)
		conf.pending.del = without(conf.pending.del, k)
	}
	for _, k := range del {
		conf.pending.unset(k)
		if conf.section.has(k) && !contains(conf.pending.del, k) {
			conf.pending.del = append(conf.pending.del, k)
			sort.Strings(conf.pending.del)
		}
	}
	for k, v := range clean {
		conf.pending.set(k, v)
		conf.pending.del = without(conf.pending.del, k)
	}
	errs := s.applyPending(n, g, func(key string, deleted bool) bool {
		if _, named := clean[key]; !named && !contains(del, key) {
			return false
		}
		return !g.Running || s.hotplugs(g, key, deleted)
	})
	s.dropIdlePending(conf)
	if g.Running && s.memoryUse(g) > g.memoryLimit()+g.swapLimit() {
		s.w.Events = append(s.w.Events, &event{At: s.now.Add(2 * time.Second), Kind: "oom", VMID: g.VMID})
	}
	if err := s.writeRuntime(n, g); err != nil { // the file is written by then
		return err
	}
	if len(errs) > 0 {
		return &refusal{code: 400, text: "Parameter verification failed.", errors: errs}
	}
	return nil
}

func without(list []string, v string) []string {
	var out []string
	for _, x := range list {
		if x != v {
			out = append(out, x)
		}
	}
	return out
}

// writeRuntime is update_lxc_config: it fails when a bridge is missing.
func (s *Sim) writeRuntime(n *node, g *guest) error {
	for _, k := range g.conf.numbered("net") {
		p, err := netSchema.parse(g.conf.vals[k], k)
		if err == nil && p["bridge"] != "" && !contains(n.Bridges, p["bridge"]) {
			return fail("bridge '%s' does not exist", p["bridge"])
		}
	}
	return nil
}

// hotplugs reports whether a running guest takes a change at once.
func (s *Sim) hotplugs(g *guest, key string, deleted bool) bool {
	kind := strings.TrimRight(key, "0123456789")
	switch {
	case live[key]:
		return true
	case kind == "net":
		return !deleted || liveDeleteNetRE.MatchString(key)
	case kind == "mp" || kind == "dev":
		return !deleted && !g.conf.section.has(key)
	case kind == "unused":
		return true
	}
	return false
}

// dropIdlePending removes pending values that are in force already. PVE: cleanup_pending.
func (s *Sim) dropIdlePending(conf *config) {
	for _, k := range conf.pending.keys() {
		v, _ := conf.pending.get(k)
		if now, ok := conf.section.get(k); ok && now == v {
			conf.pending.unset(k)
		}
	}
}

// canonical is a value as PVE stores it.
func (s *Sim) canonical(n *node, key, v string) (string, error) {
	switch kind := strings.TrimRight(key, "0123456789"); {
	case key == "unprivileged":
		return "", fail("unable to modify read-only option: 'unprivileged'")
	case key == "rootfs" || kind == "mp" && key != kind:
		m, err := parseMountPoint(key, v)
		if err != nil {
			return "", fail("%s", err.Error())
		}
		if m.kind() == "volume" {
			id, _, _ := strings.Cut(m.volid(), ":")
			st, err := s.storageOn(n, id)
			if err != nil {
				return "", err
			}
			if !st.holds("rootdir") {
				return "", fail("storage '%s' does not allow content type 'rootdir' (Container)", id)
			}
		}
		return v, nil
	case kind == "net" && key != kind:
		return s.canonicalNet(v)
	case key == "nameserver" || key == "searchdomain":
		return strings.Join(splitList(v), " "), nil
	case key == "tags":
		return canonicalTags(v), nil
	case key == "cpuunits":
		if atoi(v) > 10000 {
			return "10000", nil
		}
	case key == "hookscript":
		vol, _, err := s.volume(n, v)
		if err != nil {
			return "", err
		}
		if vol == nil {
			return "", fail("script '%s' does not exist", v)
		}
	}
	return v, nil
}

// canonicalNet prints a net with its type, and with a MAC when it has none.
func (s *Sim) canonicalNet(v string) (string, error) {
	p, err := netSchema.parse(v, "")
	if err != nil {
		return "", fail("%s", err.Error())
	}
	if p["hwaddr"] == "" {
		p["hwaddr"] = s.mac()
	}
	if p["type"] == "" {
		p["type"] = "veth"
	}
	return netSchema.print(p), nil
}

// canonicalTags lower-cases, sorts and joins. PVE: GuestHelpers get_unique_tags.
func canonicalTags(v string) string {
	seen := make(map[string]bool)
	var tags []string
	for _, t := range splitList(v) {
		t = strings.ToLower(t)
		if !seen[t] {
			seen[t] = true
			tags = append(tags, t)
		}
	}
	sort.Strings(tags)
	if len(tags) == 0 {
		return " "
	}
	return strings.Join(tags, ";")
}

// applyPending moves pending changes into force; the errors are by key.
func (s *Sim) applyPending(n *node, g *guest, now func(key string, deleted bool) bool) map[string]string {
	conf := g.conf
	errs := make(map[string]string)
	note := func(key string, err error) {
		verb := "unable to apply pending change " + key + " : "
		if g.Running {
			verb = "unable to hotplug " + key + ": "
		}
		errs[key] = verb + err.Error()
	}
	for _, k := range append([]string(nil), conf.pending.del...) {
		if !now(k, true) {
			continue
		}
		if err := s.applyDelete(n, g, k); err != nil {
			note(k, err)
			continue
		}
		conf.pending.del = without(conf.pending.del, k)
	}
	for _, k := range conf.pending.keys() {
		if !now(k, false) {
			continue
		}
		v, _ := conf.pending.get(k)
		if err := s.applySet(n, g, k, v); err != nil {
			note(k, err)
			conf.pending.unset(k)
			continue
		}
		conf.pending.unset(k)
	}
	conf.touch()
	return errs
}

func (s *Sim) applyDelete(n *node, g *guest, key string) error {
	conf := g.conf
	switch kind := strings.TrimRight(key, "0123456789"); {
	case kind == "mp" && key != kind:
		if m, err := parseMountPoint(key, conf.vals[key]); err == nil && m.kind() == "volume" {
			delete(conf.vals, key)
			s.parkVolume(n, g, m.volid())
		}
	case kind == "unused" && key != kind:
		volid := conf.vals[key]
		for _, snap := range conf.snaps {
			for _, m := range snap.mountPoints() {
				if m.volid() == volid {
					return fail("can't remove volume '%s', still in use by a snapshot", volid)
				}
			}
		}
		if s.owns(n, g, volid) {
			if _, err := s.free(n, volid); err != nil {
				return err
			}
		}
	}
	conf.section.unset(key)
	return nil
}

// owns reports whether a volume's name says that it is the guest's.
func (s *Sim) owns(n *node, g *guest, volid string) bool {
	id, name, _ := strings.Cut(volid, ":")
	st := s.storages[id]
	if st == nil {
		return false
	}
	_, owner, err := st.kindOf(name)
	return err == nil && owner == g.VMID
}

// parkVolume keeps a volume that is no longer mounted as unusedN.
func (s *Sim) parkVolume(n *node, g *guest, volid string) {
	conf := g.conf
	if volumeKind(volid) != "volume" || !s.owns(n, g, volid) {
		return
	}
	for _, m := range conf.section.mountPoints() {
		if m.volid() == volid {
			return
		}
	}
	for i := 0; i < 256; i++ {
		k := "unused" + itoa(i)
		if conf.vals[k] == volid {
			return
		}
		if conf.vals[k] == "" {
			conf.vals[k] = volid
			return
		}
	}
}

func (s *Sim) applySet(n *node, g *guest, key, v string) error {
	conf := g.conf
	if kind := strings.TrimRight(key, "0123456789"); kind != "mp" || key == kind {
		conf.section.set(key, v)
		return nil
	}
	m, err := parseMountPoint(key, v)
	if err != nil {
		return err
	}
	if m.kind() == "volume" {
		if d := newDiskRE.FindStringSubmatch(m.volid()); d != nil {
			size := parseSize(d[2] + "G")
			volid, _, err := s.alloc(n, g.VMID, d[1], size)
			if err != nil {
				return err
			}
			m.props["volume"], m.props["size"] = volid, formatSize(size)
		} else if vol, _, err := s.volume(n, m.volid()); err == nil && vol != nil {
			m.props["size"] = formatSize(vol.Size)
		}
	}
	old, had := conf.vals[key]
	conf.vals[key] = m.print()
	if had {
		if was, err := parseMountPoint(key, old); err == nil && was.volid() != m.volid() {
			s.parkVolume(n, g, was.volid())
		}
	}
	for _, u := range conf.numbered("unused") {
		if conf.vals[u] == m.volid() {
			delete(conf.vals, u)
		}
	}
	if g.Running {
		if h, err := s.holdOf(n, g, m); err != nil {
			return err
		} else {
			g.Holds = append(g.Holds, h)
		}
	}
	return nil
}
