package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// canonicalBase is a household of one guest, whose config each case adds to.
const canonicalBase = `
node: pve1
mounts:
  backup: {uuid: 6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11, path: /mnt/usb/backup, storage: usb-backup}
  media: {uuid: 51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77, path: /mnt/usb/media}
golden:
  alpine:
    vmid: 9001
    template: local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz
    rootfs: {storage: local-lvm, size: 2G}
    publish: {storage: local, revision: 1}
restores:
  web:
    vmid: 201
    from: {golden: alpine}
    storage: local-lvm
    restart: RESTART
    state: STATE
    config:
      net0: {bridge: vmbr0, ip: dhcp}
`

// Every way of writing a value that the language takes ends, once carried out, in an
// empty plan: at birth, on a guest that runs, and on one that is stopped. The expected
// text is what PVE stores (recordings 02 and 13, pve-facts 4.2).
func TestEveryFormOfAValueConverges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		config string
		stored string // what the guest's config contains afterwards, "" for: not asked
	}{
		{"memory: 1GiB", "memory: 1024\n"},
		{"memory: 768", "memory: 768\n"},
		{"memory: 1.5GiB", "memory: 1536\n"},
		{"memory: 1024M", "memory: 1024\n"},
		{"swap: 0", "swap: 0\n"},
		{"swap: 1GiB", "swap: 1024\n"},
		{"cores: 3", "cores: 3\n"},
		{`cores: ""`, ""},
		{"cpulimit: 0.5", "cpulimit: 0.5\n"},
		{"cpulimit: 2.0", "cpulimit: 2\n"},
		{"cpulimit: 0", ""},
		{"cpuunits: 10000", "cpuunits: 10000\n"},
		{"cpuunits: 100", ""},
		{"cpuunits: 1", "cpuunits: 1\n"},
		{"nameserver: 10.0.10.1", "nameserver: 10.0.10.1\n"},
		{"nameserver: 10.0.10.1, 10.0.10.2;10.0.10.3", "nameserver: 10.0.10.1 10.0.10.2 10.0.10.3\n"},
		{"nameserver: [10.0.10.1, 'fe80::1%eth0']", "nameserver: 10.0.10.1 fe80::1%eth0\n"},
		{`nameserver: ""`, ""},
		{"searchdomain: [home.arpa, lan]", "searchdomain: home.arpa lan\n"},
		{"searchdomain: home.arpa,lan", "searchdomain: home.arpa lan\n"},
		{"timezone: host", "timezone: host\n"},
		{"timezone: Europe/Budapest", "timezone: Europe/Budapest\n"},
		{"onboot: true", "onboot: 1\n"},
		{"onboot: false", ""},
		{`onboot: ""`, ""},
		{"protection: true", "protection: 1\n"},
		{"protection: false", ""},
		{"console: false", "console: 0\n"},
		{"console: true", ""},
		{"debug: true", "debug: 1\n"},
		{"tty: 0", "tty: 0\n"},
		{"tty: 2", ""},
		{"cmode: shell", "cmode: shell\n"},
		{"cmode: tty", ""},
		{"entrypoint: /sbin/init --log-level=debug", "entrypoint: /sbin/init --log-level=debug\n"},
		{"description: one line", "#one line\n"},
		{`description: "two\n\nlines: 100 %, é\n\n"`, "#lines%3A 100 %25, %C3%A9\n"},
		{`description: "\n begins and ends with blanks \n"`, ""},
		{"description: ''", ""},
		{"tags: [Shop, alpha, BETA, alpha]", "tags: alpha;beta;shop\n"},
		{"tags: Shop;alpha BETA", "tags: alpha;beta;shop\n"},
		{"startup: 3", "startup: order=3\n"},
		{"startup: 'order=3,up=30'", "startup: order=3,up=30\n"},
		{"startup: {down: 60, order: 3}", "startup: order=3,down=60\n"},
		{"startup: {up: 0}", "startup: up=0\n"},
		{"startup: ''", ""},
		{"features: {nesting: true}", "features: nesting=1\n"},
		{"features: {nesting: false}", ""},
		{"features: nesting=on", "features: nesting=1\n"},
		{"net1: {bridge: vmbr0}", ""},
		{"net1: {bridge: vmbr0, tag: 20, rate: 12.50, mtu: 1400, firewall: true}", "firewall=1"},
		{"net1: {bridge: vmbr0, firewall: false, link_down: false, host-managed: false}", ""},
		{"net1: {bridge: vmbr0, host-managed: true, ip: 10.0.10.12/24, gw: 10.0.10.1}", "host-managed=1"},
		{"net1: {bridge: vmbr0, link_down: true}", "link_down=1"},
		{"net1: {bridge: vmbr0, ip: manual, ip6: auto}", "ip6=auto"},
		{"net1: {bridge: vmbr0, ip6: dhcp}", "ip6=dhcp"},
		{"net1: {bridge: vmbr0, ip6: 'FD00::11/64', gw6: 'fd00::1'}", "ip6=FD00::11/64"},
		{"net1: {bridge: vmbr0, trunks: 10;20}", "trunks=10;20"},
		{"net1: {bridge: vmbr0, hwaddr: 'bc:24:11:00:00:01'}", "hwaddr=bc:24:11:00:00:01"},
		{"net1: {name: lan0, bridge: vmbr0, type: veth}", "name=lan0"},
		{"net1: 'bridge=vmbr0,ip=dhcp,name=eth7,firewall=on'", "name=eth7"},
		{"mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true}", "mp=/data"},
		{"mp0: {storage: local-lvm, size: 1536M, mp: /data, backup: false}", "size=1536M"},
		{"mp0: {storage: local-lvm, size: 0.5GiB, mp: /data, backup: true}", "size=512M"},
		{"mp0: {storage: local-lvm, size: 4, mp: /data, backup: true, ro: true}", "ro=1"},
		{"mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true, acl: true}", "acl=1"},
		{"mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true, acl: false}", "acl=0"},
		{"mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true, quota: false, shared: false, keepattrs: false}", ""},
		{"mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true, replicate: true}", ""},
		{"mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true, replicate: false}", "replicate=0"},
		{"mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true, shared: true}", "shared=1"},
		{"mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true, mountoptions: noatime;nosuid}", "mountoptions=noatime;nosuid"},
		{"mp0: 'local-lvm:4,mp=/data,backup=yes'", "backup=1"},
		{"dev0: {path: /dev/net/tun}", "dev0: /dev/net/tun\n"},
		{"dev0: {path: /dev/net/tun, uid: 0, gid: 0, deny-write: false}", ""},
		{"dev0: {path: /dev/net/tun, mode: '0660'}", ""},
		{"dev0: {path: /dev/net/tun, mode: '0666', gid: 104, deny-write: true}", "gid=104"},
		{"dev0: /dev/net/tun", "dev0: /dev/net/tun\n"},
		{"mp1: {mount: media, folder: library, mp: /media}", "mp1: /mnt/usb/media/library,mp=/media"},
		{"mp1: {mount: media, folder: library, mp: /media, ro: true, mountoptions: noatime, acl: false, shared: true}", "mountoptions=noatime"},
	} {
		t.Run(c.config, func(t *testing.T) {
			with := strings.TrimRight(canonicalBase, "\n") + "\n      " + c.config + "\n"
			for _, way := range []struct{ name, first, restart, state string }{
				{"at birth", with, "auto", "running"},
				{"on a running guest", canonicalBase, "auto", "running"},
				{"on a running guest that a person restarts", canonicalBase, "manual", "running"},
				{"on a stopped guest", canonicalBase, "manual", "stopped"},
			} {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t, pvesim.New())
					fill := strings.NewReplacer("RESTART", way.restart, "STATE", way.state)
					if way.restart == "manual" && way.state == "running" {
						b.agent.O.Patience = time.Minute
					}
					if r := b.once(desired(t, fill.Replace(way.first))); r.ExitCode() != 0 {
						t.Fatalf("%s: the beginning does not converge: %d\n%s\n%s", way.name, r.ExitCode(), b.events, b.closing(r))
					}
					want := desired(t, fill.Replace(with))
					report := b.once(want)
					if report.ExitCode() == 3 && way.restart == "manual" && way.state == "running" {
						if status, body := b.sim.Do("root@pam", "POST", "/nodes/pve1/lxc/201/status/reboot", nil); status != 200 {
							t.Fatal(status, body)
						}
						b.sim.Advance(2 * time.Minute)
						report = b.once(want)
					}
					if report.ExitCode() != 0 {
						t.Errorf("%s: it does not converge: %d\n%s\n%s", way.name, report.ExitCode(), b.events, b.closing(report))
					}
					if plan, text := b.plan(want); plan.ExitCode() != 0 {
						t.Errorf("%s: the next plan is not empty:\n%s", way.name, text)
					}
					if c.stored != "" && !strings.Contains(b.sim.String(), c.stored) {
						t.Errorf("%s: the guest's config lacks %q:\n%s", way.name, c.stored, b.sim.String())
					}
				})
			}
		})
	}
}

