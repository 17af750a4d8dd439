package reconcile

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

const dnsLine = "\n      hostname: dns\n"

// Two settings of one identity in a guest: a path, an interface name, a hardware address, a
// device. Whoever made the first, the second is blocked and nothing of the guest changes.
func TestNoIdentityTwiceInOneGuest(t *testing.T) {
	const net0 = "bridge=vmbr0"
	for name, c := range map[string]struct{ have, config, says string }{
		"a volume of another number":  {"mp0: local-lvm:vm-101-disk-0,mp=/data,backup=1,size=4G", "mp1: {storage: local-lvm, size: 4G, mp: /data, backup: true}", "mp1 would be mounted at /data, where mp0 (local-lvm:vm-101-disk-0) already is"},
		"a path written otherwise":    {"mp0: local-lvm:vm-101-disk-0,mp=//data/,backup=1,size=4G", "mp1: {storage: local-lvm, size: 4G, mp: /data, backup: true}", "mp1 would be mounted at /data"},
		"a bind":                      {"mp3: /mnt/usb/media,mp=/data", "mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true}", "where mp3 (/mnt/usb/media) already is"},
		"a raw entry":                 {"lxc.mount.entry: /srv/data data none bind,create=dir 0 0", "mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true}", "where lxc.mount.entry already is"},
		"a raw entry, absolute":       {"lxc.mount.entry: /srv /var/lib/lxc/101/rootfs/my\\040data none bind 0 0", "mp0: {storage: local-lvm, size: 4G, mp: /my data, backup: true}", "where lxc.mount.entry already is"},
		"a bind over a volume":        {"mp0: local-lvm:vm-101-disk-0,mp=/data,backup=1,size=4G", "mp1: {host: /mnt/films, mp: /data}", "mp1 would be mounted at /data"},
		"a volume over one below":     {"mp0: local-lvm:vm-101-disk-0,mp=/data/photos,backup=1,size=4G", "mp1: {storage: local-lvm, size: 4G, mp: /data, backup: true}", "mp1 would hide mp0 (local-lvm:vm-101-disk-0), which is mounted at /data/photos"},
		"an option moves it there":    {"mp0: local-lvm:vm-101-disk-0,mp=/data,backup=1,size=4G\n      mp1: local-lvm:vm-101-disk-9,mp=/other,size=4G", "mp1: {volume: 'local-lvm:vm-101-disk-9', mp: /data, backup: false}", "mp1 would be mounted at /data"},
		"the default interface name":  {"net3: name=eth1,bridge=vmbr0,hwaddr=BC:24:11:00:00:33,type=veth", "net1: {bridge: vmbr0, ip: dhcp}", "net1 would have the interface name eth1, which net3 already has"},
		"a declared interface name":   {"net3: name=lan0,bridge=vmbr0,hwaddr=BC:24:11:00:00:33,type=veth", "net1: {name: lan0, " + strings.Replace(net0, "=", ": ", 1) + "}", "net1 would have the interface name lan0"},
		"a hardware address":          {"net3: name=eth3,bridge=vmbr0,hwaddr=BC:24:11:00:00:33,type=veth", "net1: {bridge: vmbr0, hwaddr: 'bc:24:11:00:00:33'}", "net1 would have the hardware address BC:24:11:00:00:33, which net3 already has"},
		"a raw interface name":        {"lxc.net.7.name: eth1", "net1: {bridge: vmbr0}", "net1 would have the interface name eth1, which lxc.net.7.name already has"},
		"a device":                    {"dev3: /dev/ttyUSB0", "dev0: {path: /dev/ttyUSB0}", "dev0 would pass /dev/ttyUSB0, which dev3 already passes"},
		"a device by a raw entry":     {"lxc.mount.entry: /dev/ttyUSB0 dev/ttyUSB0 none bind,optional,create=file", "dev0: {path: /dev/ttyUSB0}", "dev0 would pass /dev/ttyUSB0"},
		"two are there and both stay": {"net3: name=eth1,bridge=vmbr0,hwaddr=BC:24:11:00:00:33,type=veth\n      net4: name=eth1,bridge=vmbr0,hwaddr=BC:24:11:00:00:44,type=veth", "net3: {bridge: vmbr0}", "net3 and net4 of 101 both have the interface name eth1"},
	} {
		t.Run(name, func(t *testing.T) {
			want := desired(t, "node: pve1\nguests:\n  dns: {vmid: 101, drift: heal, config: {"+c.config+"}}\n")
			synctest.Test(t, func(t *testing.T) {
				sim := pvesim.New()
				b := newBench(t, reconciletest.Reborn(t, sim, dnsLine, dnsLine+"      "+c.have+"\n"))
				before := guestText(b.sim, 101)
				if _, text := b.plan(desired(t, "node: pve1\nguests:\n  dns: {vmid: 101}\n")); strings.Contains(text, " !") {
					t.Fatalf("blocked before anything is declared:\n%s", text)
				}
				b.once(want)
				report := b.once(want)
				if text := b.closing(report); !strings.Contains(text, c.says) || !strings.Contains(text, "desired.yaml:3") {
					t.Errorf("it says\n%s\nand not %q", text, c.says)
				}
				if after := guestText(b.sim, 101); after != before {
					t.Errorf("the guest has changed from\n%s\nto\n%s", before, after)
				}
			})
		})
	}
}

