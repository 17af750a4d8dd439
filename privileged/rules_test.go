package privileged

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func goldenSpec() GoldenSpec {
	return GoldenSpec{
		VMID: 9000, Object: "debian", Owner: "home", Template: "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", Storage: "local-lvm", SizeGiB: 8, Hostname: "debian",
		Description: "# Debian\nfor copies: 100 %, naïve\n<!-- felhom-agent/1 debian vmid=9000 owner=home born=2026-11-22T18:00:00Z revision=1 digest=ab12 -->",
		Features:    map[string]string{"nesting": "1", "keyctl": "1", "fuse": "1", "mknod": "0", "force_rw_sys": "0", "mount": "nfs;cifs"},
		Nets: map[int]map[string]string{
			0: {"bridge": "vmbr0", "ip": "10.0.10.11/24", "gw": "10.0.10.1", "hwaddr": "BE:24:11:9E:41:07", "firewall": "1", "tag": "20", "type": "veth", "mtu": "1500", "link_down": "0", "host-managed": "0", "rate": "12.5", "trunks": "3;4"},
			1: {"name": "lan1", "bridge": "vmbr1", "ip6": "auto", "gw6": "fe80::1"},
		},
		Volumes: map[int]VolumeSpec{0: {Storage: "local-lvm", SizeGiB: 200, Target: "/data", Options: map[string]string{"backup": "1", "ro": "0", "acl": "1", "quota": "0", "replicate": "0", "mountoptions": "noatime;discard"}}},
		Config: map[string]string{"cores": "2", "memory": "1024", "swap": "0", "cpulimit": "1.5", "cpuunits": "100", "nameserver": "10.0.10.1 fd00::1", "searchdomain": "home.example lan",
			"timezone": "Europe/Budapest", "onboot": "1", "protection": "0", "debug": "0", "entrypoint": "/sbin/init splash", "startup": "order=3,up=30", "tags": "a;b-c", "tty": "2", "console": "1", "cmode": "tty", "arch": "amd64", "ostype": "debian"},
	}
}

func wholeKit() Op {
	op, err := KeepKit(testNode, KitSpec{Name: "backup", Path: usb.Path, Mounted: true, Time: time.Date(2026, 11, 22, 18, 5, 0, 0, time.UTC),
		Files: map[string][]byte{"README.txt": []byte("a kit"), "desired/home.yaml": []byte("guests: {}")}})
	if err != nil {
		panic(err)
	}
	return op
}

// wholeOps are operations with every argument that there is.
func wholeOps() map[string]Op {
	return map[string]Op{
		"CreateGoldenLXC": CreateGoldenLXC(testNode, goldenSpec()),
		"SealGolden":      SealGolden(testNode, SealSpec{VMID: 201, Object: "web", Owner: "home"}),
		"MountUSBByUUID":  MountUSBByUUID(testNode, usb),
		"UnmountUSB":      UnmountUSB(testNode, UnmountSpec{Name: "backup", UUID: usb.UUID, Path: usb.Path, DropFstab: true}),
		"BindMount": BindMount(testNode, BindSpec{VMID: 201, Object: "web", Owner: "home", Index: 2, Source: "/mnt/usb/media/library", Mount: "/mnt/usb/media", Target: "/media", ReadOnly: true,
			Options: map[string]string{"acl": "1", "backup": "0", "quota": "0", "replicate": "0", "shared": "1", "keepattrs": "0", "idmap": "u:0:100000:65536;g:0:100000:65536", "mountoptions": "nosuid;nodev"}}),
		"Unbind":       Unbind(testNode, UnbindSpec{VMID: 201, Object: "web", Owner: "home", Index: 1, Source: "/mnt/usb/media/library"}),
		"PassDevice":   PassDevice(testNode, DeviceSpec{VMID: 201, Object: "web", Owner: "home", Index: 1, Path: "/dev/ttyUSB0", Mode: "0660", UID: 1000, GID: 20, DenyWrite: true}),
		"KeepKit":      wholeKit(),
		"KeepTemplate": KeepTemplate(testNode, TemplateSpec{Name: "backup", Path: usb.Path, Mounted: true, Template: "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", SHA512: strings.Repeat("0a", 64)}),
		"RemoveDevice": RemoveDevice(testNode, RemoveDeviceSpec{VMID: 201, Object: "web", Owner: "home", Index: 0, Path: "/dev/net/tun"}),
	}
}

