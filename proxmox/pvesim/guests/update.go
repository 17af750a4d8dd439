package guests

import (
	"maps"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

var liveDeleteNetRE = regexp.MustCompile(`^net\d$`)

// live are the keys that a running guest takes at once. PVE: vmconfig_hotplug_pending.
var live = map[string]bool{"description": true, "onboot": true, "startup": true, "protection": true, "hostname": true,
	"hookscript": true, "cores": true, "tags": true, "lock": true, "memory": true, "swap": true, "cpulimit": true, "cpuunits": true}

// Update is PUT config. PVE: update_vm, update_pct_config.
func Update(c *request.Call) error {
	cl := c.Cluster
	set := make(map[string]string)
	nulls := 0
	for k, v := range c.Params {
		switch k {
		case "node", "vmid", "digest", "delete", "revert":
		default:
			if v == schema.Null {
				nulls++
				continue
			}
			set[k] = v
		}
	}
	if len(set)+nulls == 0 && !c.Has("delete") && !c.Has("revert") {
		return refusal.Fail("no options specified")
	}
	del, revert := notation.SplitList(c.Param("delete")), notation.SplitList(c.Param("revert"))
	sort.Strings(del)
	for _, list := range []struct {
		name string
		keys []string
	}{{"delete", del}, {"revert", revert}} {
		for _, k := range list.keys {
			if _, both := set[k]; both {
				return refusal.BadParam(list.name, "you can't use '-"+k+"' and -"+list.name+" "+k+"' at the same time")
			}
			if configOf(c.Qemu()).Find(k) == nil {
				return refusal.BadParam(list.name, "unknown option '"+k+"'")
			}
		}
	}
	vmid := c.VMID()
	return c.WithConfig(vmid, func() error {
		g, err := c.Guest()
		if err != nil {
			return err
		}
		conf := g.Conf
		if err := CheckLock(g); err != nil {
			return err
		}
		if err := SameDigest(g, c.Param("digest")); err != nil {
			return err
		}
		if g.Qemu {
			return updateVM(c, g, set, del, revert)
		}
		unprivileged := conf.Vals["unprivileged"] == "1"
		if err := MayModify(cl, c.Who, vmid, "", &conf.Section, nil, append(append([]string(nil), del...), revert...), unprivileged); err != nil {
			return err
		}
		if err := MayModify(cl, c.Who, vmid, "", &conf.Section, set, nil, unprivileged); err != nil {
			return err
		}
		return change(cl, c.Node, g, set, del, revert)
	})
}

// CheckLock refuses what a lock line forbids. PVE: check_lock.
func CheckLock(g *world.Guest) error {
	if l := g.Conf.Vals["lock"]; l != "" {
		return refusal.Fail("%s is locked (%s)", g.Noun(), l)
	}
	return nil
}

// SameDigest refuses a change of a config that is not the one that was read.
func SameDigest(g *world.Guest, digest string) error {
	switch {
	case digest == "" || digest == g.Conf.Sum():
		return nil
	case g.Qemu:
		return refusal.Fail("checksum mismatch (file change by other user?)")
	}
	return refusal.Fail("detected modified configuration - file changed by other user? Try again.")
}

// change writes new values and deletions to the pending section and applies what can
// be applied. PVE: update_pct_config.
func change(cl *cluster.Cluster, n *world.Node, g *world.Guest, set map[string]string, del, revert []string) error {
	conf := g.Conf
	if err := Writable(cl, n, g.VMID); err != nil {
		return err
	}
	if err := undeletable(g, del); err != nil {
		return err
	}
	clean := make(map[string]string, len(set))
	for _, k := range slices.Sorted(maps.Keys(set)) {
		if err := protected(g, k, "update"); err != nil {
			return err
		}
		v, err := canonicalOf(cl, n, g, k, set[k])
		if err != nil {
			return err
		}
		clean[k] = v
	}
	conf.Touch()
	section, pending := conf.Section.Clone(), conf.Pending.Clone()
	pending.Del = append(pending.Del, conf.Pending.Del...)
	for _, k := range revert {
		conf.Pending.Unset(k)
		conf.Pending.Del = notation.Without(conf.Pending.Del, k)
	}
	for _, k := range del {
		conf.Pending.Unset(k)
		if conf.Section.Has(k) && !slices.Contains(conf.Pending.Del, k) {
			conf.Pending.Del = append(conf.Pending.Del, k)
			sort.Strings(conf.Pending.Del)
		}
	}
	for k, v := range clean {
		conf.Pending.Set(k, v)
		conf.Pending.Del = notation.Without(conf.Pending.Del, k)
	}
	errs := ApplyPending(cl, n, g, func(key string, deleted bool) bool {
		if _, named := clean[key]; !named && !slices.Contains(del, key) {
			return false
		}
		return !g.Running || hotplugs(g, key, deleted)
	})
	if len(errs) > 0 { // then nothing is written
		conf.Section, conf.Pending = *section, *pending
		conf.Touch()
		return &refusal.Refusal{Code: 400, Text: "Parameter verification failed.", Errors: errs}
	}
	dropIdlePending(conf)
	conf.Write()
	if machine.Starves(g) {
		cl.World.Events = append(cl.World.Events, &world.Event{At: cl.Now.Add(2 * time.Second), Kind: "oom", VMID: g.VMID})
	}
	for _, k := range g.Conf.Numbered("net") { // the file is written by then
		if bridgeless(g.Conf.Vals[k]) {
			return refusal.Fail("bridge '' does not exist")
		}
	}
	return WriteRuntime(n, g)
}

// protected refuses to touch a drive of a guest in protection mode.
func protected(g *world.Guest, key, verb string) error {
	kind := strings.TrimRight(key, "0123456789")
	if g.Conf.Vals["protection"] == "1" && (key == "rootfs" || lxcconf.IsDrive(key) || key != kind && (kind == "mp" || kind == "unused")) {
		return refusal.Fail("can't %s "+g.Noun()+" %d drive '%s' - protection mode enabled", verb, g.VMID, key)
	}
	return nil
}

// undeletable refuses what cannot be deleted.
func undeletable(g *world.Guest, del []string) error {
	for _, k := range del {
		switch {
		case g.Qemu:
		case k == "memory", k == "rootfs", k == "ostype":
			return refusal.Fail("unable to delete required option '%s'", k)
		case k == "unprivileged":
			return refusal.Fail("unable to delete read-only option: '%s'", k)
		}
		if err := protected(g, k, "remove"); err != nil {
			return err
		}
	}
	return nil
}

// Writable is the error of a config that cannot be written: without quorum all of /etc/pve is read-only.
func Writable(cl *cluster.Cluster, n *world.Node, vmid int) error {
	if cl.World.Quorum() == nil {
		return nil
	}
	return refusal.Fail("unable to open file '/etc/pve/nodes/%s/lxc/%d.conf.tmp.%d' - Permission denied", n.Name, vmid, n.PID)
}

// bridgeless reports whether a net names no bridge: the schema allows it, and it never starts.
func bridgeless(net string) bool {
	p, err := schema.Net.Parse(net, "")
	return err == nil && p["bridge"] == "" && p["type"] != "phys"
}

// WriteRuntime is update_lxc_config: it fails when a bridge is missing.
func WriteRuntime(n *world.Node, g *world.Guest) error {
	if g.Qemu { // the bridges of a virtual machine matter when it starts
		return nil
	}
	for _, k := range g.Conf.Numbered("net") {
		p, err := schema.Net.Parse(g.Conf.Vals[k], k)
		if err == nil && p["bridge"] != "" && !slices.Contains(n.Bridges, p["bridge"]) {
			return refusal.Fail("bridge '%s' does not exist", p["bridge"])
		}
	}
	return nil
}

// hotplugs reports whether a running guest takes a change at once.
func hotplugs(g *world.Guest, key string, deleted bool) bool {
	if g.Qemu {
		return hotplugsVM(g, key)
	}
	kind := strings.TrimRight(key, "0123456789")
	switch {
	case live[key]:
		return true
	case kind == "net":
		return !deleted || liveDeleteNetRE.MatchString(key)
	case kind == "mp" || kind == "dev":
		return !deleted && !g.Conf.Section.Has(key)
	case kind == "unused":
		return true
	}
	return false
}

// Canonical is a value as PVE stores it.
func Canonical(cl *cluster.Cluster, n *world.Node, key, v string) (string, error) {
	switch kind := strings.TrimRight(key, "0123456789"); {
	case key == "unprivileged":
		return "", refusal.Fail("unable to modify read-only option: 'unprivileged'")
	case key == "rootfs" || kind == "mp" && key != kind:
		m, err := lxcconf.ParseMountPoint(key, v)
		if err != nil {
			return "", refusal.Fail("%s", err.Error())
		}
		if m.Kind() == "volume" {
			id, _, _ := strings.Cut(m.Volid(), ":")
			st, err := places.StorageOn(cl, n, id)
			if err != nil {
				return "", err
			}
			if !st.Holds("rootdir") {
				return "", refusal.Fail("storage '%s' does not allow content type 'rootdir' (Container)", id)
			}
		}
		return v, nil
	case kind == "net" && key != kind:
		return canonicalNet(cl, v)
	case key == "nameserver" || key == "searchdomain":
		return strings.Join(notation.SplitList(v), " "), nil
	case key == "tags":
		return lxcconf.CanonicalTags(v), nil
	case key == "cpuunits":
		if notation.Atoi(v) > 10000 {
			return "10000", nil
		}
	case key == "hookscript":
		vol, _, err := places.Find(cl, n, v)
		if err != nil {
			return "", err
		}
		if vol == nil {
			return "", refusal.Fail("script '%s' does not exist", v)
		}
	}
	return v, nil
}

// canonicalNet prints a net with its type, and with a MAC when it has none.
func canonicalNet(cl *cluster.Cluster, v string) (string, error) {
	p, err := schema.Net.Parse(v, "")
	if err != nil {
		return "", refusal.Fail("%s", err.Error())
	}
	if p["hwaddr"] == "" {
		p["hwaddr"] = MAC(cl)
	}
	if p["type"] == "" {
		p["type"] = "veth"
	}
	return schema.Net.Text(p), nil
}
