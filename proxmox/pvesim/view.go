package pvesim

import (
	"net"
	"strings"
)

// value writes one config value as the API does.
func (d *doc) value(k, key, v string) {
	if numeric[key] && isInteger(v) {
		d.key(k)
		d.b = append(d.b, v...)
		return
	}
	if key == "description" {
		v += "\n"
	}
	d.str(k, v)
}

// guestConfig is GET config. PVE: vm_config, load_current_config.
func guestConfig(c *call) error {
	g, err := c.guest()
	if err != nil {
		return err
	}
	conf := g.conf
	seesEnv := c.s.can(c.who, onVM(g.VMID), "VM.Config.Options")
	name := c.param("snapshot")
	if name != "" && c.flag("current") {
		const text = "cannot use 'snapshot' parameter with 'current'"
		return badParam("snapshot", text, "current", text)
	}
	plainView := name == "" && !c.flag("current") && len(conf.env) == 0
	if plainView && conf.json != nil {
		d := c.dataOf(len(envelope) + len(conf.json) + 32)
		d.b = append(d.b, conf.json...)
		return nil
	}
	sec := conf.section.clone()
	if name != "" {
		snap := conf.snaps[name]
		if snap == nil {
			return fail("snapshot '%s' does not exist", name)
		}
		sec = snap.clone()
	} else if !c.flag("current") && !conf.pending.empty() {
		for _, k := range conf.pending.keys() {
			v, _ := conf.pending.get(k)
			sec.set(k, v)
		}
		for _, k := range conf.pending.del {
			sec.unset(k)
		}
	}
	d := c.data().open()
	for _, k := range sec.keys() {
		if k == "env" && !seesEnv {
			continue
		}
		v, _ := sec.get(k)
		d.value(k, k, v)
	}
	if len(sec.raw) > 0 {
		d.key("lxc").list()
		for _, kv := range sec.raw {
			d.list().text(kv[0]).text(kv[1]).end()
		}
		d.end()
	}
	d.str("digest", conf.sum()).close()
	if plainView {
		conf.json = append([]byte(nil), d.b[len(envelope):]...)
	}
	return nil
}

// guestPending is GET pending: each key with its value, and what waits for it.
func guestPending(c *call) error {
	g, err := c.guest()
	if err != nil {
		return err
	}
	conf := g.conf
	d := c.data().list()
	for _, k := range conf.section.keys() {
		if k == "env" && !c.s.can(c.who, onVM(g.VMID), "VM.Config.Options") {
			continue
		}
		v, _ := conf.section.get(k)
		d.open().str("key", k).value("value", k, v)
		if p, ok := conf.pending.get(k); ok {
			d.value("pending", k, p)
		}
		if contains(conf.pending.del, k) {
			d.num("delete", 1)
		}
		d.close()
	}
	for _, k := range conf.pending.keys() {
		if !conf.section.has(k) {
			v, _ := conf.pending.get(k)
			d.open().str("key", k).value("pending", k, v)
			d.close()
		}
	}
	d.open().str("key", "digest").str("value", conf.sum()).close()
	d.end()
	return nil
}

// linkLocal is the address that the kernel makes of a hardware address (RFC 4291, appendix A).
func linkLocal(mac string) string {
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 {
		return ""
	}
	ip := net.IP{0xfe, 0x80, 0, 0, 0, 0, 0, 0, hw[0] ^ 2, hw[1], hw[2], 0xff, 0xfe, hw[3], hw[4], hw[5]}
	return ip.String() + "/64"
}

func guestInterfaces(c *call) error {
	g, err := c.guest()
	if err != nil {
		return err
	}
	if !g.Running {
		return nil
	}
	d := c.data().list()
	iface := func(name, mac, inet, inet6 string) {
		d.open().str("name", name).str("hwaddr", mac).str("hardware-address", mac)
		d.key("ip-addresses").list()
		if addr, prefix, ok := strings.Cut(inet, "/"); ok {
			d.open().str("ip-address", addr).str("prefix", prefix).str("ip-address-type", "inet").close()
		}
		if addr, prefix, ok := strings.Cut(inet6, "/"); ok {
			d.open().str("ip-address", addr).str("prefix", prefix).str("ip-address-type", "inet6").close()
		}
		d.end()
		if inet != "" {
			d.str("inet", inet)
		}
		if inet6 != "" {
			d.str("inet6", inet6)
		}
		d.close()
	}
	iface("lo", "00:00:00:00:00:00", "127.0.0.1/8", "::1/128")
	root, _, _ := c.s.volume(c.node, g.conf.rootfs().volid())
	for _, k := range g.conf.numbered("net") {
		p, err := netSchema.parse(g.conf.vals[k], k)
		if err != nil {
			continue
		}
		ip, ip6 := p["ip"], p["ip6"]
		if !strings.Contains(ip, "/") || root != nil && root.Bare {
			ip = ""
		}
		if !strings.Contains(ip6, "/") || root != nil && root.Bare {
			ip6 = ""
		}
		if ip != "" && ip6 == "" && p["bridge"] != "" && p["link_down"] != "1" {
			ip6 = linkLocal(p["hwaddr"])
		}
		iface(p["name"], strings.ToLower(p["hwaddr"]), ip, ip6)
	}
	d.end()
	return nil
}

// numeric are the keys that the API answers as numbers.
var numeric = map[string]bool{"cores": true, "cpuunits": true, "memory": true, "swap": true, "onboot": true,
	"protection": true, "unprivileged": true, "template": true, "tty": true, "console": true, "debug": true, "snaptime": true}