// Every operation of the table has a whole example, and the example passes every check of every argument: so the hostile values below are what is refused.
func TestEveryArgumentHasAnExample(t *testing.T) {
	ops := wholeOps()
	queries := map[string][]string{"GuestMounts": {"vmid"}, "GuestMemory": {"vmid"}, "MayProbe": {"vmid"}, "Probe": {"vmid", "what", "name", "port", "url", "file", "hash"}, "SyncMount": {"path"}, "CheckArchive": {"path", "file"}, "FolderInfo": {"path", "folder"}, "SMART": {"device"}, "Mounts": nil, "Disks": nil, "Running": nil, "Sensors": nil}
	box := newBox(t)
	for name, r := range rules {
		if r.look != nil {
			if len(r.may) != len(queries[name]) {
				t.Errorf("%s: arguments %v are not covered", name, sortedKeys(r.may))
			}
			continue
		}
		op, ok := ops[name]
		if !ok {
			t.Errorf("%s has no example", name)
			continue
		}
		if _, err := admit(box.Host, true, op.Node, op.Name, op.Args); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		covered := map[string]bool{}
		for key := range op.Args {
			covered[pattern(key)] = true
		}
		for key := range r.may {
			if !covered[key] && key != "uid" {
				t.Errorf("%s: %s has no example", name, key)
			}
		}
		for _, key := range r.need {
			without := map[string]string{}
			for k, v := range op.Args {
				if k != key {
					without[k] = v
				}
			}
			var refused *RefusedError
			if _, err := admit(box.Host, true, op.Node, op.Name, without); !errors.As(err, &refused) || refused.Arg != key {
				t.Errorf("%s without %s: %v", name, key, err)
			}
		}
	}
	for _, r := range Routes() {
		if r.Why == "" || rules[r.Operation].why != r.Why {
			t.Errorf("route %+v", r)
		}
	}
	if len(Routes()) != len(rules) {
		t.Errorf("%d routes for %d rules", len(Routes()), len(rules))
	}
}

// hostile are values that no argument takes.
var hostile = []string{
	"", " ", "\n", "\x00", "-", "--", "-rf", "--force", "-mp0", "1\n", "x\ny", "x\x00y", "x\ry", "x\x1b[2Jy", "\xff\xfe", strings.Repeat("9", 9000), strings.Repeat("a", 9000),
	"a,b=c", "1,mp=/etc", "a,", "=", "x=y", ",ro=0", "/mnt/a,mp=/etc", "/mnt/a=b", "$(id)", "`id`", "; id", "a b;c", "a|b", "'x'", `"x"`, `a\b`,
	"..", "../..", "/mnt/../etc", "/mnt/./x", "/mnt//x", "/mnt/usb/", "mnt/x/../../etc", "/", "//", "/mnt/-x", "/mnt/ x", "/mnt/x ", "/mnt/x\n0 0\n/dev/sda1",
	"/dev/../etc/passwd", "/dev/sda1,mode=0777", "%s%n", "０", "１０１", "100.0", "+101", "0101", "0x65", "1e3", " 101", "101 ", "99", "1000000000", "-1", "99999999999999999999",
	"yes", "true", "on", "01", "suid", "rw,suid", "noatime,exec=/x", "loop", "bind,rw", "user", "ext4\text4", "zfs", "fuse.sshfs", "auto", "dm-crypt",
	"local:iso/x.iso", "local:vztmpl/../../etc/x.tar.gz", "/var/lib/vz/template/cache/x.tar.gz", "http://example.org/x.tar.gz", "local:backup/vzdump-lxc-201.tar.zst", "lxc.apparmor.profile=unconfined",
	"root:100000:65536", "0666;x", "00660", "888", "UUID=1234", "LABEL=x", "1234 / ext4", "6f1e2a30 0 0",
}

