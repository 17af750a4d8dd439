package lifecycle

import (
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// merge makes the new config of the request's and the archive's.
// PVE: sanitize_and_merge_config.
func merge(cl *cluster.Cluster, t *world.Task, g *world.Guest, old *lxcconf.Config) error {
	set := t.Request()
	_, later, err := requested(set)
	if err != nil {
		return err
	}
	conf := lxcconf.New()
	for k, v := range set {
		if kind := strings.TrimRight(k, "0123456789"); k == "rootfs" || kind == "mp" && k != kind {
			continue
		}
		if k != "unprivileged" {
			if v, err = guests.Canonical(cl, t.Node, k, v); err != nil {
				return err
			}
		}
		conf.Section.Set(k, v)
	}
	keepOld(cl, t, conf, old)
	if _, given := set["unprivileged"]; !given && old.Vals["unprivileged"] != "" {
		conf.Section.Set("unprivileged", old.Vals["unprivileged"])
	}
	if conf.Vals["unprivileged"] == "0" && old.Vals["unprivileged"] == "1" {
		delete(conf.Vals, "features")
	}
	keepRaw(cl, t, conf, old)
	for _, m := range t.Created() {
		conf.Section.Set(m.Key, m.Text())
	}
	for k, v := range t.Args {
		if key, ok := strings.CutPrefix(k, "later:"); ok {
			conf.Section.Set(key, v)
		}
	}
	for k, v := range later {
		conf.Section.Set(k, v)
	}
	system := old.Vals["ostype"]
	if system == "" {
		system = "unmanaged"
	}
	defaults(conf, t.VMID(), system)
	if old.Vals["template"] == "1" {
		conf.Section.Set("template", "1")
	}
	g.Rewrite(conf)
	g.Journal = false
	return guests.WriteRuntime(t.Node, g)
}

// keepOld takes over what the archive's config says and the request does not.
func keepOld(cl *cluster.Cluster, t *world.Task, conf, old *lxcconf.Config) {
	for _, k := range old.Section.Keys() {
		switch kind := strings.TrimRight(k, "0123456789"); {
		case k == "digest" || k == "rootfs" || k == "lock" || k == "parent" || k == "unprivileged" || k == "template",
			kind == "mp" && k != kind, kind == "unused" && k != kind:
			continue
		}
		v, _ := old.Section.Get(k)
		net := strings.HasPrefix(k, "net") && notation.IsInteger(k[3:])
		if net && t.Args["unique"] == "1" { // a new MAC, but over what the request said
			if p, err := schema.Net.Parse(v, ""); err == nil {
				p["hwaddr"] = guests.MAC(cl)
				conf.Section.Set(k, schema.Net.Text(p))
				continue
			}
		}
		if !conf.Section.Has(k) {
			conf.Section.Set(k, v)
		}
	}
}

// keepRaw takes over options that are passed to LXC as they are; only root may.
func keepRaw(cl *cluster.Cluster, t *world.Task, conf, old *lxcconf.Config) {
	if len(old.Raw) > 0 {
		if cl.Rights.Subject(t.User).Root() {
			conf.Raw = append(conf.Raw, old.Raw...)
		} else {
			t.Logf("WARN: skipping custom lxc options, restore manually as root:")
			t.Logf("--------------------------------")
			for _, kv := range old.Raw {
				t.Logf("%s: %s", kv[0], kv[1])
			}
			t.Logf("--------------------------------")
			t.Warnings++
		}
	}
}

// UndoCreate leaves nothing behind, unless the old guest is still whole.
func UndoCreate(cl *cluster.Cluster, t *world.Task) {
	for _, m := range t.Created() {
		if t.Args["keep:"+m.Key] != "" {
			continue
		}
		lines, _ := places.Free(cl, t.Node, m.Volid())
		t.Log = append(t.Log, lines...)
	}
	g, err := guests.TaskGuest(cl, t)
	if err != nil {
		return
	}
	if t.Args["over"] == "1" && t.Args["destroyed"] != "1" {
		g.Conf.Section.Unset("lock")
		g.Conf.Write()
		return
	}
	cl.DropGuest(g.VMID)
}
