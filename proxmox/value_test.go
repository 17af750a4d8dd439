package proxmox

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseVMID(t *testing.T) {
	for s, want := range map[string]VMID{"100": 100, "111": 111, "999999999": 999999999} {
		if v, err := ParseVMID(s); err != nil || v != want || v.String() != s {
			t.Errorf("ParseVMID(%q) = %v, %v", s, v, err)
		}
	}
	for _, s := range []string{"", "5", "99", "0100", "1000000000", "1e3", "-100", "100 ", "100\n", "１００"} {
		if v, err := ParseVMID(s); err == nil {
			t.Errorf("ParseVMID(%q) = %d, want an error", s, v)
		}
	}
}

func TestSize(t *testing.T) {
	for _, c := range []struct{ in, text, human string }{
		{"8G", "8G", "8 GiB"},
		{"200GiB", "200G", "200 GiB"},
		{"512MiB", "512M", "512 MiB"},
		{"2TiB", "2T", "2 TiB"},
		{"8192M", "8G", "8 GiB"},
		{"1.5G", "1536M", "1.5 GiB"},
		{"1048576K", "1G", "1 GiB"},
		{"0", "0T", "0 B"}, // PVE: format_size
		{"1500", "1500", "1.5 KiB"},
		{"1111303", "1111303", "1.1 MiB"},
		{"1023M", "1023M", "1023 MiB"},
		{"1073741823", "1073741823", "1 GiB"}, // rounds up to the next unit
		{"0.3K", "307", "307 B"},              // a part of a byte is cut off
	} {
		s, err := ParseSize(c.in)
		if err != nil || s.String() != c.text || s.Human() != c.human {
			t.Errorf("%q: %s, %s, %v; want %s, %s", c.in, s, s.Human(), err, c.text, c.human)
		}
	}
	if Size(-1536).Human() != "-1.5 KiB" || (3*GiB/2).MiB() != 1536 || Size(MiB-1).MiB() != 0 {
		t.Error("negative or MiB wrong")
	}
	for in, cure := range map[string]string{
		"": "8G", "8 G": "without a blank", "8GB": "GiB", "8g": "8G", "G": "8G", "-1G": "8G", "1e3": "8G",
		"99999999999T": "largest", "8G\n": "8G", "+1G": "8G",
	} {
		if s, err := ParseSize(in); err == nil || !strings.Contains(err.Error(), cure) {
			t.Errorf("ParseSize(%q) = %v, %v; want an error with %q", in, s, err, cure)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"8G", "1.5G", "0", "1048576K", "99999999999T", "8GB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		size, err := ParseSize(s)
		if err != nil {
			return
		}
		if again, err := ParseSize(size.String()); err != nil || again != size || size < 0 {
			t.Fatalf("%q is %d, prints %q, which is %d, %v", s, size, size, again, err)
		}
	})
}