func TestHostileValues(t *testing.T) {
	// What some arguments rightly take of the list.
	words := []string{"yes", "true", "on", "01", "99", "888", "0101", "00660", "1000000000", "99999999999999999999", "auto", "suid", "loop", "user", "zfs", "1e3", "0x65", "dm-crypt", "fuse.sshfs", "100.0"}
	decimals := []string{"01", "99", "888", "0101", "00660", "100.0"}
	small := []string{"99", "888"}
	large := append(small, "1000000000")
	targets := []string{"/var/lib/vz/template/cache/x.tar.gz"}
	fine := map[string][]string{
		"object": words, "owner": words, "name": words, "hostname": words, "storage": words, "mp#.storage": words, "net#.name": words, "net#.bridge": words,
		"config.tags": append(words, "0666;x"), "config.timezone": words, "features.mount": words, "config.searchdomain": append(words, "6f1e2a30 0 0"),
		"config.cpulimit": decimals, "net#.rate": decimals, "config.startup": append(decimals, "1000000000"),
		"size": small, "mp#.size": small, "config.cpuunits": small, "config.cores": small, "net#.mtu": small, "net#.tag": small, "net#.trunks": small, "vmid": small, "index": small,
		"config.memory": large, "config.swap": large, "uid": large, "gid": large, "mode": {"0101"}, "net#.ip6": {"auto"},
		"uuid": {"0101", "00660", "888", "1000000000", "99999999999999999999"}, "mp": targets, "mp#.mp": targets,
	}
	refusals := 0
	for name, op := range wholeOps() {
		box := newBox(t)
		before := box.world()
		for key, good := range op.Args {
			if key == "description" || key == "config.entrypoint" { // any text is one; the next test and the world look at them
				continue
			}
			for _, bad := range hostile {
				if bad == good || slices.Contains(fine[pattern(key)], bad) && rules[name].may[pattern(key)](bad) == "" {
					continue
				}
				op.Args[key] = bad
				_, err := box.do(op)
				var refused *RefusedError
				if !errors.As(err, &refused) || refused.Arg != key || refused.Reason == "" {
					t.Errorf("%s %s=%q: %v", name, key, clip(bad, 60), err)
				}
				if err != nil && strings.ContainsAny(err.Error(), "\n\x00\x1b") {
					t.Errorf("%s %s=%q: the error is not one clean line: %q", name, key, clip(bad, 60), err)
				}
				refusals++
			}
			op.Args[key] = good
		}
		for _, key := range []string{"shell", "argv", "", "-x", "config.hookscript", "config.lock", "config.template", "config.unprivileged", "config.description", "features.", "net32.bridge", "net00.bridge", "net#.bridge", "mp256.mp",
			"mp0", "net0", "option.size", "option.volume", "config.lxc.apparmor.profile", "rootfs", "privileged", "config.features", "config.mp1", "vmid\n"} {
			op.Args[key] = "1"
			var refused *RefusedError
			if _, err := box.do(op); !errors.As(err, &refused) {
				t.Errorf("%s with %q: %v", name, key, err)
			}
			delete(op.Args, key)
			refusals++
		}
		if calls := box.calls(); calls != "" {
			t.Errorf("%s: something ran: %s", name, calls)
		}
		if after := box.world(); after != before {
			t.Errorf("%s: something was changed", name)
		}
	}
	for _, bad := range []string{"", "-c id", "a\nb", "a\x00", "a\tb", " a", "\xff", strings.Repeat("ü", 8193)} {
		op := wholeOps()["CreateGoldenLXC"]
		op.Args["config.entrypoint"] = bad
		if _, err := admit(newBox(t).Host, true, op.Node, op.Name, op.Args); err == nil {
			t.Errorf("entrypoint %q", clip(bad, 20))
		}
		op = wholeOps()["CreateGoldenLXC"]
		op.Args["description"] = bad + "\r"
		if _, err := admit(newBox(t).Host, true, op.Node, op.Name, op.Args); err == nil {
			t.Errorf("description %q", clip(bad, 20))
		}
	}
	t.Logf("%d hostile requests refused", refusals)
}

