package privileged

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// FuzzBlockDevices: whatever the kernel's tables say, a device that the host or a guest uses is never mounted.
func FuzzBlockDevices(f *testing.F) {
	f.Add("/dev/sdb\n/dev/sdb1", "8:16\n8:17", "22 1 8:2 / / rw - ext4 /dev/sda2 rw", "30 1 8:17 / /data rw - ext4 /dev/sdb1 rw", "dm-0", "E:ID_PART_ENTRY_TYPE=c12a7328-f81f-11d2-ba4b-00a0c93ec93b", byte(1))
	f.Add("/dev/loop0\n/dev/nvme0n1p2\n/dev/md0", "7:0\n259:2\n9:0", "", "", "", "", byte(0))
	f.Fuzz(func(t *testing.T, names, numbers, host, others, holder, udev string, bits byte) {
		table := deviceTable{mounts: parseMountInfo([]byte(host))}
		table.host = len(table.mounts)
		table.mounts = append(table.mounts, parseMountInfo([]byte(others))...)
		number := strings.Split(numbers, "\n")
		var found []probed
		for i, name := range strings.Split(names, "\n") {
			d := device{path: name, disk: parent(name), number: number[i%len(number)], swap: bits>>(i%8)&1 == 1}
			if i == 0 && holder != "" {
				d.holders = []string{holder}
			}
			if i == 0 {
				d.udev = udev
			}
			table.devices = append(table.devices, d)
			found = append(found, probed{device: name, uuid: fmt.Sprintf("1111-%04d", i), fstype: "ext4"})
		}
		for i, d := range table.list(found, defaultPolicy) {
			known := table.devices[i]
			got, refused := Mountable(MountSpec{Name: "x", UUID: d.UUID, Path: "/mnt/x"}, []Disk{d}, nil)
			if (refused == nil) != (len(got) == 1) {
				t.Fatalf("%+v %v", got, refused)
			}
			for what, bad := range map[string]bool{
				"a device that is no disk": !strings.HasPrefix(known.path, "/dev/") || strings.HasPrefix(known.path, "/dev/loop") || strings.HasPrefix(known.path, "/dev/dm-") || strings.HasPrefix(known.path, "/dev/md"),
				"held":                     len(known.holders) > 0,
				"swap":                     known.swap,
				"an ESP":                   espType.MatchString(known.udev),
				"mounted": slices.ContainsFunc(table.mounts, func(l mountLine) bool { return l.source == known.path && l.path != "/mnt/x" }) &&
					!slices.ContainsFunc(table.mounts[:table.host], func(l mountLine) bool { return l.of(known) && l.path == "/mnt/x" }),
			} {
				if bad && refused == nil {
					t.Errorf("%s (%s) is mounted", known.path, what)
				}
			}
		}
	})
}

// BenchmarkDeviceChecks is what the checks of one mount cost beside the programs that it runs: 40 devices, 60 mount tables of 80 lines.
func BenchmarkDeviceChecks(b *testing.B) {
	var table strings.Builder
	for i := range 80 {
		fmt.Fprintf(&table, "%d 1 0:%d / /sys/fs/%d rw,nosuid shared:%d - tmpfs tmpfs rw\n", i+20, i, i, i)
	}
	for b.Loop() {
		var t deviceTable
		for range 60 {
			t.addMounts([]byte(table.String()), false)
		}
		var found []probed
		for i := range 40 {
			name := fmt.Sprintf("/dev/sd%c%d", 'a'+i/4, i%4+1)
			t.devices = append(t.devices, device{path: name, disk: parent(name), number: fmt.Sprintf("8:%d", i)})
			found = append(found, probed{device: name, uuid: fmt.Sprintf("1111-%04d", i), fstype: "ext4"})
		}
		if disks := t.list(found, defaultPolicy); len(disks) != 40 || disks[0].Blocked != "" {
			b.Fatal(disks[0])
		}
	}
}