// A value that says what is so anyway, since PVE's default is the same, is no
// difference: nothing is sent, and nobody is asked to restart a guest for it.
func TestDefaultsAreNoDifference(t *testing.T) {
	for _, c := range []struct{ have, want string }{
		{"mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true}", "mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true, replicate: true, shared: false, quota: false, keepattrs: false, ro: false}"},
		{"net1: {bridge: vmbr0}", "net1: {bridge: vmbr0, name: eth1, type: veth, firewall: false, link_down: false, host-managed: false}"},
		{"dev0: {path: /dev/net/tun}", "dev0: {path: /dev/net/tun, uid: 0, gid: 0, deny-write: false}"},
		{"dev0: {path: /dev/net/tun, gid: 104, mode: '0666'}", "dev0: /dev/net/tun"},
		{"cores: 2", "{cores: 2, swap: 512MiB, cpulimit: 0, cpuunits: 100, onboot: false, protection: false, console: true, tty: 2, cmode: tty, debug: false, features: {nesting: false}, timezone: '', startup: '', description: ''}"},
	} {
		t.Run(c.want, func(t *testing.T) {
			with := func(config string) string {
				text := strings.NewReplacer("RESTART", "manual", "STATE", "running").Replace(strings.TrimRight(canonicalBase, "\n"))
				for field := range strings.SplitSeq(flat(config), "\n") {
					text += "\n      " + field
				}
				return text + "\n"
			}
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				if r := b.once(desired(t, with(c.have))); r.ExitCode() != 0 {
					t.Fatalf("the beginning does not converge: %d\n%s\n%s", r.ExitCode(), b.events, b.closing(r))
				}
				if plan, text := b.plan(desired(t, with(c.want))); plan.ExitCode() != 0 {
					t.Errorf("the plan is not empty:\n%s", text)
				}
			})
		})
	}
}

