package reconcile

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

// What is odd, and works all the same, is a note before the first operation. pve1 has
// 4 processors and 16 GiB.
func TestOddValuesAreNotedBeforehand(t *testing.T) {
	for config, says := range map[string]string{
		"memory: 16GiB": "",
		"memory: 32GiB": "memory: 32 GiB is more than pve1 has (16 GiB)",
		"memory: 32MiB": "",
		"memory: 16MiB": "16 MiB",
		"cores: 4":      "",
		"cores: 400":    "cores: 400 are more than pve1 has (4)",
		"net0: {name: eth0, bridge: vmbr0, ip: dhcp}":                           "",
		"net0: {name: eth0, bridge: vmbr77, ip: dhcp}":                          "net0: bridge vmbr77 is not in the network configuration of pve1",
		"net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/24, gw: 10.0.10.1}":   "",
		"net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/24, gw: 10.0.11.1}":   "net0: the gateway 10.0.11.1 is outside the network 10.0.10.0/24",
		"net0: {name: eth0, bridge: vmbr0, ip: 10.0.10.11/32, gw: 10.0.11.1}":   "",
		"net0: {name: eth0, bridge: vmbr0, ip6: 'fd00::11/64', gw6: 'fe80::1'}": "",
		"net0: {name: eth0, bridge: vmbr0, ip6: 'fd00::11/64', gw6: 'fd01::1'}": "net0: the gateway fd01::1 is outside the network fd00::/64",
	} {
		for _, object := range []string{"guests:\n  dns: {vmid: 101, ", "restores:\n  web: {vmid: 201, storage: local-lvm, from: [{newest: local}], "} {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				_, text := b.plan(desired(t, "node: pve1\n"+object+"config: {"+config+"}}\n"))
				text = strings.Join(strings.Fields(text), " ")
				if says != "" && !strings.Contains(text, says) {
					t.Errorf("%s: want %q:\n%s", config, says, text)
				}
				if says == "" && (strings.Contains(text, "more than pve1 has") || strings.Contains(text, "is outside the network") || strings.Contains(text, "bridge vmbr0") || strings.Contains(text, "too little")) {
					t.Errorf("%s: nothing is odd:\n%s", config, text)
				}
			})
		}
	}
}

// A storage that does not exist blocks the guest that is to lie on it at once, not only when
// the disk with its backup is mounted or its golden image is published.
func TestMissingStorageIsToldBeforehand(t *testing.T) {
	const start = "node: pve1\nmounts: {backup: {uuid: " + blueDisk + ", path: /mnt/usb/backup, storage: usb-backup}}\n" +
		"golden: {debian: {vmid: 9000, template: 'local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst', rootfs: {storage: local-lvm, size: 8G}, publish: {storage: local, revision: 1}}}\n"
	for object, says := range map[string]string{
		"from: [{newest: usb-backup}], storage: local-lmv":                                                                "storage local-lmv does not exist (did you mean local-lvm?)",
		"from: [{golden: debian}], storage: local-lmv":                                                                    "storage local-lmv does not exist (did you mean local-lvm?)",
		"from: [{golden: debian}], storage: local-lvm, config: {mp0: {storage: fast, size: 8G, mp: /data, backup: true}}": "storage fast does not exist",
		"from: [{golden: debian}], storage: local-lvm":                                                                    "",
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			p, text := b.plan(desired(t, start+"restores: {web: {vmid: 201, "+object+"}}\n"))
			text = strings.Join(strings.Fields(text), " ")
			if says == "" {
				if len(p.Blocked) > 0 {
					t.Errorf("%s: blocked:\n%s", object, text)
				}
				return
			}
			if !strings.Contains(text, "! restores/web "+says) {
				t.Errorf("%s: want %q:\n%s", object, says, text)
			}
		})
	}
}

