package guests

import (
	"net"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/jsontext"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
)

// ConfigValue writes one config value as the API does.
func ConfigValue(d *jsontext.Doc, k, key, v string) {
	if numeric[key] && notation.IsInteger(v) {
		d.Key(k)
		d.B = append(d.B, v...)
		return
	}
	if key == "description" {
		v += "\n"
	}
	d.Str(k, v)
}

// Config is GET config. PVE: vm_config, load_current_config.
func Config(c *request.Call) error {
	g, err := c.Guest()
	if err != nil {
		return err
	}
	conf := g.Conf
	seesEnv := c.Cluster.Rights.Can(c.Who, rights.OnVM(g.VMID), "VM.Config.Options")
	name := c.Param("snapshot")
	if name != "" && c.Flag("current") {
		const text = "cannot use 'snapshot' parameter with 'current'"
		return refusal.BadParam("snapshot", text, "current", text)
	}
	plainView := name == "" && !c.Flag("current") && len(conf.Env) == 0
	if plainView && conf.Json != nil {
		d := c.DataOf(len(request.Envelope) + len(conf.Json) + 32)
		d.B = append(d.B, conf.Json...)
		return nil
	}
	sec := conf.Section.Clone()
	if name != "" {
		snap := conf.Snaps[name]
		if snap == nil {
			return refusal.Fail("snapshot '%s' does not exist", name)
		}
		sec = snap.Clone()
	} else if !c.Flag("current") && !conf.Pending.Empty() {
		for _, k := range conf.Pending.Keys() {
			v, _ := conf.Pending.Get(k)
			sec.Set(k, v)
		}
		for _, k := range conf.Pending.Del {
			sec.Unset(k)
		}
	}
	d := c.Data().Open()
	for _, k := range sec.Keys() {
		if k == "env" && !seesEnv {
			continue
		}
		v, _ := sec.Get(k)
		ConfigValue(d, k, k, v)
	}
	if len(sec.Raw) > 0 {
		d.Key("lxc").List()
		for _, kv := range sec.Raw {
			d.List().Text(kv[0]).Text(kv[1]).End()
		}
		d.End()
	}
	d.Str("digest", conf.Sum()).Close()
	if plainView {
		conf.Json = append([]byte(nil), d.B[len(request.Envelope):]...)
	}
	return nil
}

// Pending is GET pending: each key with its value, and what waits for it.
func Pending(c *request.Call) error {
	g, err := c.Guest()
	if err != nil {
		return err
	}
	conf := g.Conf
	d := c.Data().List()
	for _, k := range conf.Section.Keys() {
		if k == "env" && !c.Cluster.Rights.Can(c.Who, rights.OnVM(g.VMID), "VM.Config.Options") {
			continue
		}
		v, _ := conf.Section.Get(k)
		ConfigValue(d.Open().Str("key", k), "value", k, v)
		if p, ok := conf.Pending.Get(k); ok {
			ConfigValue(d, "pending", k, p)
		}
		if slices.Contains(conf.Pending.Del, k) {
			d.Num("delete", 1)
		}
		d.Close()
	}
	for _, k := range conf.Pending.Keys() {
		if !conf.Section.Has(k) {
			v, _ := conf.Pending.Get(k)
			ConfigValue(d.Open().Str("key", k), "pending", k, v)
			d.Close()
		}
	}
	d.Open().Str("key", "digest").Str("value", conf.Sum()).Close()
	d.End()
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

// Interfaces answers GET /nodes/{node}/lxc/{vmid}/interfaces.
func Interfaces(c *request.Call) error {
	g, err := c.Guest()
	if err != nil {
		return err
	}
	if !g.Running {
		return nil
	}
	d := c.Data().List()
	iface := func(name, mac, inet, inet6 string) {
		d.Open().Str("name", name).Str("hwaddr", mac).Str("hardware-address", mac)
		d.Key("ip-addresses").List()
		if addr, prefix, ok := strings.Cut(inet, "/"); ok {
			d.Open().Str("ip-address", addr).Str("prefix", prefix).Str("ip-address-type", "inet").Close()
		}
		if addr, prefix, ok := strings.Cut(inet6, "/"); ok {
			d.Open().Str("ip-address", addr).Str("prefix", prefix).Str("ip-address-type", "inet6").Close()
		}
		d.End()
		if inet != "" {
			d.Str("inet", inet)
		}
		if inet6 != "" {
			d.Str("inet6", inet6)
		}
		d.Close()
	}
	iface("lo", "00:00:00:00:00:00", "127.0.0.1/8", "::1/128")
	root, _, _ := places.Find(c.Cluster, c.Node, g.Conf.Rootfs().Volid())
	for _, k := range g.Conf.Numbered("net") {
		p, err := schema.Net.Parse(g.Conf.Vals[k], k)
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
	d.End()
	return nil
}

// numeric are the keys that the API answers as numbers.
var numeric = map[string]bool{"cores": true, "cpuunits": true, "memory": true, "swap": true, "onboot": true,
	"sockets": true, "balloon": true, "numa": true,
	"protection": true, "unprivileged": true, "template": true, "tty": true, "console": true, "debug": true, "snaptime": true}