func TestTags(t *testing.T) {
	for in, want := range map[string]string{
		"Zeta,alpha;BETA zeta": "alpha;beta;zeta", // PVE stores exactly this
		"":                     "",
		" ":                    "", // what an emptied tag list reads back as
		"b;a":                  "a;b",
	} {
		if got := FormatTags(ParseTags(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestChecks(t *testing.T) {
	for _, c := range []struct {
		what      string
		check     func(string) error
		good, bad []string
	}{
		{
			"snapshot name", CheckSnapshotName,
			[]string{"ab", "nc-before-32", "felhom_20261122", strings.Repeat("a", 40)},
			[]string{"", "a", "1ab", "1bad name", "current", "vzdump", "a.b", "ä", strings.Repeat("a", 41), "ab\n"},
		},
		{
			"hostname, assumed to be PVE's dns-name without a limit per label", CheckHostname,
			[]string{"web", "a", "1", "nc.home.example", "Web-1", strings.Repeat("a", 255)},
			[]string{"", "my_host", "-a", "a-", "a..b", ".a", "a.", "a b", "a\n", strings.Repeat("a", 256)},
		},
		{
			"tag", CheckTag,
			[]string{"shop", "a", "_x", "1.2+b-c"},
			[]string{"", "-a", "a b", "a;b", "ä", "a\n"},
		},
		{
			"storage, assumed to be as PVE's parse_storage_id", CheckStorageID,
			[]string{"local", "local-lvm", "usb.backup_2"},
			[]string{"", "a", "1ab", "a-", "a:b", "a b", "ab\n"},
		},
		{
			"MAC, assumed to need two hex digits per byte", CheckMAC,
			[]string{"BC:24:11:00:00:01", "bc:24:11:aa:bb:cc"},
			[]string{"", "BC:24:11:00:00", "BD:24:11:00:00:01", "BC-24-11-00-00-01", "BC:24:11:00:00:0G"},
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			for _, s := range c.good {
				if err := c.check(s); err != nil {
					t.Errorf("%q: %v", s, err)
				}
			}
			for _, s := range c.bad {
				if err := c.check(s); err == nil {
					t.Errorf("%q passes", s)
				}
			}
		})
	}
}

// canonical forms that a real node printed.
func TestPropertyStrings(t *testing.T) {
	parse := map[string]func(string) (string, error){
		"net":      func(s string) (string, error) { v, err := ParseNet(s); return v.String(), err },
		"mount":    func(s string) (string, error) { v, err := ParseMountPoint(s); return v.String(), err },
		"features": func(s string) (string, error) { v, err := ParseFeatures(s); return v.String(), err },
		"startup":  func(s string) (string, error) { v, err := ParseStartup(s); return v.String(), err },
		"device":   func(s string) (string, error) { v, err := ParseDevice(s); return v.String(), err },
	}
	for _, c := range []struct{ kind, in, want string }{
		{"net", "ip=dhcp,bridge=vmbr0,name=eth0,type=veth,hwaddr=BC:24:11:2F:BB:CB", "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:2F:BB:CB,ip=dhcp,type=veth"},
		{"net", "name=eth0,bridge=vmbr0,firewall=on,gw=10.0.0.1,ip=10.0.0.2/24", "name=eth0,bridge=vmbr0,firewall=1,gw=10.0.0.1,ip=10.0.0.2/24"},
		{"net", "name=eth0,trunks=1;2,shiny=new", "name=eth0,shiny=new,trunks=1;2"},
		{"mount", "backup=yes,mp=/data,volume=local-lvm:vm-111-disk-1,size=8192M", "local-lvm:vm-111-disk-1,mp=/data,backup=1,size=8G"},
		{"mount", "ctdir:100/vm-100-disk-0.raw,size=8G", "ctdir:100/vm-100-disk-0.raw,size=8G"},
		{"mount", "/mnt/usb/media/library,mp=/media,ro=1", "/mnt/usb/media/library,mp=/media,ro=1"},
		{"mount", "local:1,mp=/a,mountoptions=noatime;nodev", "local:1,mp=/a,mountoptions=noatime;nodev"},
		{"mount", "volume=/srv/a=b,mp=/a", "volume=/srv/a=b,mp=/a"},
		{"features", "nesting=true,keyctl=1,mount=nfs;cifs", "keyctl=1,mount=nfs;cifs,nesting=1"},
		{"startup", "3", "order=3"},
		{"startup", "up=30,order=2,down=5", "order=2,up=30,down=5"},
		{"device", "gid=104,path=/dev/dri/renderD128,deny-write=no", "/dev/dri/renderD128,deny-write=0,gid=104"},
		{"device", "/dev/ttyUSB0", "/dev/ttyUSB0"},
	} {
		got, err := parse[c.kind](c.in)
		if err != nil || got != c.want {
			t.Errorf("%s %q: %q, %v; want %q", c.kind, c.in, got, err, c.want)
		}
		if again, err := parse[c.kind](got); err != nil || again != got {
			t.Errorf("%s %q is not stable: %q, %v", c.kind, got, again, err)
		}
	}
	for _, c := range []struct{ kind, in, says string }{
		{"net", "eth0,bridge=vmbr0", "no key"},
		{"net", "name=eth0,name=eth1", "twice"},
		{"net", "name=eth0,firewall=maybe", "neither yes nor no"},
		{"net", "", "empty"},
		{"net", "name=", "lacks"},
		{"mount", "local:1,mp=/a,size=8GB", "GiB"},
		{"startup", "soon", "not a number"},
		{"startup", "order=1,left=2", "order, up and down"},
		{"device", "/dev/a,/dev/b", "twice"},
	} {
		if got, err := parse[c.kind](c.in); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %q: %q, %v; want an error with %q", c.kind, c.in, got, err, c.says)
		}
	}
}

func TestMountPoint(t *testing.T) {
	for _, c := range []struct {
		in     string
		kind   MountKind
		backup bool
		volume string
		path   string
		size   Size
	}{
		{"local-lvm:vm-111-disk-0,size=16G", VolumeMount, true, "local-lvm:vm-111-disk-0", "", 16 * GiB},
		{"local-lvm:vm-111-disk-1,mp=/data,size=1G", VolumeMount, false, "local-lvm:vm-111-disk-1", "/data", GiB},
		{"local-lvm:vm-111-disk-1,mp=/data,backup=1", VolumeMount, true, "local-lvm:vm-111-disk-1", "/data", 0},
		{"/mnt/usb/media,mp=/media,backup=1", BindMount, false, "/mnt/usb/media", "/media", 0},
		{"/dev/sdb1,mp=/x", DeviceMount, false, "/dev/sdb1", "/x", 0},
	} {
		m, err := ParseMountPoint(c.in)
		size, sized := m.Size()
		if err != nil || m.Kind() != c.kind || m.Backup() != c.backup || m.Volume() != c.volume || m.Path() != c.path || size != c.size || sized != (c.size != 0) {
			t.Errorf("%q: %v %v %q %q %v %v, %v", c.in, m.Kind(), m.Backup(), m.Volume(), m.Path(), size, sized, err)
		}
	}
	if got := NewVolume("local-lvm", 16*GiB); got != "local-lvm:16" {
		t.Error(got)
	}
	if got := NewVolume("local-lvm", 512*MiB); got != "local-lvm:0.5" {
		t.Error(got)
	}
	if s, err := ParseStartup("order=3,up=5"); err != nil {
		t.Error(err)
	} else if n, ok := s.Order(); n != 3 || !ok {
		t.Error(n, ok)
	}
	if _, ok := (Startup{"up": "5"}).Order(); ok {
		t.Error("an order where none is said")
	}
}

// FuzzPropertyStrings holds that what parses prints in a stable form that
// means the same, with every sub-key still there.
func FuzzPropertyStrings(f *testing.F) {
	for _, s := range []string{
		"name=eth0,bridge=vmbr0,ip=dhcp", "local-lvm:vm-1-disk-0,mp=/data,backup=1,size=8G", "keyctl=1,nesting=1",
		"order=3,up=30", "/dev/dri/renderD128,gid=104", "a,b", "=,=", "volume=x=y", "size=0.1K", "volume= ", ",,a=1", "path=a,b",
	} {
		f.Add(s)
	}
	kinds := []struct {
		g     grammar
		parse func(string) (map[string]string, error)
	}{
		{netGrammar, netGrammar.parse}, {mountGrammar, parseMount}, {featuresGrammar, featuresGrammar.parse}, {deviceGrammar, deviceGrammar.parse},
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, k := range kinds {
			m, err := k.parse(s)
			if err != nil {
				continue
			}
			printed := k.g.print(m)
			again, err := k.parse(printed)
			if err != nil || !maps.Equal(m, again) || k.g.print(again) != printed {
				t.Fatalf("%s: %q is %q, prints %q, which is %q, %v", k.g.what, s, m, printed, again, err)
			}
		}
	})
}

func TestVolumeID(t *testing.T) {
	for in, owner := range map[string]VMID{
		"local-lvm:vm-111-disk-1":                                      111,
		"tank:subvol-112-disk-0":                                       112,
		"local-lvm:base-9000-disk-0":                                   9000,
		"tank:basevol-9000-disk-0/subvol-113-disk-0":                   113,
		"local:111/vm-111-disk-0.raw":                                  111,
		"local:100/base-100-disk-0.raw/114/vm-114-disk-0.raw":          114,
		"usb-backup:backup/vzdump-lxc-111-2026_11_20-02_30_00.tar.zst": 111,
		"local:backup/vzdump-lxc-111-golden.tar.zst":                   111,
		"pbs:backup/ct/111/2026-11-20T01:30:00Z":                       111,
		"local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst":         0,
		"local:backup/golden.tar":                                      0,
		"local:iso/vm-1.iso":                                           0,
		"local-lvm:data":                                               0,
	} {
		v, err := ParseVolumeID(in)
		id, ok := v.Owner()
		if err != nil || id != owner || ok != (owner != 0) || v.String() != in {
			t.Errorf("%q: owner %d, %v, prints %q, %v", in, id, ok, v, err)
		}
	}
	for _, in := range []string{"", "local", "local:", ":x", "1a:x", "a:x", "local:x\ny", "/etc/passwd"} {
		if v, err := ParseVolumeID(in); err == nil {
			t.Errorf("%q passes as %v", in, v)
		}
	}
}

func TestParseArchive(t *testing.T) {
	budapest, err := time.LoadLocation("Europe/Budapest")
	if err != nil {
		t.Skip(err)
	}
	type facts struct {
		Type, Stamp, Format string
		VMID                VMID
		Began               string
	}
	for in, want := range map[string]facts{
		"usb:backup/vzdump-lxc-111-2026_11_20-02_30_00.tar.zst": {"lxc", "2026_11_20-02_30_00", "tar.zst", 111, "2026-11-20T01:30:00Z"},
		"usb:backup/vzdump-lxc-120-2026_07_01-00_00_00.tgz":     {"lxc", "2026_07_01-00_00_00", "tgz", 120, "2026-06-30T22:00:00Z"},
		"usb:backup/vzdump-lxc-111-2026_11_20-02_30_00.tar":     {"lxc", "2026_11_20-02_30_00", "tar", 111, "2026-11-20T01:30:00Z"},
		"pbs:backup/ct/111/2026-11-20T01:30:00Z":                {"lxc", "2026-11-20T01:30:00Z", "pbs-ct", 111, "2026-11-20T01:30:00Z"},
		"local:backup/vzdump-lxc-111-golden.tar.zst":            {"lxc", "", "tar.zst", 111, ""},
		"local:backup/golden.tar":                               {"", "", "tar", 0, ""},
		"local:backup/vzdump-openvz-111-old.tgz":                {"lxc", "", "tgz", 111, ""},
	} {
		a, ok := ParseArchive(in)
		got := facts{a.Type, a.Stamp, a.Format, a.VMID, ""}
		if began, ok := a.Began(budapest); ok {
			got.Began = began.UTC().Format(time.RFC3339)
		}
		if !ok || a.String() != in {
			t.Errorf("%q: %v, %q", in, ok, a)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q:\n%s", in, diff)
		}
	}
	for _, in := range []string{
		"local:vztmpl/debian.tar.zst", "usb:backup/vzdump-lxc-111-2026_11_20-02_30_00.log", "local-lvm:vm-111-disk-0",
		"pbs:backup/xx/111/2026-11-20T01:30:00Z", "", "usb:backup/a/b.tar",
	} {
		if a, ok := ParseArchive(in); ok {
			t.Errorf("%q passes as %+v", in, a)
		}
	}
}

// Nothing about virtual machines was recorded.
func TestArchivesOfVirtualMachinesAreAssumedToBeVMA(t *testing.T) {
	a, ok := ParseArchive("usb:backup/vzdump-qemu-120-2026_07_01-00_00_00.vma.zst")
	if !ok || a.Type != "qemu" || a.VMID != 120 || a.Format != "vma.zst" || a.Stamp != "2026_07_01-00_00_00" {
		t.Errorf("%+v, %v", a, ok)
	}
	if b, ok := ParseArchive("pbs:backup/vm/120/2026-11-20T01:30:00Z"); !ok || b.Type != "qemu" || b.VMID != 120 {
		t.Errorf("%+v, %v", b, ok)
	}
}

func TestCanonicalDescription(t *testing.T) {
	for in, want := range map[string]string{"x\n": "x", "x\n\ny\n\n": "x\n\ny", "": "", "\n": "", "x": "x"} {
		if got := CanonicalDescription(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestParseUPID(t *testing.T) {
	good := []string{
		"UPID:demo-felhom:00000767:00012584:6B03308F:vzdump:999:felhom@pve!agent:",
		"UPID:demo-felhom:000008EF:0000FB07:6B0332CA:vzdump::felhom@pve!agent:",
		"UPID:pve:0000305D:123456789:6B032AB1:imgdel:800@local:root@pam:",
		"UPID:pve:0000305D:0003C207:6B032AB1:move_volume:100>101:root@pam:",
	}
	for _, s := range good {
		u, err := ParseUPID(s)
		if err != nil || u.String() != s || u.IsZero() {
			t.Errorf("%q prints %q, %v", s, u, err)
		}
	}
	u, _ := ParseUPID(good[0])
	want := UPID{"demo-felhom", 0x767, 0x12584, 0x6B03308F, "vzdump", "999", "felhom@pve!agent"}
	if u != want || !u.Start().Equal(time.Unix(1795371151, 0)) {
		t.Errorf("%+v started %v", u, u.Start())
	}
	bad := []string{
		"", "OK", "UPID:", strings.TrimSuffix(good[0], ":"), good[0] + "x", good[0] + ":", " " + good[0], good[0] + "\n",
		"UPID:-a:00000767:00012584:6B03308F:vzdump:999:root@pam:", "UPID:pve:767:00012584:6B03308F:vzdump:999:root@pam:",
		"UPID:pve:00000767:0012584:6B03308F:vzdump:999:root@pam:", "UPID:pve:00000767:012345678:6B03308F:vzdump:999:root@pam:",
		"UPID:pve:00000767:00012584:6B03308F::999:root@pam:", "UPID:pve:00000767:00012584:6B03308F:vzdump:999::",
		"UPID:pve:00000767:00012584:6B03308F:vz dump:999:root@pam:", "UPID:pve:00000767:00012584:6B03308F:../x:999:root@pam:",
	}
	for _, s := range bad {
		if u, err := ParseUPID(s); err == nil {
			t.Errorf("%q passes as %+v", s, u)
		}
	}
	var none UPID
	if text, err := none.MarshalText(); err != nil || len(text) != 0 || none.String() != "" || !none.IsZero() {
		t.Errorf("zero UPID is %q, %v", text, err)
	}
	for _, s := range append(good, "") {
		var back UPID
		if err := back.UnmarshalText([]byte(s)); err != nil || back.String() != s {
			t.Errorf("%q comes back as %q, %v", s, back, err)
		}
	}
	if err := none.UnmarshalText([]byte("x")); err == nil || !none.IsZero() {
		t.Error("garbage unmarshals")
	}
}

func FuzzParseUPID(f *testing.F) {
	f.Add("UPID:demo-felhom:00000767:00012584:6B03308F:vzdump:999:felhom@pve!agent:")
	f.Add("UPID:pve:0000305D:123456789:6b032ab1:imgdel:800@local:root@pam:")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseUPID(s)
		if err != nil {
			return
		}
		if again, err := ParseUPID(u.String()); err != nil || again != u {
			t.Fatalf("%q is %+v, again %+v, %v", s, u, again, err)
		}
		if !strings.EqualFold(u.String(), s) {
			t.Fatalf("%q prints %q", s, u)
		}
	})
}

func TestNumberedKeysOnly(t *testing.T) {
	c := GuestConfig{Raw: map[string]string{
		"net0": "name=eth0", "net10": "name=eth1", "network": "x", "net01": "name=odd", "mp0": "local:1,mp=/a", "mpx": "y", "unused3": "local:v",
		"net2": "eth0,eth0,firewall=perhaps",
	}}
	if got := slices.Sorted(maps.Keys(c.Nets())); !slices.Equal(got, []int{0, 2, 10}) {
		t.Errorf("nets %v: one that is written oddly must not go missing", got)
	}
	if got := c.Unused(); len(got) != 1 || got[3] != "local:v" {
		t.Error(got)
	}
	if got := slices.Sorted(maps.Keys(c.Extra())); !slices.Equal(got, []string{"mpx", "net01", "network"}) {
		t.Error(got)
	}
}
