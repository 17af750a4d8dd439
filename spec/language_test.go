package spec

import (
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/felhom/felhom-agent/proxmox"
)

// load loads one file of the given text.
func load(t testing.TB, text string) *Desired {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pve1.yaml")
	write(t, path, text)
	d, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var (
	values  = cmp.Options{cmpopts.IgnoreUnexported(Object{}, Golden{}), cmp.AllowUnexported(Moment{}), cmpopts.EquateEmpty()}
	noPlace = cmpopts.IgnoreTypes(Pos{})
)

// The household of the documentation, whole: every field of the language with
// a value lands where it belongs.
func TestLanguage(t *testing.T) {
	d := load(t, `
node: pve1
x-lan: &lan {bridge: vmbr0, gw: 10.0.10.1}
mounts:
  backup:
    uuid: {blue: 6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11, red: 0b7c9d52-1f0e-4a86-8a55-3f7e64a0d2c7}
    path: /mnt/usb/backup
    options: [noatime, "commit=30"]
    fstype: ext4
    storage: usb-backup
    node: pve2
  media: {uuid: 51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77, path: /mnt/usb/media}
  old: {uuid: 12345678, path: /mnt/usb/old, ensure: absent}
golden:
  debian:
    vmid: 9000
    template: local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst
    rootfs: {storage: local-lvm, size: 8G}
    features: {keyctl: true, nesting: true, fuse: false, mknod: false, force_rw_sys: false, mount: nfs;cifs}
    config: {cores: 2, memory: 1GiB, ostype: debian, arch: amd64, net0: {bridge: vmbr0, ip: dhcp}}
    publish: {storage: local, revision: 1}
restores:
  nextcloud:
    vmid: 111
    from: [{newest: usb-backup}, {newest: usb-backup, vmid: 105}, {archive: "usb-backup:backup/vzdump-lxc-111-2026_11_21-02_31_07.tar.zst"}, {golden: debian}]
    storage: local-lvm
    rootfs: {size: 16G}
    config:
      cores: 4
      cpulimit: 1.50
      cpuunits: 200
      memory: 6GiB
      swap: 0
      nameserver: [10.0.10.1, "fd00::1"]
      searchdomain: "home.arpa, lan"
      onboot: true
      protection: false
      console: true
      debug: false
      timezone: Europe/Budapest
      tty: 2
      cmode: shell
      entrypoint: /sbin/init --x
      description: "Files\nand photos\n\n"
      tags: [Shop, family, shop]
      startup: {order: 3, up: 30, down: 60}
      features: {nesting: true}
      net0: {<<: *lan, ip: 10.0.10.11/24}
      net31: {name: eth31, bridge: vmbr1, tag: 20, rate: 12.5, firewall: true, hwaddr: "BC:24:11:00:00:01", trunks: 10;20, mtu: 1500,
        ip6: auto, gw6: "fd00::1", link_down: false, host-managed: false, type: veth}
      mp0: {storage: local-lvm, size: 200G, mp: /data, backup: true}
      mp1: {mount: media, folder: library/films, mp: /media, ro: true}
      mp2: {host: /mnt/tank/photos, mp: /photos}
      mp255: {volume: "local-lvm:vm-111-disk-3", mp: /old, backup: false, acl: true, quota: false, replicate: true, shared: false,
        keepattrs: true, idmap: passthrough, mountoptions: noatime;nosuid}
      dev0: {path: /dev/dri/renderD128, uid: 1, gid: 104, mode: "0660", deny-write: true}
    needs: [postgres]
    state: running
    restart: auto
    rollback: {to: before-32, requested: 2026-11-22T18:00:00Z, loses: [mp0]}
    guard: {probe: [{unit: nginx}, {http: 80/status.php, status: 302}, {file: /srv/a, sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef}, {tcp: 22}, {process: sshd}, {systemd: running}], hold: 1m, within: 5m, require: true}
    paused: true
    drift: report
    timeout: 1h30m
    despite: 2026-11-22T18:02:00+01:00
    was: cloud
  postgres: {vmid: 110, from: {golden: debian}, storage: local-lvm}
  hass:
    vmid: 130
    type: vm
    from: {newest: usb-backup}
    storage: local-lvm
    trust: [args, serial0]
    config: {cores: 2, sockets: 2, balloon: 1GiB, agent: true, net0: {bridge: vmbr0, model: virtio, queues: 4}, scsi0: {size: 64G}, virtio1: {size: 8G}, sata2: {size: 4G}}
guests:
  mail: {vmid: 120, is: mx, from: {newest: usb-backup}, state: stopped, node: pve2}
  old: {vmid: 121, ensure: absent, backup: none}
snapshots:
  before-32: {guest: postgres, taken: 2026-11-22, description: before version 32}
  hourly: {guest: postgres, every: 1h, keep: {last: 1, hourly: 24, daily: 3, weekly: 2, monthly: 4, yearly: 5}}
  older: {guest: postgres, ensure: absent}
  seven: {guest: mail, every: 2w, keep: 7}
  many: {guests: all, except: [nextcloud, hass], every: 1d}
backups:
  nightly:
    guests: all
    except: [mail, hass]
    storage: usb-backup
    at: "mon..fri 02:30"
    late: 5h
    keep: {last: 1, hourly: 2, daily: 7, weekly: 3, monthly: 4, yearly: 5}
    warn-after: 4d
  one: {guest: mail, storage: usb-backup, every: 24h, mode: stop, compress: 0}
  two: {guests: [postgres, mail], storage: usb-backup, every: 24h, mode: suspend, compress: gzip}
  pbs: {guest: mail, storage: pbs, every: 24h, fleecing: local-lvm, keep: server, change-detection-mode: metadata}
tests:
  weekly:
    guests: all
    except: [mail]
    from: usb-backup
    storage: local-lvm
    vmids: 9900-9909
    every: 7d
    keep-awake: 2m
    memory: 1GiB
    warn-after: 21d
    probe:
      - {systemd: running}
      - {unit: nginx}
      - {process: php-fpm8.4}
      - {tcp: 5432}
      - {http: 80/status.php, status: 302}
      - {http: 8080}
      - {file: /srv/canary, newer-than: 26h, sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef}
      - {newest: /data, newer-than: 3d}
  sundays: {guest: postgres, storage: local-lvm, vmids: 9910 - 9911, at: "sun 04:00"}
`)
	description := "Files\nand photos"
	object := func(k Kind, name string) Object { return Object{Ref: Ref{k, name}, Node: "pve1"} }
	nextcloud := object(KindRestore, "nextcloud")
	nextcloud.Paused, nextcloud.Drift, nextcloud.Timeout, nextcloud.Was = true, DriftReport, 90*time.Minute, "cloud"
	nextcloud.Despite = time.Date(2026, 11, 22, 17, 2, 0, 0, time.UTC)
	backup, mail := object(KindMount, "backup"), object(KindGuest, "mail")
	backup.Node, mail.Node = "pve2", "pve2"
	old := object(KindMount, "old")
	want := &Desired{
		Node: "pve1",
		Mounts: map[string]*Mount{
			"backup": {Object: backup, UUIDs: []Disk{{"blue", "6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11"}, {"red", "0b7c9d52-1f0e-4a86-8a55-3f7e64a0d2c7"}},
				Path: "/mnt/usb/backup", Options: []string{"noatime", "commit=30"}, FSType: "ext4", Storage: "usb-backup"},
			"media": {Object: object(KindMount, "media"), UUIDs: []Disk{{"", "51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77"}}, Path: "/mnt/usb/media"},
			"old":   {Object: old, UUIDs: []Disk{{"", "12345678"}}, Path: "/mnt/usb/old", Absent: true},
		},
		Golden: map[string]*Golden{"debian": {
			Object: object(KindGolden, "debian"), VMID: 9000, Template: "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst",
			RootFS: RootFS{"local-lvm", 8 * proxmox.GiB}, Features: proxmox.Features{"keyctl": "1", "nesting": "1", "fuse": "0", "mknod": "0", "force_rw_sys": "0", "mount": "nfs;cifs"},
			Config:  Config{Values: map[string]string{"cores": "2", "memory": "1024", "ostype": "debian", "arch": "amd64"}, Nets: map[int]proxmox.Net{0: {"bridge": "vmbr0", "ip": "dhcp"}}},
			Publish: &Publish{"local", 1},
		}},
		Restores: map[string]*Guest{
			"nextcloud": {
				Object: nextcloud, VMID: 111,
				From: []Source{{Newest: "usb-backup"}, {Newest: "usb-backup", VMID: 105},
					{Archive: "usb-backup:backup/vzdump-lxc-111-2026_11_21-02_31_07.tar.zst"}, {Golden: "debian"}},
				Storage: "local-lvm", RootFS: RootFS{Size: 16 * proxmox.GiB},
				Config: Config{
					Values: map[string]string{
						"cores": "4", "cpulimit": "1.5", "cpuunits": "200", "memory": "6144", "swap": "0", "nameserver": "10.0.10.1 fd00::1",
						"searchdomain": "home.arpa lan", "onboot": "1", "protection": "0", "console": "1", "debug": "0",
						"timezone": "Europe/Budapest", "tty": "2", "cmode": "shell", "entrypoint": "/sbin/init --x",
					},
					Description: &description, Tags: []string{"family", "shop"},
					Startup: proxmox.Startup{"order": "3", "up": "30", "down": "60"}, Features: proxmox.Features{"nesting": "1"},
					Nets: map[int]proxmox.Net{
						0: {"bridge": "vmbr0", "gw": "10.0.10.1", "ip": "10.0.10.11/24"},
						31: {"name": "eth31", "bridge": "vmbr1", "tag": "20", "rate": "12.5", "firewall": "1",
							"hwaddr": "BC:24:11:00:00:01", "trunks": "10;20", "mtu": "1500",
							"ip6": "auto", "gw6": "fd00::1", "link_down": "0", "host-managed": "0", "type": "veth"},
					},
					Mounts: map[int]MountPoint{
						0: {Storage: "local-lvm", Size: 200 * proxmox.GiB, Path: "/data", Backup: true},
						1: {Mount: "media", Folder: "library/films", Path: "/media", ReadOnly: true},
						2: {Host: "/mnt/tank/photos", Path: "/photos"},
						255: {Volume: "local-lvm:vm-111-disk-3", Path: "/old", Options: map[string]string{"acl": "1", "quota": "0", "replicate": "1",
							"shared": "0", "keepattrs": "1", "idmap": "passthrough", "mountoptions": "noatime;nosuid"}},
					},
					Devices: map[int]proxmox.Device{0: {"path": "/dev/dri/renderD128", "uid": "1", "gid": "104", "mode": "0660", "deny-write": "1"}},
				},
				Needs: []string{"postgres"}, State: Running, Restart: RestartAuto,
				Guard: &Guard{Probes: []Probe{{Unit: "nginx"}, {HTTP: "80/status.php", Status: 302}, {File: "/srv/a", SHA256: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}, {TCP: 22}, {Process: "sshd"}, {Systemd: "running"}},
					Hold: time.Minute, Within: 5 * time.Minute, Require: true},
				Rollback: &Rollback{To: "before-32", Requested: time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC), Zoned: true,
					RequestedText: "2026-11-22T18:00:00Z", Loses: []string{"mp0"}},
			},
			"hass": {Object: object(KindRestore, "hass"), VMID: 130, Type: proxmox.QEMU, TypeSaid: true, From: []Source{{Newest: "usb-backup"}}, Storage: "local-lvm", Restart: RestartManual, Trust: []string{"args", "serial0"},
				Config: Config{Values: map[string]string{"cores": "2", "sockets": "2", "balloon": "1024", "agent": "1"},
					Nets:   map[int]proxmox.Net{0: {"bridge": "vmbr0", "model": "virtio", "queues": "4"}},
					Drives: map[string]proxmox.Size{"scsi0": 64 * proxmox.GiB, "virtio1": 8 * proxmox.GiB, "sata2": 4 * proxmox.GiB}}},
			"postgres": {Object: object(KindRestore, "postgres"), VMID: 110, From: []Source{{Golden: "debian"}}, Storage: "local-lvm", Restart: RestartManual},
		},
		Guests: map[string]*Guest{"mail": {Object: mail, Adopt: true, VMID: 120, Is: "mx", From: []Source{{Newest: "usb-backup"}}, State: Stopped, Restart: RestartManual},
			"old": {Object: object(KindGuest, "old"), Adopt: true, VMID: 121, Restart: RestartManual, Absent: true, NoBackup: true}},
		Snapshots: map[string]*Snapshot{
			"before-32": {Object: object(KindSnapshot, "before-32"), Guest: "postgres", Description: "before version 32",
				Taken: Moment{t: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), text: "2026-11-22"}},
			"hourly":        {Object: object(KindSnapshot, "hourly"), Guest: "postgres", Every: time.Hour, Keep: Keep{1, 24, 3, 2, 4, 5}},
			"older":         {Object: object(KindSnapshot, "older"), Guest: "postgres", Absent: true},
			"many/mail":     {Object: object(KindSnapshot, "many/mail"), All: true, Guest: "mail", Except: []string{"nextcloud", "hass"}, Every: 24 * time.Hour},
			"many/postgres": {Object: object(KindSnapshot, "many/postgres"), All: true, Guest: "postgres", Except: []string{"nextcloud", "hass"}, Every: 24 * time.Hour},
			"seven":         {Object: object(KindSnapshot, "seven"), Guest: "mail", Every: 14 * 24 * time.Hour, Keep: Keep{Last: 7}},
		},
		Backups: map[string]*Backup{
			"nightly": {Object: object(KindBackup, "nightly"), All: true, Except: []string{"mail", "hass"}, Storage: "usb-backup",
				At:   &Schedule{Days: [7]bool{false, true, true, true, true, true, false}, Hour: 2, Minute: 30},
				Late: 5 * time.Hour, Mode: "snapshot", Compress: "zstd", Keep: Keep{1, 2, 7, 3, 4, 5}, WarnAfter: 4 * 24 * time.Hour},
			"one": {Object: object(KindBackup, "one"), Guests: []string{"mail"}, Storage: "usb-backup", Every: 24 * time.Hour, Mode: "stop", Compress: "0"},
			"two": {Object: object(KindBackup, "two"), Guests: []string{"postgres", "mail"}, Storage: "usb-backup", Every: 24 * time.Hour, Mode: "suspend", Compress: "gzip"},
			"pbs": {Object: object(KindBackup, "pbs"), Guests: []string{"mail"}, Storage: "pbs", Fleecing: "local-lvm", Every: 24 * time.Hour, Mode: "snapshot", Compress: "zstd", ServerKeeps: true, ChangeDetection: "metadata"},
		},
		Tests: map[string]*Test{
			"weekly": {Object: object(KindTest, "weekly"), All: true, Except: []string{"mail"}, From: "usb-backup", Storage: "local-lvm", VMIDs: VMIDRange{9900, 9909},
				Every: 7 * 24 * time.Hour, KeepAwake: 2 * time.Minute, Memory: proxmox.GiB, WarnAfter: 21 * 24 * time.Hour, Probes: []Probe{{Systemd: "running"}, {Unit: "nginx"}, {Process: "php-fpm8.4"},
					{TCP: 5432}, {HTTP: "80/status.php", Status: 302}, {HTTP: "8080"},
					{File: "/srv/canary", NewerThan: 26 * time.Hour, SHA256: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}, {Newest: "/data", NewerThan: 72 * time.Hour}}},
			"sundays": {Object: object(KindTest, "sundays"), Guests: []string{"postgres"}, Storage: "local-lvm", VMIDs: VMIDRange{9910, 9911},
				At: &Schedule{Days: [7]bool{true}, Hour: 4}, KeepAwake: 5 * time.Minute},
		},
		Files: []string{"pve1.yaml"}, Hash: d.Hash,
	}
	if diff := cmp.Diff(want, d, values, noPlace, cmpopts.IgnoreUnexported(Desired{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, missing := range unsaid(d) {
		t.Errorf("%s is in the table, but not in this test", missing)
	}
	if got := d.BackupGuests(d.Backups["nightly"]); !cmp.Equal(got, []string{"nextcloud", "postgres"}) {
		t.Errorf("nightly covers %v", got)
	}
	if g := d.Guest("mail"); g == nil || g.Hostname() != "mx" || d.Guest("postgres").Hostname() != "postgres" || d.Guest("debian") != nil {
		t.Errorf("hostnames and guests by name are wrong")
	}
}

// unsaid are the fields of the table that no object says. What kinds share
// (config, paused, …) need be said by one of them only.
func unsaid(d *Desired) (missing []string) {
	said := map[string]bool{}
	numbers := regexp.MustCompile(`\b(net|mp|dev|scsi|virtio|sata)[0-9]+`)
	shared := regexp.MustCompile(`^(config\..*|from\..*|ensure|paused|node|was|drift|timeout|despite)$`)
	key := func(k Kind, field string) string {
		if field = numbers.ReplaceAllString(field, "${1}N"); shared.MatchString(field) || k == KindGuest {
			k = KindRestore
		}
		return k.String() + "." + field
	}
	for _, r := range d.Refs() {
		for field := range d.Object(r).lines {
			said[key(r.Kind, field)] = true
		}
	}
	for _, f := range Fields() {
		if !said[key(f.Kind, f.Path)] {
			missing = append(missing, f.Kind.String()+"."+f.Path)
		}
	}
	return missing
}

// Wherever a map stands for one of PVE's strings, the string means the same.
func TestPropertyStrings(t *testing.T) {
	config := func(golden, lines string) (*Desired, string) {
		text := "golden: {g: {vmid: 9000, template: 'local:vztmpl/x.tar.zst', rootfs: " + golden + "}}\n" +
			"guests:\n  a:\n    vmid: 111\n    " + lines + "\n"
		return load(t, text), text
	}
	for name, c := range map[string]struct{ golden, asMap, goldenText, asText string }{
		"rootfs": {"{storage: local-lvm, size: 8G}", "rootfs: {size: 16G}",
			"'local-lvm:vm-9000-disk-0,size=8G'", "rootfs: 'local-lvm:vm-111-disk-0,size=16G'"},
		"rootfs as asked for": {"{storage: local-lvm, size: 2048M}", "rootfs: {size: 1.5G}", "local-lvm:2", "rootfs: 'local:1.5'"},
		"net": {"local:8", "config: {net0: {name: eth0, bridge: vmbr0, ip: dhcp, firewall: true}}",
			"local:8", "config: {net0: 'name=eth0,bridge=vmbr0,firewall=1,ip=dhcp'}"},
		"volume": {"local:8", "config: {mp0: {volume: 'local-lvm:vm-111-disk-1', mp: /data, backup: true, acl: true}}",
			"local:8", "config: {mp0: 'local-lvm:vm-111-disk-1,mp=/data,acl=1,backup=1,size=8G'}"},
		"new volume": {"local:8", "config: {mp0: {storage: local-lvm, size: 200G, mp: /data, backup: false, ro: true}}",
			"local:8", "config: {mp0: 'local-lvm:200,mp=/data,backup=0,ro=1'}"},
		"bind": {"local:8", "config: {mp0: {host: /mnt/tank, mp: /data, shared: true}}",
			"local:8", "config: {mp0: '/mnt/tank,mp=/data,shared=1'}"},
		"features":      {"local:8", "config: {features: {nesting: true}}", "local:8", "config: {features: nesting=1}"},
		"startup":       {"local:8", "config: {startup: {order: 3, down: 60}}", "local:8", "config: {startup: '3,down=60'}"},
		"startup alone": {"local:8", "config: {startup: {order: 3}}", "local:8", "config: {startup: 3}"},
		"device":        {"local:8", "config: {dev0: {path: /dev/ttyUSB0, gid: 20}}", "local:8", "config: {dev0: '/dev/ttyUSB0,gid=20'}"},
		"tags":          {"local:8", "config: {tags: [b, a]}", "local:8", "config: {tags: 'B;a'}"},
		"nameserver":    {"local:8", "config: {nameserver: [10.0.0.1, 10.0.0.2]}", "local:8", "config: {nameserver: '10.0.0.1,10.0.0.2'}"},
		"memory":        {"local:8", "config: {memory: 2GiB, swap: 512M}", "local:8", "config: {memory: 2048, swap: '512'}"},
	} {
		t.Run(name, func(t *testing.T) {
			a, text := config(c.golden, c.asMap)
			b, _ := config(c.goldenText, c.asText)
			if diff := cmp.Diff(a, b, values, noPlace, cmpopts.IgnoreFields(Desired{}, "Hash"), cmpopts.IgnoreUnexported(Desired{})); diff != "" {
				t.Errorf("%s\n-map +string:\n%s", text, diff)
			}
			if a.Guests["a"].Canonical() != b.Guests["a"].Canonical() || a.Golden["g"].Canonical() != b.Golden["g"].Canonical() {
				t.Error("the canonical texts differ")
			}
		})
	}
}

// "" takes a value back to PVE's default, which is not the same as saying
// nothing.
func TestUnset(t *testing.T) {
	c := load(t, "guests: {a: {vmid: 111, config: {nameserver: '', cores: '', onboot: '', description: '', startup: ''}}}").Guests["a"].Config
	empty := ""
	want := Config{Values: map[string]string{"nameserver": "", "cores": "", "onboot": ""}, Description: &empty, Startup: proxmox.Startup{}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, text := range []string{"memory: ''", "swap: ''", "features: ''", "net0: ''"} {
		path := filepath.Join(t.TempDir(), "a.yaml")
		write(t, path, "guests: {a: {vmid: 111, config: {"+text+"}}}")
		if _, err := Load(path); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

// A rollback without a zone is no mistake of the file: the planner holds it.
func TestRollbackWithoutZone(t *testing.T) {
	r := load(t, "guests: {a: {vmid: 111, rollback: {to: before, requested: 2026-11-22 18:00}}}").Guests["a"].Rollback
	if r.Zoned || r.RequestedText != "2026-11-22 18:00" || r.Pos.Line != 1 {
		t.Errorf("got %+v", r)
	}
}

func TestPlaces(t *testing.T) {
	d := load(t, `x-lan: &lan
  bridge: vmbr0
guests:
  a:
    vmid: 111
    config:
      memory: 2G
      net0:
        <<: *lan
        ip: dhcp
      mp0:
        volume: local-lvm:vm-111-disk-1
        mp: /data
        backup: true
`)
	a := d.Guests["a"]
	for field, line := range map[string]int{
		"": 4, "vmid": 5, "config.memory": 7, "config.net0": 8, "config.net0.ip": 10, "config.net0.bridge": 2,
		"config.net0.gw": 8, "config.swap": 6, "state": 4, "config.mp0.mp": 13, "config.mp1": 6,
	} {
		if got := a.At(field); got != (Pos{"pve1.yaml", line}) {
			t.Errorf("%q is at %v, want line %d", field, got, line)
		}
	}
	if !a.Has("config.net0.bridge") || a.Has("config.net0.gw") || a.Has("state") {
		t.Error("Has is wrong")
	}
	if got := a.Config.Mounts[0].Pos.String(); got != "pve1.yaml:11" {
		t.Errorf("mp0 is at %s", got)
	}
}

// The canonical text knows neither order nor comments nor what the agent alone
// reads, and everything else.
func TestCanonical(t *testing.T) {
	text := func(lines string) string {
		return load(t, "guests:\n  a:\n    vmid: 111\n"+lines).Guests["a"].Canonical()
	}
	base := text("    config: {memory: 2G, tags: [a, b], net0: {bridge: vmbr0, ip: dhcp}}\n    state: running\n")
	for _, same := range []string{
		"    state: running # comment\n    config:\n      net0: {ip: dhcp, bridge: vmbr0}\n      tags: [b, a]\n      memory: 2048\n",
		"    config: {memory: 2G, tags: [a, b], net0: {bridge: vmbr0, ip: dhcp}}\n    state: running\n    restart: auto\n    drift: heal\n    paused: true\n    timeout: 1h\n    from: {newest: usb}\n",
	} {
		if got := text(same); got != base {
			t.Errorf("%s\ngot\n%swant\n%s", same, got, base)
		}
	}
	seen := map[string]string{base: "base"}
	for _, other := range []string{
		"    config: {memory: 2G, tags: [a, b], net0: {bridge: vmbr0, ip: dhcp}}\n",
		"    config: {memory: 3G, tags: [a, b], net0: {bridge: vmbr0, ip: dhcp}}\n    state: running\n",
		"    config: {memory: 2G, tags: [a], net0: {bridge: vmbr0, ip: dhcp}}\n    state: running\n",
		"    config: {memory: 2G, tags: [a, b], net0: {bridge: vmbr1, ip: dhcp}}\n    state: running\n",
		"    config: {memory: 2G, tags: [a, b], net1: {bridge: vmbr0, ip: dhcp}}\n    state: running\n",
		"    config: {memory: 2G, tags: [a, b], net0: {bridge: vmbr0, ip: dhcp}, mp0: 'local:8,mp=/a,backup=1'}\n    state: running\n",
		"    config: {memory: 2G, tags: [a, b], net0: {bridge: vmbr0, ip: dhcp}, mp0: 'local:8,mp=/a,backup=0'}\n    state: running\n",
		"    config: {memory: 2G, tags: [a, b], net0: {bridge: vmbr0, ip: dhcp}, startup: ''}\n    state: running\n",
		"    config: {memory: 2G, tags: [a, b], net0: {bridge: vmbr0, ip: dhcp}, description: ''}\n    state: running\n",
		"    config: {memory: 2G, tags: [a, b], net0: {bridge: vmbr0, ip: dhcp}}\n    state: running\n    rootfs: {size: 8G}\n",
	} {
		got := text(other)
		if before, twice := seen[got]; twice {
			t.Errorf("%s\nis the same as\n%s", other, before)
		}
		seen[got] = other
	}
}

// A host whose fence has other roots loads what lies there.
func TestRoots(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	write(t, path, "guests: {a: {vmid: 111, config: {mp0: {host: /tank/media, mp: /media}}}}")
	if _, err := Load(path); err == nil {
		t.Error("/tank was taken")
	}
	if _, err := (Loader{Roots: []string{"/mnt", "/tank/"}}).Load(path); err != nil {
		t.Error(err)
	}
}

func TestRefs(t *testing.T) {
	d := load(t, "backups: {b: {guests: all, storage: usb, every: 1d}}\nguests: {z: {vmid: 101}, y: {vmid: 102}}\n"+
		"mounts: {m: {uuid: 1234-ABCD, path: /mnt/m}}\n")
	var got []string
	for _, r := range d.Refs() {
		got = append(got, r.String())
		if back, err := ParseRef(r.String()); err != nil || back != r {
			t.Errorf("ParseRef(%v) = %v, %v", r, back, err)
		}
		if o := d.Object(r); o == nil || o.Ref != r {
			t.Errorf("Object(%v) = %v", r, o)
		}
	}
	if want := []string{"mounts/m", "guests/y", "guests/z", "backups/b"}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if d.Object(Ref{KindGuest, "x"}) != nil || d.Object(Ref{"vms", "z"}) != nil {
		t.Error("an object that is not declared")
	}
	for _, bad := range []string{"", "web", "guests/", "vms/web"} {
		if _, err := ParseRef(bad); err == nil {
			t.Errorf("ParseRef(%q) was taken", bad)
		}
	}
}
