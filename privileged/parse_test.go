package privileged

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestMountInfo(t *testing.T) {
	const table = `22 1 252:1 / / rw,relatime shared:1 - ext4 /dev/mapper/pve-root rw,errors=remount-ro
25 22 0:22 / /proc rw,nosuid shared:12 - proc proc rw
40 22 8:17 / /mnt/usb/backup rw,noatime shared:30 - ext4 /dev/sdb1 rw
41 22 8:33 /library /mnt/my\040films ro shared:31 master:2 - btrfs /dev/sdc1 rw,space_cache=v2,subvol=/library
42 40 8:49 / /mnt/usb/backup rw - ext4 /dev/sdd1 rw
broken line
43 22 x:y / /z rw - ext4 /dev/sde1 rw
44 22 8:65 / /mnt/odd rw -
45 22 0:50 / /mnt/empty rw - tmpfs  rw
`
	var got []string
	for _, l := range topmost(parseMountInfo([]byte(table))) {
		got = append(got, fmt.Sprintf("%s|%s|%s|%s|%s|%d:%d", l.path, l.root, l.source, l.fstype, strings.Join(l.options, ","), l.major, l.minor))
	}
	want := `/|/|/dev/mapper/pve-root|ext4|rw,relatime,errors=remount-ro|252:1
/proc|/|proc|proc|rw,nosuid|0:22
/mnt/my films|/library|/dev/sdc1|btrfs|ro,rw,space_cache=v2,subvol=/library|8:33
/mnt/usb/backup|/|/dev/sdd1|ext4|rw|8:49
/mnt/empty|/||tmpfs|rw|0:50`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	mounts := []Mount{{Path: "/", Mounted: true, FSType: "zfs"}, {Path: "/mnt", Mounted: true, FSType: "ext4"}, {Path: "/mnt/usb", FSType: "none"}}
	if m, ok := Under(mounts, "/mnt/usb/x"); !ok || m.Path != "/mnt" || !SealsMountPoints(m.FSType) {
		t.Errorf("%+v", m)
	}
	if m, ok := Under(mounts, "/mntx"); !ok || m.Path != "/" || SealsMountPoints(m.FSType) {
		t.Errorf("%+v", m)
	}
}

func TestBlkid(t *testing.T) {
	for out, want := range map[string]probed{
		"DEVNAME=/dev/sdb1\nLABEL=my\\ \\\"disk\\\"\nUUID=6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11\nVERSION=1.0\nFSBLOCKSIZE=4096\nFSLASTBLOCK=4096\nBLOCK_SIZE=4096\nTYPE=ext4\nUSAGE=filesystem\nPART_ENTRY_SIZE=7814035456\n": {uuid: "6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11", label: `my "disk"`, fstype: "ext4", size: 7814035456 * 512},
		"LABEL=caf\\xc3\\xa9\nUUID=1A2B-3C4D\nFSLASTBLOCK=100\nFSBLOCKSIZE=512\nTYPE=vfat\n": {uuid: "1A2B-3C4D", label: "café", fstype: "vfat", size: 51200},
		"PTUUID=1234\nPTTYPE=gpt\n": {},
		"garbage":                   {},
		"UUID=\nTYPE":               {},
	} {
		if got := parseBlkid([]byte(out)); !reflect.DeepEqual(got, want) {
			t.Errorf("%q\ngot  %+v\nwant %+v", out, got, want)
		}
	}
}

func TestGuestConfig(t *testing.T) {
	c := parseGuest([]byte("#shop%3A the 1%25 one\n#\n#" + strings.ReplaceAll(testMarker, ":", "%3A") + "\narch: amd64\nlock: backup\nmp0: /mnt/a,mp=/a\n\n[pve:pending]\ndelete: mp0\nmp1: /mnt/b,mp=/b\n\n[old]\n#" + testMarker + "\nmp0: /mnt/c,mp=/c\n"))
	if c.description != "shop: the 1% one\n\n"+testMarker || bears(c.description, "web", "201", "home") != "" {
		t.Errorf("%q", c.description)
	}
	if c.current["lock"] != "backup" || c.current["mp0"] != "/mnt/a,mp=/a" || c.pending["mp1"] != "/mnt/b,mp=/b" || c.current["mp1"] != "" {
		t.Errorf("%+v", c)
	}
	for value, want := range map[string]string{"/mnt/a,mp=/a": "/mnt/a", "mp=/a,volume=/mnt/a": "/mnt/a", "local-lvm:vm-1-disk-0": "local-lvm:vm-1-disk-0", "": ""} {
		if got := source(value, "volume"); got != want {
			t.Errorf("source(%q) = %q", value, got)
		}
	}
}

func FuzzParsers(f *testing.F) {
	f.Add([]byte("22 1 252:1 / / rw,relatime shared:1 - ext4 /dev/mapper/pve-root rw,errors=remount-ro\n"))
	f.Add([]byte("DEVNAME=/dev/sdb1\nLABEL=my\\ disk\nUUID=6f1e\nTYPE=ext4\nFSLASTBLOCK=9223372036854775807\nFSBLOCKSIZE=-1\n"))
	f.Add([]byte(conf(testMarker)))
	f.Add([]byte(`{"roots":["/mnt"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, l := range topmost(parseMountInfo(data)) {
			if l.fstype == "" {
				t.Errorf("%+v", l)
			}
		}
		if p := parseBlkid(data); p.size < 0 {
			t.Errorf("%+v", p)
		}
		parseGuest(data)
		if p, err := parsePolicy(data); err == nil && (p.Roots == nil || p.Devices == nil) {
			t.Errorf("%+v", p)
		}
	})
}

// What root's file says of the roots; without one it is the default, and a file that is not right is an error.
func TestRootsOfAFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "fence.json")
	for text, want := range map[string]string{
		"":                             "{[/mnt] [] []} <nil>",
		`{"roots": ["/mnt", "/tank"]}`: "{[/mnt /tank] [] []} <nil>",
		`{"users": ["anna"]}`:          "{[/mnt] [] []} <nil>",
		`{"idmap": ["/mnt/photos"]}`:   "{[/mnt] [/mnt/photos] []} <nil>",
		`{"rots": []}`:                 `{[] [] []} json: unknown field "rots"`,
	} {
		if text != "" {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		} else {
			os.Remove(file)
		}
		folders, err := foldersIn(file)
		if got := fmt.Sprint(folders, " ", err); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if _, err := foldersIn(dir); err == nil {
		t.Error("a folder was read")
	}
}

func TestClipCutsNoLetterInTwo(t *testing.T) {
	if got := clip("Családi", 5); got != "Csal…" {
		t.Errorf("%q", got)
	}
}