// flat writes a map in braces as one field a line.
func flat(config string) string {
	if inner, ok := strings.CutPrefix(config, "{"); ok {
		return strings.ReplaceAll(strings.TrimSuffix(inner, "}"), ", ", "\n")
	}
	return config
}

// An edit of an option is carried out, and what was not declared stays.
func TestEditsOfOptionsConverge(t *testing.T) {
	for _, c := range []struct{ have, want, stored string }{
		{"mp1: {mount: media, folder: library, mp: /media, acl: true}", "mp1: {mount: media, folder: library, mp: /media, mountoptions: noatime}", "mp=/media,acl=1,mountoptions=noatime"},
		{"mp1: {mount: media, folder: library, mp: /media, ro: true}", "mp1: {mount: media, folder: library, mp: /media}", "mp1: /mnt/usb/media/library,mp=/media\n"},
		{"mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true, acl: true}", "mp0: {storage: local-lvm, size: 4G, mp: /data, backup: false, acl: false}", "mp=/data,acl=0,backup=0,size=4G"},
		{"mp0: {storage: local-lvm, size: 4G, mp: /data, backup: true, mountoptions: noatime}", "mp0: {storage: local-lvm, size: 5G, mp: /srv, backup: true}", "mp=/srv,backup=1,mountoptions=noatime,size=5G"},
		{"dev0: {path: /dev/net/tun, gid: 104}", "dev0: {path: /dev/net/tun, mode: '0666'}", "dev0: /dev/net/tun,gid=104,mode=0666"},
		{"dev0: {path: /dev/net/tun, gid: 104}", "dev0: {path: /dev/net/tun, gid: 0}", "dev0: /dev/net/tun\n"},
		{"net1: {bridge: vmbr0, rate: 5, tag: 20}", "net1: {bridge: vmbr0, tag: 30, firewall: true}", "rate=5,tag=30"},
		{"startup: 'order=3,up=30'", "startup: {order: 4}", "startup: order=4,up=30"},
	} {
		t.Run(c.have+" to "+c.want, func(t *testing.T) {
			with := func(config string) string {
				return strings.NewReplacer("RESTART", "auto", "STATE", "running").Replace(strings.TrimRight(canonicalBase, "\n")) + "\n      " + config + "\n"
			}
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				if r := b.once(desired(t, with(c.have))); r.ExitCode() != 0 {
					t.Fatalf("the beginning does not converge: %d\n%s\n%s", r.ExitCode(), b.events, b.closing(r))
				}
				want := desired(t, with(c.want))
				if r := b.once(want); r.ExitCode() != 0 {
					t.Errorf("it does not converge: %d\n%s\n%s", r.ExitCode(), b.events, b.closing(r))
				}
				if plan, text := b.plan(want); plan.ExitCode() != 0 {
					t.Errorf("the next plan is not empty:\n%s", text)
				}
				if !strings.Contains(b.sim.String(), c.stored) {
					t.Errorf("the guest's config lacks %q:\n%s", c.stored, b.sim)
				}
			})
		})
	}
}