// The argv that each operation becomes.
func TestWhatIsRun(t *testing.T) {
	box := newBox(t)
	char := box.charDevice("/dev/ttyUSB0")
	for _, c := range []struct {
		op   Op
		want string
	}{
		{CreateGoldenLXC(testNode, goldenSpec()), "/usr/sbin/pct create 9000 local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst --hostname debian --rootfs local-lvm:8 --unprivileged 1" +
			" --features force_rw_sys=0,fuse=1,keyctl=1,mknod=0,mount=nfs;cifs,nesting=1" +
			" --net0 name=eth0,bridge=vmbr0,firewall=1,gw=10.0.10.1,host-managed=0,hwaddr=BE:24:11:9E:41:07,ip=10.0.10.11/24,link_down=0,mtu=1500,rate=12.5,tag=20,trunks=3;4,type=veth" +
			" --mp0 local-lvm:200,mp=/data,acl=1,backup=1,mountoptions=noatime;discard,quota=0,replicate=0,ro=0 --net1 name=lan1,bridge=vmbr1,gw6=fe80::1,ip6=auto" +
			" --arch amd64 --cmode tty --console 1 --cores 2 --cpulimit 1.5 --cpuunits 100 --debug 0 --entrypoint /sbin/init splash --memory 1024 --nameserver 10.0.10.1 fd00::1 --onboot 1 --ostype debian --protection 0" +
			" --searchdomain home.example lan --startup order=3,up=30 --swap 0 --tags a;b-c --timezone Europe/Budapest --tty 2 --description=" + goldenSpec().Description},
		{wholeOps()["BindMount"], "/usr/sbin/pct set 201 --mp2 /mnt/usb/media/library,mp=/media,acl=1,backup=0,idmap=u:0:100000:65536;g:0:100000:65536,keepattrs=0,mountoptions=nosuid;nodev,quota=0,replicate=0,ro=1,shared=1"},
		{wholeOps()["Unbind"], "/usr/sbin/pct set 201 --delete mp1"},
		{wholeOps()["RemoveDevice"], "/usr/sbin/pct set 201 --delete dev0"},
		{Unbind(testNode, UnbindSpec{VMID: 201, Object: "web", Owner: "home", Index: 7, Source: "/mnt/x"}), ""},
		{wholeOps()["PassDevice"], "/usr/sbin/pct set 201 --dev1 /dev/ttyUSB0,deny-write=1,gid=20,mode=0660,uid=1000"},
	} {
		if c.op.Name == "PassDevice" && !char {
			t.Log("a character device cannot be made here")
			continue
		}
		os.Remove(box.root + "/calls")
		if _, err := box.do(c.op); err != nil {
			t.Errorf("%s: %v", c.op, err)
		}
		if got := box.calls(); got != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.op.Name, got, c.want)
		}
	}
}

