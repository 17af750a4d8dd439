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
			if v == null {
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
		if err := s.mayModify(c.who, vmid, "", &conf.section, nil, append(append([]string(nil), del...), revert...), unprivileged); err != nil {
			return err
		}
		if err := s.mayModify(c.who, vmid, "", &conf.section, set, nil, unprivileged); err != nil {
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
	if err := s.writable(n, g.VMID); err != nil {
		return err
	}
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
	section, pending := conf.section.clone(), conf.pending.clone()
	pending.del = append(pending.del, conf.pending.del...)
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
	if len(errs) > 0 { // then nothing is written
		conf.section, conf.pending = *section, *pending
		conf.touch()
		return &refusal{code: 400, text: "Parameter verification failed.", errors: errs}
	}
	s.dropIdlePending(conf)
	if s.starves(g) {
		s.w.Events = append(s.w.Events, &event{At: s.now.Add(2 * time.Second), Kind: "oom", VMID: g.VMID})
	}
	for _, k := range g.conf.numbered("net") { // the file is written by then
		if bridgeless(g.conf.vals[k]) {
			return fail("bridge '' does not exist")
		}
	}
	return s.writeRuntime(n, g)
}

// writable: without quorum all of /etc/pve is read-only.
func (s *Sim) writable(n *node, vmid int) error {
	if s.quorum() == nil {
		return nil
	}
	return fail("unable to open file '/etc/pve/nodes/%s/lxc/%d.conf.tmp.%d' - Permission denied", n.Name, vmid, n.PID)
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

// bridgeless reports whether a net names no bridge: the schema allows it, and it never starts.
func bridgeless(net string) bool {
	p, err := netSchema.parse(net, "")
	return err == nil && p["bridge"] == "" && p["type"] != "phys"
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
