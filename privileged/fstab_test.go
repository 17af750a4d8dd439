package privileged

import (
	"bytes"
	"strings"
	"testing"
)

const oldTable = "# /etc/fstab: static file system information.\n" +
	"/dev/pve/root / ext4 errors=remount-ro 0 1\n" +
	"UUID=0000-AAAA\t/boot/efi  vfat defaults 0 1\n" +
	"/dev/pve/swap none swap sw 0 0\n" +
	"\n" +
	"LABEL=films /mnt/my\\040films ext4 nofail 0 0 # hers\n"

var usb = MountSpec{Name: "backup", UUID: "6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11", Path: "/mnt/usb/backup", FSType: "ext4", Options: []string{"noatime"}, Fstab: true}

const usbLine = "UUID=6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11 /mnt/usb/backup ext4 nofail,nosuid,nodev,x-systemd.device-timeout=5min,noatime,x-felhom.name=backup 0 0"

func TestFstabEntry(t *testing.T) {
	with := func(change func(*MountSpec)) MountSpec {
		m := usb
		change(&m)
		return m
	}
	for _, c := range []struct {
		m    MountSpec
		want string
	}{
		{usb, usbLine},
		{with(func(m *MountSpec) { m.Fstab = false }), ""},
		{with(func(m *MountSpec) { m.FSType, m.Options = "", nil }), "UUID=6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11 /mnt/usb/backup auto nofail,nosuid,nodev,x-systemd.device-timeout=5min,x-felhom.name=backup 0 0"},
		{with(func(m *MountSpec) {
			m.UUID, m.FSType, m.Options = "1A2B-3C4D", "exfat", []string{"uid=100000", "gid=100000"}
		}),
			"UUID=1A2B-3C4D /mnt/usb/backup exfat nofail,nosuid,nodev,x-systemd.device-timeout=5min,uid=100000,gid=100000,x-felhom.name=backup 0 0"},
		{with(func(m *MountSpec) { m.UUID, m.FSType, m.Options = "1A2B-3C4D", "vfat", []string{"umask=022", "utf8"} }),
			"UUID=1A2B-3C4D /mnt/usb/backup vfat nofail,nosuid,nodev,x-systemd.device-timeout=5min,umask=022,utf8,x-felhom.name=backup 0 0"},
		{with(func(m *MountSpec) { m.Options = []string{"defaults", "nofail", "x-systemd.device-timeout=30s"} }),
			"UUID=6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11 /mnt/usb/backup ext4 nofail,nosuid,nodev,x-systemd.device-timeout=30s,x-felhom.name=backup 0 0"},
		{with(func(m *MountSpec) { m.Path = "/mnt/my disk #1" }),
			`UUID=6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11 /mnt/my\040disk\040#1 ext4 nofail,nosuid,nodev,x-systemd.device-timeout=5min,noatime,x-felhom.name=backup 0 0`},
	} {
		got := FstabEntry(c.m)
		if got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		if got == "" {
			continue
		}
		if l, ok := entry([]byte(got)); !ok || l.Path != c.m.Path || l.Name != c.m.Name || l.Spec != "UUID="+c.m.UUID {
			t.Errorf("read back: %+v", l)
		}
	}
}

func TestFstabEdits(t *testing.T) {
	f := parseFstab([]byte(oldTable))
	if got := string(f.set("backup", usbLine)); got != oldTable+usbLine+"\n" {
		t.Errorf("added:\n%s", got)
	}
	// Ours moves with its place; a doubled one of ours becomes one; the others' lines stay between.
	mixed := "# a\nUUID=1 /mnt/old ext4 nofail,x-felhom.name=backup 0 0\n" + oldTable + "UUID=2 /mnt/older ext4 x-felhom.name=backup 0 0\nUUID=3 /mnt/m ext4 x-felhom.name=media 0 0"
	if got, want := string(parseFstab([]byte(mixed)).set("backup", usbLine)), "# a\n"+usbLine+"\n"+oldTable+"UUID=3 /mnt/m ext4 x-felhom.name=media 0 0"; got != want {
		t.Errorf("changed:\n%s\nwant\n%s", got, want)
	}
	if got, want := string(parseFstab([]byte(mixed)).drop("media")), strings.TrimSuffix(mixed, "\nUUID=3 /mnt/m ext4 x-felhom.name=media 0 0"); got != want {
		t.Errorf("dropped:\n%s\nwant\n%s", got, want)
	}
	// A comment that looks like one of our lines is not ours.
	comment := "#" + usbLine + "\n# x-felhom.name=backup\n"
	if got := string(parseFstab([]byte(comment)).drop("backup")); got != comment {
		t.Errorf("a comment:\n%s", got)
	}
	if l := f.entries(); len(l) != 4 || l[3].Path != "/mnt/my films" || l[3].Name != "" || l[2].Path != "none" {
		t.Errorf("entries: %+v", l)
	}
}

// others are the lines that are not an object's.
func others(data []byte, name string) []byte {
	var out []byte
	for _, line := range bytes.Split(data, []byte("\n")) {
		if l, ok := entry(line); ok && l.Name == name {
			continue
		}
		out = append(append(out, line...), '\n')
	}
	return bytes.TrimRight(out, "\n")
}

func FuzzFstab(f *testing.F) {
	f.Add([]byte(oldTable), "backup", "/mnt/usb/backup", "noatime")
	f.Add([]byte("UUID=1 /mnt/x ext4 x-felhom.name=backup 0 0"), "backup", "/mnt/a b", "")
	f.Add([]byte("a b c d"), "x", "/mnt/#", "ro,noexec")
	f.Add([]byte("\r\n\x00\n\n UUID=1 /mnt/x ext4 x-felhom.name=x,x-felhom.name=backup\t0 0\r"), "backup", `/mnt/b`, "rw")
	f.Add([]byte(""), "b", "/mnt/ü", "")
	f.Fuzz(func(t *testing.T, data []byte, name, path, options string) {
		if objectName(name) != "" || hostPath(path) != "" || options != "" && mountOptions(options) != "" {
			t.Skip()
		}
		want := fstabEntry(name, usb.UUID, path, "ext4", options)
		if strings.ContainsAny(want, "\n\r") {
			t.Fatalf("one line became several: %q", want)
		}
		once := parseFstab(data).set(name, want)
		if twice := parseFstab(once).set(name, want); !bytes.Equal(once, twice) {
			t.Errorf("edited twice is not edited once:\n%q\n%q", once, twice)
		}
		if !bytes.Equal(others(once, name), others(data, name)) {
			t.Errorf("a line of others changed:\n%q\n%q", data, once)
		}
		n := 0
		for _, l := range parseFstab(once).entries() {
			if l.Name == name {
				n++
				if l.Text != want || l.Path != path || l.Spec != "UUID="+usb.UUID {
					t.Errorf("read back: %+v", l)
				}
			}
		}
		if n != 1 {
			t.Errorf("%d lines of ours:\n%q", n, once)
		}
		dropped := parseFstab(once).drop(name)
		if !bytes.Equal(others(dropped, name), others(data, name)) || bytes.Contains(dropped, []byte(want)) && !bytes.Contains(data, []byte(want)) {
			t.Errorf("dropped:\n%q\n%q", data, dropped)
		}
		if bytes.Equal(parseFstab(data).drop(name), data) && !bytes.Equal(dropped, data) {
			t.Errorf("added and dropped, it is another file:\n%q\n%q", data, dropped)
		}
		if again := parseFstab(dropped).drop(name); !bytes.Equal(again, dropped) {
			t.Errorf("dropped twice is not dropped once:\n%q\n%q", dropped, again)
		}
	})
}
