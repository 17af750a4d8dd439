package spec

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
)

// network is the value of netN (PVE: LXC::Config, netconf_desc).
var network = property("network interface", proxmox.ParseNet, shaped(map[string]string{"vlan": "PVE calls it tag: tag: 20.", "mac": "PVE calls it hwaddr.", "gateway": "PVE calls it gw.", "gateway6": "PVE calls it gw6."},
	sub("name", Live, matching("interface name", `^[-_.A-Za-z0-9]{1,15}$`, "expected at most 15 letters and digits, for example eth0"), "Its name inside the guest."),
	sub("bridge", Live, matching("bridge", `^[-_.A-Za-z0-9]+$`, "expected for example vmbr0"), "The bridge of the host."),
	sub("ip", Live, name("address", addressOr(netip.Addr.Is4, "10.0.10.11/24", "dhcp", "manual")), "Address with prefix length, dhcp or manual."),
	sub("gw", Live, name("address", gateway(netip.Addr.Is4, "10.0.10.1")), "Gateway."),
	sub("ip6", Live, name("address", addressOr(netip.Addr.Is6, "fd00::11/64", "auto", "dhcp", "manual")), "IPv6 address with prefix length, auto, dhcp or manual."),
	sub("gw6", Live, name("address", gateway(netip.Addr.Is6, "fd00::1")), "IPv6 gateway."),
	sub("hwaddr", Live, name("hardware address", proxmox.CheckMAC), "Hardware address; default: kept."),
	sub("tag", Live, digits(1, 4094), "VLAN."),
	sub("trunks", Live, matching("list of VLANs", `^[0-9]+(;[0-9]+)*$`, "expected for example 10;20"), "VLANs passed through."),
	sub("rate", Live, fraction(1e6), "Limit in MB/s."),
	sub("mtu", Live, digits(64, 65535), "Largest packet."),
	sub("firewall", Live, zeroOne, "Whether PVE's firewall filters it."),
	sub("link_down", Live, zeroOne, "Whether its cable is pulled."),
	sub("host-managed", NeedsRestart, zeroOne, "Whether the host sets its addresses (PVE 9.1)."),
	sub("type", Live, oneOf("veth"), "Always veth."),
	sub("model", NeedsRestart, oneOf(proxmox.NetModels()...), "Of a virtual machine: the network card; default virtio."),
	sub("queues", NeedsRestart, digits(0, 64), "Of a virtual machine: packet queues."),
), false)

func addressOr(family func(netip.Addr) bool, example string, words ...string) func(string) error {
	return func(s string) error {
		if slices.Contains(words, s) {
			return nil
		}
		p, err := netip.ParsePrefix(s)
		switch {
		case err == nil && family(p.Addr()):
			return nil
		case err == nil:
			return fmt.Errorf("invalid address %q, it is of the other IP version: expected for example %s, or %s", s, example, orList(words))
		}
		if _, err := netip.ParseAddr(s); err == nil {
			return fmt.Errorf("invalid address %q, it lacks the prefix length: expected for example %s", s, example)
		}
		return fmt.Errorf("invalid address %q: expected for example %s, or %s", s, example, orList(words))
	}
}

func gateway(family func(netip.Addr) bool, example string) func(string) error {
	return func(s string) error {
		if a, err := netip.ParseAddr(s); err != nil || !family(a) {
			return fmt.Errorf("invalid gateway %q: expected an address without a prefix length, for example %s", s, example)
		}
		return nil
	}
}