// guestText is the config of a guest without the ownership marker.
func guestText(sim *pvesim.Sim, vmid int) string {
	text := regexp.MustCompile(`(?m)^.*felhom-agent/1.*\n`).ReplaceAllString(sim.String(), "")
	_, text, _ = strings.Cut(text, "  - vmid: 101\n")
	text, _, _ = strings.Cut(text, "    born:")
	return text
}

// A guest does not start with two interfaces of one name. So it is not shut down for a
// restart that would leave it down, and a stopped one says why.
func TestNoStartWithTwoInterfacesOfOneName(t *testing.T) {
	twice := dnsLine + "      net3: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:33,type=veth\n"
	want := desired(t, "node: pve1\nguests:\n  dns: {vmid: 101, drift: heal, state: running, restart: auto, config: {features: {nesting: true}}}\n")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, reconciletest.Reborn(t, pvesim.New(), dnsLine, twice))
		report := b.once(want)
		if !reconciletest.Parse(b.sim.String()).Guests[101].Running {
			t.Errorf("the guest was shut down for a restart:\n%s\n%s", b.events, b.closing(report))
		}
		b.as("POST", "/nodes/pve1/lxc/101/status/stop")
		b.as("POST", "/nodes/pve1/lxc/101/status/start")
		if reconciletest.Parse(b.sim.String()).Guests[101].Running {
			t.Errorf("the simulated node starts it:\n%s", b.sim)
		}
		report = b.once(want)
		if text := b.closing(report); !strings.Contains(text, "101 does not start: net0 and net3 both have the interface name eth0") {
			t.Errorf("it says\n%s", text)
		}
	})
}

// Two interfaces of one request may exchange their names: afterwards no name is there twice.
func TestTwoInterfacesExchangeTheirNames(t *testing.T) {
	two := dnsLine + "      net3: name=eth1,bridge=vmbr0,hwaddr=BC:24:11:00:00:33,type=veth\n"
	want := desired(t, "node: pve1\nguests:\n  dns: {vmid: 101, drift: heal, config: {net0: {name: eth1, bridge: vmbr0}, net3: {name: eth0, bridge: vmbr0}}}\n")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, reconciletest.Reborn(t, pvesim.New(), dnsLine, two))
		if report := b.once(want); report.ExitCode() != 0 {
			t.Errorf("it says\n%s\n%s", b.events, b.closing(report))
		}
	})
}

// The plan shows of an interface that is not there yet no old value.
func TestNoOldValueOfAnInterfaceThatIsNew(t *testing.T) {
	want := desired(t, "node: pve1\nguests:\n  dns: {vmid: 101, drift: heal, config: {net5: {name: lan0, bridge: vmbr0}}}\n")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		b.once(desired(t, "node: pve1\nguests:\n  dns: {vmid: 101, drift: heal}\n"))
		if _, text := b.plan(want); !strings.Contains(text, "(unset) -> bridge=vmbr0,name=lan0") {
			t.Errorf("the plan says\n%s", text)
		}
	})
}

// A guest that is restored does not get an empty volume where its archive has something:
// under another number, as a folder of the host, or by a raw entry.
func TestNoRestoreOverWhatTheArchiveMounts(t *testing.T) {
	yaml := func(config string) string {
		return "node: pve1\nmounts:\n  backup: {uuid: " + blueDisk + ", path: /mnt/usb/backup, storage: usb-backup}\nguests:\n  dns: {vmid: 101, drift: heal, from: {newest: usb-backup}, config: {" + config + "}}\n" +
			"backups:\n  b: {storage: usb-backup, guests: [dns], every: 1h}\n"
	}
	for name, c := range map[string]struct{ have, says string }{
		"another number":       {"", "mp1 would be mounted at /data, where mp0 ("},
		"a folder of the host": {"mp3: /mnt/usb/media,mp=/data", "mp1 would be mounted at /data, where mp3 (/mnt/usb/media) already is"},
		"a raw entry":          {"lxc.mount.entry: /srv/data data none bind,create=dir 0 0", "mp1 would be mounted at /data, where lxc.mount.entry already is"},
	} {
		t.Run(name, func(t *testing.T) {
			first, then := yaml(""), desired(t, yaml("mp1: {storage: local-lvm, size: 4G, mp: /data, backup: true}"))
			if c.have == "" {
				first = yaml("mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true}")
			}
			want := desired(t, first)
			synctest.Test(t, func(t *testing.T) {
				sim := pvesim.New()
				if c.have != "" {
					sim = reconciletest.Reborn(t, sim, dnsLine, dnsLine+"      "+c.have+"\n")
				}
				b := newBench(t, sim)
				if report := b.once(want); report.ExitCode() != 0 {
					t.Fatal(b.closing(report))
				}
				b.sim.Reinstall()
				after := newBench(t, b.sim)
				report := after.once(then)
				if text := after.closing(report); !strings.Contains(text, c.says) {
					t.Errorf("it says\n%s\n%s", after.events, text)
				}
				if reconciletest.Parse(after.sim.String()).Guests[101] != nil {
					t.Errorf("it was made:\n%s", after.sim)
				}
			})
		})
	}
}