// What a request may not do although each of its arguments is well formed.
func TestRefusedByTheWorld(t *testing.T) {
	box := newBox(t)
	box.write("/mnt/other/file", "", 0o644)
	box.write("/dev/dri/card0", "", 0o644)
	if err := os.Symlink("/etc", box.root+"/mnt/link"); err != nil {
		t.Fatal(err)
	}
	box.write("/etc/pve/.vmlist", `{"version":7,"ids":{"301":{"node":"pve2","type":"qemu","version":3}}}`, 0o440)
	box.write("/etc/pve/nodes/"+testNode+"/qemu-server/302.conf", "cores: 1\n", 0o640)
	for vmid, description := range map[string]string{
		"203": testMarker, // a clone bears the old number
		"204": strings.Replace(testMarker, "201", "204", 1) + "\n" + strings.Replace(testMarker, "201", "204", 1),
		"205": strings.Replace(strings.Replace(testMarker, "201", "205", 1), "home", "other", 1),
		"206": "felhom-agent/1 web vmid=206 owner=home born=2026-11-22T18:00:00Z", // not the comment that we write
	} {
		box.write("/etc/pve/nodes/"+testNode+"/lxc/"+vmid+".conf", conf(description), 0o640)
	}
	// A marker in a snapshot's section or in a value is none.
	box.write("/etc/pve/nodes/"+testNode+"/lxc/207.conf", "arch: amd64\nhostname: "+strings.Replace(testMarker, "201", "207", 1)+"\n[old]\n"+conf(strings.Replace(testMarker, "201", "207", 1)), 0o640)

	bind := func(change func(*BindSpec)) Op {
		b := BindSpec{VMID: 201, Object: "web", Owner: "home", Index: 3, Source: "/mnt/usb/media/library", Target: "/media"}
		change(&b)
		return BindMount(testNode, b)
	}
	device := func(path string) Op {
		return PassDevice(testNode, DeviceSpec{VMID: 201, Object: "web", Owner: "home", Index: 3, Path: path})
	}
	create := func(change func(*GoldenSpec)) Op {
		g := goldenSpec()
		change(&g)
		return CreateGoldenLXC(testNode, g)
	}
	mount := func(change func(*MountSpec)) Op {
		m := usb
		change(&m)
		return MountUSBByUUID(testNode, m)
	}
	before := box.world()
	for name, c := range map[string]struct {
		op   Op
		arg  string
		says string
	}{
		"no such guest":        {bind(func(b *BindSpec) { b.VMID = 999 }), "vmid", "no such container"},
		"a foreign guest":      {bind(func(b *BindSpec) { b.VMID = 202 }), "vmid", "its ownership marker is missing"},
		"a clone":              {bind(func(b *BindSpec) { b.VMID = 203 }), "vmid", "its ownership marker names web as 201"},
		"two markers":          {bind(func(b *BindSpec) { b.VMID = 204 }), "vmid", "more than one"},
		"another owner":        {bind(func(b *BindSpec) { b.VMID = 205 }), "vmid", "of other"},
		"a bare marker":        {bind(func(b *BindSpec) { b.VMID = 206 }), "vmid", "cannot be read"},
		"a marker elsewhere":   {bind(func(b *BindSpec) { b.VMID = 207 }), "vmid", "its ownership marker is missing"},
		"another object":       {bind(func(b *BindSpec) { b.Object = "mail" }), "vmid", "not mail of home"},
		"a volume":             {bind(func(b *BindSpec) { b.Index = 0 }), "index", "is a volume (local-lvm:vm-201-disk-1)"},
		"no such directory":    {bind(func(b *BindSpec) { b.Source = "/mnt/missing" }), "source", "no such directory"},
		"a file":               {bind(func(b *BindSpec) { b.Source = "/mnt/other/file" }), "source", "is not a directory"},
		"a symbolic link":      {bind(func(b *BindSpec) { b.Source = "/mnt/link" }), "source", "symbolic link"},
		"through a link":       {bind(func(b *BindSpec) { b.Source = "/mnt/link/pve" }), "source", "symbolic link"},
		"the root itself":      {bind(func(b *BindSpec) { b.Source = "/mnt" }), "source", "does not lie below"},
		"outside the roots":    {bind(func(b *BindSpec) { b.Source = "/srv/x" }), "source", "does not lie below"},
		"beside a root":        {bind(func(b *BindSpec) { b.Source = "/mntx/x" }), "source", "does not lie below"},
		"the system":           {bind(func(b *BindSpec) { b.Source = "/etc/pve" }), "source", "directory of the system"},
		"the absent disk":      {bind(func(b *BindSpec) { b.Source, b.Mount = "/mnt/other", "/mnt/usb/backup" }), "source", "does not lie below /mnt/usb/backup"},
		"nothing mounted":      {bind(func(b *BindSpec) { b.Source, b.Mount = "/mnt/usb/media/library", "/mnt/usb" }), "mount", "nothing is mounted"},
		"the disk's root":      {bind(func(b *BindSpec) { b.Source, b.Mount = "/mnt/usb/media", "/mnt/usb/media" }), "source", "does not lie below"},
		"unbind a volume":      {Unbind(testNode, UnbindSpec{VMID: 201, Object: "web", Owner: "home", Index: 0, Source: "/mnt/x"}), "index", "is a volume"},
		"unbind another":       {Unbind(testNode, UnbindSpec{VMID: 201, Object: "web", Owner: "home", Index: 1, Source: "/mnt/x"}), "source", "binds /mnt/usb/media/library"},
		"a disk as a device":   {device("/dev/sda"), "path", "does not pass"},
		"memory as a device":   {device("/dev/mem"), "path", "does not pass"},
		"deeper than allowed":  {device("/dev/dri/by-path/x"), "path", "does not pass"},
		"a missing device":     {device("/dev/ttyUSB7"), "path", "no such device"},
		"a file as a device":   {device("/dev/dri/card0"), "path", "is not a character device"},
		"remove another":       {RemoveDevice(testNode, RemoveDeviceSpec{VMID: 201, Object: "web", Owner: "home", Index: 0, Path: "/dev/dri/card0"}), "path", "is /dev/net/tun"},
		"create over a guest":  {create(func(g *GoldenSpec) { g.VMID = 201; g.Description = strings.Replace(g.Description, "9000", "201", 1) }), "vmid", "exists"},
		"create over a VM":     {create(func(g *GoldenSpec) { g.VMID = 302; g.Description = strings.Replace(g.Description, "9000", "302", 1) }), "vmid", "exists"},
		"create elsewhere":     {create(func(g *GoldenSpec) { g.VMID = 301; g.Description = strings.Replace(g.Description, "9000", "301", 1) }), "vmid", "exists on pve2"},
		"create unmarked":      {create(func(g *GoldenSpec) { g.Description = "x" }), "description", "would have no ownership marker"},
		"create as another":    {create(func(g *GoldenSpec) { g.Object = "alpine" }), "description", "would have no ownership marker"},
		"half a volume":        {create(func(g *GoldenSpec) { g.Volumes = map[int]VolumeSpec{3: {Storage: "local-lvm"}} }), "mp3.size", "from 1 to"},
		"a missing disk":       {mount(func(m *MountSpec) { m.UUID = "0b7c9d52-1f0e-4a86-8a55-3f7e64a0d2c7" }), "uuid", "no connected disk"},
		"the root disk":        {mount(func(m *MountSpec) { m.UUID = "99990000-58b1-4c57-9a0e-0d6f3f2a1c11" }), "uuid", "is mounted at /"},
		"a UUID in capitals":   {mount(func(m *MountSpec) { m.UUID = strings.ToUpper(m.UUID) }), "uuid", "the UUID of /dev/sdb1 is"},
		"another file system":  {mount(func(m *MountSpec) { m.FSType = "vfat" }), "fstype", "holds ext4"},
		"over another disk":    {mount(func(m *MountSpec) { m.Path = "/mnt/usb/media" }), "path", "another file system is mounted there"},
		"her line":             {mount(func(m *MountSpec) { m.Path = "/mnt/my films" }), "path", "belongs to another line"},
		"mount in the system":  {mount(func(m *MountSpec) { m.Path = "/var/lib/vz" }), "path", "directory of the system"},
		"mount on the root":    {mount(func(m *MountSpec) { m.Path = "/mnt" }), "path", "does not lie below"},
		"unmount another disk": {UnmountUSB(testNode, UnmountSpec{Name: "media", UUID: usb.UUID, Path: "/mnt/usb/media"}), "uuid", "is what is mounted"},
		"unmount the system":   {UnmountUSB(testNode, UnmountSpec{Name: "x", Path: "/boot/efi", DropFstab: true}), "path", "directory of the system"},
	} {
		_, err := box.do(c.op)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Arg != c.arg || !strings.Contains(refused.Reason, c.says) {
			t.Errorf("%s: %v; want %s: %s", name, err, c.arg, c.says)
		}
	}
	if calls := box.calls(); calls != "" {
		t.Errorf("something ran: %s", calls)
	}
	if after := box.world(); after != before {
		t.Errorf("something was changed:\n%s\nbefore\n%s", after, before)
	}
}

