package pvesim

import (
	"fmt"
	"strings"
)

// merge makes the new config of the request's and the archive's.
// PVE: sanitize_and_merge_config.
func (s *Sim) merge(t *task, g *guest, old *config) error {
	set := t.request()
	_, later, err := requested(set)
	if err != nil {
		return err
	}
	conf := newConfig()
	for k, v := range set {
		if kind := strings.TrimRight(k, "0123456789"); k == "rootfs" || kind == "mp" && k != kind {
			continue
		}
		if k != "unprivileged" {
			if v, err = s.canonical(t.node, k, v); err != nil {
				return err
			}
		}
		conf.section.set(k, v)
	}
	for _, k := range old.section.keys() {
		switch kind := strings.TrimRight(k, "0123456789"); {
		case k == "digest" || k == "rootfs" || k == "lock" || k == "parent" || k == "unprivileged" || k == "template",
			kind == "mp" && k != kind, kind == "unused" && k != kind:
			continue
		}
		v, _ := old.section.get(k)
		net := strings.HasPrefix(k, "net") && isInteger(k[3:])
		if net && t.Args["unique"] == "1" { // a new MAC, but over what the request said
			if p, err := netSchema.parse(v, ""); err == nil {
				p["hwaddr"] = s.mac()
				conf.section.set(k, netSchema.print(p))
				continue
			}
		}
		if !conf.section.has(k) {
			conf.section.set(k, v)
		}
	}
	if _, given := set["unprivileged"]; !given && old.vals["unprivileged"] != "" {
		conf.section.set("unprivileged", old.vals["unprivileged"])
	}
	if conf.vals["unprivileged"] == "0" && old.vals["unprivileged"] == "1" {
		delete(conf.vals, "features")
	}
	if len(old.raw) > 0 {
		if s.acl.subject(t.User).root() {
			conf.raw = append(conf.raw, old.raw...)
		} else {
			t.log("WARN: skipping custom lxc options, restore manually as root:")
			t.log("--------------------------------")
			for _, kv := range old.raw {
				t.log("%s: %s", kv[0], kv[1])
			}
			t.log("--------------------------------")
			t.Warnings++
		}
	}
	for _, m := range t.created() {
		conf.section.set(m.key, m.print())
	}
	for k, v := range t.Args {
		if key, ok := strings.CutPrefix(k, "later:"); ok {
			conf.section.set(key, v)
		}
	}
	for k, v := range later {
		conf.section.set(k, v)
	}
	system := old.vals["ostype"]
	if system == "" {
		system = "unmanaged"
	}
	defaults(conf, t.vmid(), system)
	if old.vals["template"] == "1" {
		conf.section.set("template", "1")
	}
	g.conf = conf
	g.Journal = false
	return s.writeRuntime(t.node, g)
}

// undoCreate leaves nothing behind, unless the old guest is still whole.
func (s *Sim) undoCreate(t *task) {
	for _, m := range t.created() {
		if t.Args["keep:"+m.key] != "" {
			continue
		}
		lines, _ := s.free(t.node, m.volid())
		t.Log = append(t.Log, lines...)
	}
	g, err := s.taskGuest(t)
	if err != nil {
		return
	}
	if t.Args["over"] == "1" && t.Args["destroyed"] != "1" {
		g.conf.section.unset("lock")
		g.conf.touch()
		return
	}
	s.dropGuest(g.VMID)
}

// binary prints a size as tar does.
func binary(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for i < len(units)-1 && f >= 1024 {
		f /= 1024
		i++
	}
	if f < 10 && i > 0 {
		return fmt.Sprintf("%.1f%s", f, units[i])
	}
	return fmt.Sprintf("%.0f%s", f, units[i])
}