// A guest is not made with so little memory that no system starts in it. One that has as little
// and is here, or comes back from its backup, is left as it is: it is only noted.
func TestTooLittleMemoryIsToldBeforehand(t *testing.T) {
	const golden = "golden: {alpine: {vmid: 9001, template: 'local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz', rootfs: {storage: local-lvm, size: 2G}, config: {memory: %s}, publish: {storage: local, revision: 1}}}\n"
	disk := "node: pve1\nmounts: {backup: {uuid: " + blueDisk + ", path: /mnt/usb/backup, storage: usb-backup}}\n"
	web := func(memory string) string {
		return "restores: {web: {vmid: 201, from: [{newest: local}, {golden: alpine}], storage: local-lvm, config: {memory: " + memory + "}}}\n"
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		blocked := func(text string, want ...string) {
			t.Helper()
			p, shown := b.plan(desired(t, text))
			var got []string
			for _, one := range p.Blocked {
				got = append(got, one.Object.String()+" "+one.Reason)
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("blocked is\n%s\nwant\n%s\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), shown)
			}
		}
		blocked(disk+fmt.Sprintf(golden, "64MiB")+web("16MiB"), "restores/web memory: 16 MiB is too little for a guest to start")
		blocked(disk+fmt.Sprintf(golden, "31MiB"), "golden/alpine memory: 31 MiB is too little for a guest to start")
		blocked(disk + fmt.Sprintf(golden, "64MiB") + web("32MiB"))

		// It is here, is lowered by an edit, and comes back from its backup.
		daily := "backups: {daily: {guests: [web], storage: local, every: 24h, keep: 2}}\n"
		if r := b.once(desired(t, disk+fmt.Sprintf(golden, "64MiB")+web("64MiB"))); r.ExitCode() != 0 {
			t.Fatal(b.closing(r))
		}
		if r := b.once(desired(t, disk+fmt.Sprintf(golden, "64MiB")+web("16MiB")+daily)); r.ExitCode() != 0 {
			t.Fatal(b.closing(r))
		}
		b.as("DELETE", "/nodes/pve1/lxc/201")
		b.agent.O.Only = []spec.Ref{{Kind: spec.KindRestore, Name: "web"}}
		if r := b.once(desired(t, disk+fmt.Sprintf(golden, "64MiB")+web("16MiB")+daily)); r.ExitCode() != 0 {
			t.Error(b.closing(r))
		}
	})
}

// A rootfs that is smaller than that of the golden image is blocked at once, whether the image
// is published or still to be made; nothing is made only to find that out.
func TestSmallRootFSIsToldBeforehand(t *testing.T) {
	const golden = "golden: {alpine: {vmid: 9001, template: 'local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz', rootfs: {storage: local-lvm, size: 2G}, publish: {storage: local, revision: 1}}}\n"
	start := "node: pve1\nmounts: {backup: {uuid: " + blueDisk + ", path: /mnt/usb/backup, storage: usb-backup}}\n" + golden
	small := start + "restores: {web: {vmid: 201, from: {golden: alpine}, storage: local-lvm, rootfs: {size: 1G}}}\n"
	for _, published := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			if published {
				if r := b.once(desired(t, start)); r.ExitCode() != 0 {
					t.Fatal(b.closing(r))
				}
			}
			p, text := b.plan(desired(t, small))
			if len(p.Blocked) != 1 || p.Blocked[0].Object.String() != "restores/web" || !strings.HasPrefix(p.Blocked[0].Reason, "rootfs: 1G is declared, but the ") {
				t.Errorf("published %t:\n%s", published, text)
			}
		})
	}
}

// Without `keep` everything stays: a note says so, of periodic snapshots and of backups.
func TestMissingKeepIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		for keep, want := range map[string]int{"": 2, ", keep: 3": 0} {
			p, text := b.plan(desired(t, "node: pve1\nguests: {dns: {vmid: 101}}\nsnapshots: {old: {guest: dns, taken: 2026-11-22}, hourly: {guest: dns, every: 1h"+keep+"}}\nbackups: {daily: {guests: all, storage: local, every: 24h"+keep+"}}\n"))
			n := 0
			for _, note := range p.Notes {
				if strings.HasPrefix(note.Text, "no keep: ") {
					n++
				}
			}
			if n != want {
				t.Errorf("keep %q: %d notes, want %d\n%s", keep, n, want, text)
			}
		}
	})
}

// The network configuration of the node does not name each bridge: one that a running guest
// uses is there, and where it names none at all, bridges are made elsewhere. (The recorded node
// has vmbr0, and lists eth0 alone.) A refusal, too, only means that nothing is known.
func TestBridgesThatAreNotListed(t *testing.T) {
	web := "node: pve1\nguests: {dns: {vmid: 101, config: {net0: {name: eth0, bridge: vmbr7, ip: dhcp}}}}\n"
	for name, world := range map[string]string{
		"none is listed": `[{iface: eth0, type: eth}]`,
		"OVS":            `[{iface: vmbr0, type: bridge}, {iface: vmbr7, type: OVSBridge}]`,
		"a vnet":         `[{iface: vmbr0, type: bridge}, {iface: vmbr7, type: vnet}]`,
		"another one":    `[{iface: vmbr0, type: bridge}]`,
	} {
		synctest.Test(t, func(t *testing.T) {
			saved, err := pvesim.New().Save()
			must(t, err)
			text := regexp.MustCompile(`(?m)^( +)bridges:`).ReplaceAllString(string(saved), "${1}network: "+world+"\n${1}bridges:")
			sim, err := pvesim.Load([]byte(text))
			must(t, err)
			b := newBench(t, sim)
			_, shown := b.plan(desired(t, web))
			if got := strings.Contains(shown, "bridge vmbr7 is not in"); got != (name == "another one") {
				t.Errorf("%s: noted %t\n%s", name, got, shown)
			}
		})
	}
}