func (b testBox) charDevice(name string) bool {
	b.t.Helper()
	if err := mknodChar(b.root + name); err != nil {
		return false
	}
	return true
}

func FuzzDecodeRequest(f *testing.F) {
	for _, op := range wholeOps() {
		data, err := json.Marshal(request{Format: format, Timeout: 1000, Op: &op})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
		f.Add(append(data, data...))
	}
	f.Add([]byte(`{"format":1,"timeout_ms":1,"query":{"node":"pve1","name":"Mounts","args":null}}`))
	f.Add([]byte(`{"format":1,"timeout_ms":1,"Format":1,"query":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRequest(data)
		if err != nil {
			if !errors.As(err, new(*RefusedError)) {
				t.Errorf("%T: %v", err, err)
			}
			return
		}
		if r.Format != format || (r.Op == nil) == (r.Query == nil) || r.Timeout <= 0 {
			t.Errorf("let through: %+v", r)
		}
		if r.Op != nil {
			_ = r.Op.String()
			if strings.Contains(r.Op.Queue(), "..") && objectName(r.Op.Args["name"]) == "" && vmid(r.Op.Args["vmid"]) == "" {
				t.Errorf("queue %q", r.Op.Queue())
			}
		}
		// What is let through says the same when it is said again.
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeRequest(again); err != nil && len(again) <= maxRequest {
			t.Errorf("not again: %v\n%s", err, again)
		}
	})
}
