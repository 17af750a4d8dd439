package proxmox

import (
	"math/big"
	"strings"
	"testing"

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
	for in, fix := range map[string]string{
		"": "8G", "8 G": "without a space", "8GB": "GiB", "8g": "8G", "G": "8G", "-1G": "8G", "1e3": "8G",
		"99999999999T": "largest", "8G\n": "8G", "+1G": "8G",
	} {
		if s, err := ParseSize(in); err == nil || !strings.Contains(err.Error(), fix) {
			t.Errorf("ParseSize(%q) = %v, %v; want an error with %q", in, s, err, fix)
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

// The folder of a directory storage is assumed to name the owner, whatever the
// file is called.
func TestFolderIsAssumedToNameTheOwner(t *testing.T) {
	for in, owner := range map[string]VMID{"local:111/data.raw": 111, "local:112/vm-111-disk-0.raw": 112} {
		if id, _ := (VolumeID{"local", in[len("local:"):]}).Owner(); id != owner {
			t.Errorf("%q: owner %d", in, id)
		}
	}
}

func TestParseArchive(t *testing.T) {
	type facts struct {
		Type, Stamp, Format string
		VMID                VMID
	}
	for in, want := range map[string]facts{
		"usb:backup/vzdump-lxc-111-2026_11_20-02_30_00.tar.zst": {"lxc", "2026_11_20-02_30_00", "tar.zst", 111},
		"usb:backup/vzdump-lxc-120-2026_07_01-00_00_00.tgz":     {"lxc", "2026_07_01-00_00_00", "tgz", 120},
		"usb:backup/vzdump-lxc-111-2026_11_20-02_30_00.tar":     {"lxc", "2026_11_20-02_30_00", "tar", 111},
		"usb:backup/vzdump-lxc-111-2026_10_25-02_30_00.tar":     {"lxc", "2026_10_25-02_30_00", "tar", 111},
		"pbs:backup/ct/111/2026-11-20T01:30:00Z":                {"lxc", "2026-11-20T01:30:00Z", "pbs-ct", 111},
		"local:backup/vzdump-lxc-111-golden.tar.zst":            {"lxc", "", "tar.zst", 111},
		"local:backup/golden.tar":                               {"", "", "tar", 0},
		"local:backup/vzdump-openvz-111-old.tgz":                {"lxc", "", "tgz", 111},
	} {
		a, ok := ParseArchive(in)
		got := facts{a.Type, a.Stamp, a.Format, a.VMID}
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

// TestParseSizeOfWholeNumbers: the short way gives what the exact arithmetic gives.
func TestParseSizeOfWholeNumbers(t *testing.T) {
	for _, text := range []string{"", "0", "007", "8G", "8GK", "G", "8g", "8GiB", "-1G", "1 G", "9223372036854775807", "9223372036854775808", "8388607T", "8388608T", "999999999999999T", "123456789012345", "512M"} {
		size, err := ParseSize(text)
		exact := int64(-1)
		if m := sizeForm.FindStringSubmatch(text); m != nil {
			n, _ := new(big.Int).SetString(m[1], 10)
			if n.Mul(n, big.NewInt(int64(sizeUnits[m[2]]))); n.IsInt64() {
				exact = n.Int64()
			}
		}
		if got := int64(size); err != nil && exact >= 0 || err == nil && got != exact {
			t.Errorf("%q is %d (%v), want %d", text, got, err, exact)
		}
	}
}
