package privileged

import (
	"encoding/json"
	"strings"
	"testing"
)

// Whatever the file of remembered disks holds, what is read from it is bounded, and is the same when it is written and read again.
func FuzzRememberedDisks(f *testing.F) {
	one, _ := json.Marshal(map[string]remembered{"/dev/sdb1": {Print: strings.Repeat("0", 64), At: 1e9 + 2, UUID: "6f1e", Label: "my \"disk\"\x1b", FSType: "btrfs", Member: "a", Size: 1 << 40, Others: true},
		"/dev/sdc1": {Print: strings.Repeat("f", 64), At: 3e9, Kinds: []string{"ext4", "swap"}}, "/dev/sdd": {Print: strings.Repeat("1", 64), At: 1 << 62, Silent: true}})
	for _, text := range []string{string(one), "", "null", "[]", `{"/dev/sdb1":null}`, `{"/dev/sdb1":{"print":3}}`, `{"/dev/sdb1":{"at":9223372036854775808}}`, `{"/dev/sdb1":{"print":"` + strings.Repeat("0", 64) + `","size":-1}}`,
		`{"/dev/sdb1":{"print":"` + strings.Repeat("0", 64) + `","kinds":["\u001b"]}}`, `{"x":{"print":"` + strings.Repeat("0", 64) + `"}}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		memory := parseMemory(data)
		for device, m := range memory {
			p := m.probed(device)
			if !strings.HasPrefix(p.device, "/dev/") || p.size < 0 || len(p.kinds) > 64 || len(p.uuid)+len(p.label)+len(p.fstype)+len(p.member) > 4*1024 {
				t.Errorf("%q: %+v", device, m)
			}
		}
		text, err := json.Marshal(memory)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := json.Marshal(parseMemory(text)); err != nil || string(again) != string(text) {
			t.Errorf("%s\nread  %s\nagain %s, %v", data, text, again, err)
		}
	})
}

// udev says nothing of the signatures of several file systems, and so does not vouch for what is not there either.
func TestWhatUdevVouchesFor(t *testing.T) {
	d := device{path: "/dev/sdb1", number: "8:17", seq: "9", watched: true, udev: "S:disk/by-uuid/6f1e\nE:ID_FS_UUID=6f1e\nE:ID_FS_TYPE=ext4\nE:ID_FS_LABEL=a=b\nV:1"}
	empty, btrfs := d, d
	empty.udev = "E:ID_BUS=usb\nV:1"
	btrfs.udev = "E:ID_FS_UUID=6f1e\nE:ID_FS_TYPE=btrfs\nE:ID_FS_UUID_SUB=one"
	for name, c := range map[string]struct {
		d    device
		m    remembered
		want bool
	}{
		"the same":                {d, remembered{UUID: "6f1e", FSType: "ext4", Label: "a=b"}, true},
		"another UUID":            {d, remembered{UUID: "6f1f", FSType: "ext4"}, false},
		"another kind":            {d, remembered{UUID: "6f1e", FSType: "xfs"}, false},
		"nothing was found":       {d, remembered{}, false},
		"nothing":                 {empty, remembered{}, true},
		"udev found nothing":      {empty, remembered{UUID: "6f1e", FSType: "ext4"}, false},
		"several file systems":    {empty, remembered{Kinds: []string{"ext4", "swap"}}, false},
		"silent":                  {empty, remembered{Silent: true}, false},
		"a device of a btrfs":     {btrfs, remembered{UUID: "6f1e", FSType: "btrfs", Member: "one"}, true},
		"another one of a btrfs":  {btrfs, remembered{UUID: "6f1e", FSType: "btrfs", Member: "two"}, false},
		"udev has never heard of": {device{path: "/dev/sdb1", number: "8:17", seq: "9", watched: true}, remembered{}, false},
	} {
		if got := c.d.vouches(c.m); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
