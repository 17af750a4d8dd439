package privileged_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// odd is a host with one more block device than the simulated one, with what the kernel, udev and blkid say of it.
type odd struct {
	*pvesim.Host
	device  string            // with UUID 0dd0..., as ext4
	more    []string          // further devices, of which blkid says nothing
	files   map[string]string // files of the host
	holders map[string]string // what is built on a device
	others  string            // the mount table of another mount namespace
	host    string            // lines of the host's own mount table
	blkid   map[string]string // what blkid says instead
	exit    int               // of blkid
}

const oddDisk = "0dd0f00d-0000-4000-8000-000000000001"

func (o odd) BlockDevices() ([]string, error) {
	names, err := o.Host.BlockDevices()
	return append(append(names, o.device), o.more...), err
}

func (o odd) ReadFile(name string) ([]byte, error) {
	if text, ok := o.files[name]; ok {
		return []byte(text), nil
	}
	return o.Host.ReadFile(name)
}

func (o odd) ReadDir(name string) ([]string, error) {
	for device, holder := range o.holders {
		if name == "/sys/class/block/"+strings.TrimPrefix(device, "/dev/")+"/holders" {
			return []string{holder}, nil
		}
	}
	return o.Host.ReadDir(name)
}

func (o odd) MountInfo(pid int) ([]byte, error) {
	text, err := o.Host.MountInfo(pid)
	if pid == 1 {
		text = append(text, o.host...)
	}
	return text, err
}

func (o odd) MountTables() ([][]byte, error) {
	tables, err := o.Host.MountTables()
	if len(tables) > 0 {
		tables[0] = append(tables[0], o.host...)
	}
	return append(tables, []byte(o.others)), err
}

func (o odd) Stat(name string) (fs.FileMode, string, error) {
	if name == o.device || slices.Contains(o.more, name) {
		return fs.ModeDevice | 0o660, "1", nil
	}
	return o.Host.Stat(name)
}

func (o odd) Exclusive(device string) error {
	if device == o.device || slices.Contains(o.more, device) {
		return nil
	}
	return o.Host.Exclusive(device)
}

func (o odd) Run(ctx context.Context, program string, args []string, progress func(string)) ([]byte, int, error) {
	device := args[len(args)-1]
	if program != "/usr/sbin/blkid" || device != o.device && !slices.Contains(o.more, device) {
		return o.Host.Run(ctx, program, args, progress)
	}
	if text, ok := o.blkid[device+" "+args[2]]; ok {
		return []byte(text), o.exit, nil
	}
	if device != o.device {
		return nil, 2, nil
	}
	return []byte("UUID=" + oddDisk + "\nTYPE=ext4\n"), 0, nil
}

// policyOfMounts asks for a mount on an odd host: what the plan's policy says of what was observed, and what the root helper does. They must say the same.
func policyOfMounts(t *testing.T, o odd) (refused *privileged.RefusedError) {
	t.Helper()
	b := newBench(t)
	o.Host = b.sim.Host(b.node)
	b.Host = o
	m := privileged.MountSpec{Name: "odd", UUID: oddDisk, Path: "/mnt/odd", Fstab: true}
	disks, err := privileged.Disks(t.Context(), b, b.node)
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := privileged.Mounts(t.Context(), b, b.node)
	if err != nil {
		t.Fatal(err)
	}
	_, refused = privileged.Mountable(m, disks, mounts)
	before := b.sim.String()
	_, err = b.Do(t.Context(), privileged.MountUSBByUUID(b.node, m), nil)
	if refused == nil {
		if errors.As(err, new(*privileged.RefusedError)) {
			t.Errorf("the plan promises it and the root helper refuses: %v", err)
		}
		return nil
	}
	var helper *privileged.RefusedError
	if !errors.As(err, &helper) || helper.Reason != refused.Reason || helper.Fix != refused.Fix {
		t.Errorf("the plan says: %v\nthe root helper: %v", refused, err)
	}
	if after := b.sim.String(); after != before {
		t.Errorf("refused, but the world changed:\n%s", after)
	}
	if refused.Fix == "" {
		t.Errorf("no fix: %v", refused)
	}
	return refused
}

// A device that the host or a guest uses, or that is no disk, is never mounted; the plan says so with the same words.
func TestDevicesThatAreNeverMounted(t *testing.T) {
	esp := "E:ID_FS_TYPE=vfat\nE:ID_PART_ENTRY_TYPE=c12a7328-f81f-11d2-ba4b-00a0c93ec93b\n"
	number := map[string]string{"/sys/class/block/sdx1/dev": "65:113\n", "/sys/class/block/sdx/dev": "65:112\n"}
	with := func(name, text string) map[string]string {
		files := map[string]string{name: text}
		for k, v := range number {
			files[k] = v
		}
		return files
	}
	cases := map[string]struct {
		o    odd
		says string
	}{
		"a partition is built on": {odd{device: "/dev/sdx1", holders: map[string]string{"/dev/sdx1": "dm-3"}}, "/dev/sdx1 is used by dm-3"},
		"its disk is built on":    {odd{device: "/dev/sdx1", more: []string{"/dev/sdx"}, holders: map[string]string{"/dev/sdx": "md0"}}, "/dev/sdx is used by md0"},
		"a partition of the disk": {odd{device: "/dev/sdx", more: []string{"/dev/sdx1"}, holders: map[string]string{"/dev/sdx1": "bcache0"}}, "/dev/sdx1 is used by bcache0"},
		"swap":                    {odd{device: "/dev/sdx1", files: with("/proc/swaps", "Filename Type Size Used Priority\n/dev/sdx1 partition 1000 0 -2\n")}, "/dev/sdx1 is swap space of this host"},
		"a partition of it is swap": {odd{device: "/dev/sdx", more: []string{"/dev/sdx2"}, files: with("/proc/swaps", "Filename\tType\n/dev/sdx2\tpartition\n")},
			"/dev/sdx2 is swap space of this host"},
		"an ESP by udev":      {odd{device: "/dev/sdx1", files: with("/run/udev/data/b65:113", esp)}, "is an EFI system partition"},
		"an ESP of an MBR":    {odd{device: "/dev/sdx1", files: with("/run/udev/data/b65:113", "E:ID_PART_ENTRY_TYPE=0xef\n")}, "is an EFI system partition"},
		"an ESP by blkid":     {odd{device: "/dev/sdx1", blkid: map[string]string{"/dev/sdx1 export": "UUID=" + oddDisk + "\nTYPE=ext4\nPART_ENTRY_TYPE=c12a7328-f81f-11d2-ba4b-00a0c93ec93b\n"}}, "is an EFI system partition"},
		"another namespace":   {odd{device: "/dev/sdx1", others: "300 299 65:113 / /data rw - ext4 /dev/sdx1 rw\n"}, "mounted in another mount namespace, of a guest or a service, at /data"},
		"another name there":  {odd{device: "/dev/sdx1", files: number, others: "300 299 65:113 / /data rw - ext4 /dev/block/65:113 rw\n"}, "mounted in another mount namespace"},
		"its disk is mounted": {odd{device: "/dev/sdx1", more: []string{"/dev/sdx"}, host: "99 25 65:112 / /srv rw - ext4 /dev/sdx rw\n"}, "/dev/sdx, which overlaps /dev/sdx1, is mounted at /srv"},
		"a partition of it is mounted": {odd{device: "/dev/sdx", more: []string{"/dev/sdx1"}, host: "99 25 65:113 / /srv rw - ext4 /dev/sdx1 rw\n"},
			"/dev/sdx1, which overlaps /dev/sdx, is mounted at /srv"},
		"mounted elsewhere on the host": {odd{device: "/dev/sdx1", host: "99 25 65:113 / /srv rw - ext4 /dev/sdx1 rw\n"}, "is mounted at /srv"},
		"not in root's policy":          {odd{device: "/dev/sdx1", files: map[string]string{"/etc/felhom-agent/fence.json": `{"disks": ["/dev/sdb*"]}`}}, "root's policy does not allow /dev/sdx1; it allows /dev/sdb*"},
		"root's policy allows a loop":   {odd{device: "/dev/loop0", files: map[string]string{"/etc/felhom-agent/fence.json": `{"disks": ["/dev/*"]}`}}, "/dev/loop0 is not a disk or partition"},
	}
	for _, device := range []string{"/dev/loop0", "/dev/loop0p1", "/dev/md0", "/dev/md127p1", "/dev/dm-3", "/dev/mapper/pve-vm--100--disk--0", "/dev/zram0", "/dev/nbd0", "/dev/nbd0p1",
		"/dev/ram0", "/dev/rbd0", "/dev/zd16", "/dev/bcache0", "/dev/drbd1", "/dev/sr0", "/dev/fd0", "/dev/pmem0", "/dev/sda/../loop0", "/dev/sdx1\n", "/dev/disk/by-uuid/x"} {
		cases["no disk: "+device] = struct {
			o    odd
			says string
		}{odd{device: device}, "is not a disk or partition, but a device that the host or a guest created"}
	}
	for name, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			if refused := policyOfMounts(t, c.o); refused == nil || !strings.Contains(refused.Reason, c.says) {
				t.Errorf("%s: %v; want it refused: %s", name, refused, c.says)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // the same device without any of that
		for _, device := range []string{"/dev/sdx1", "/dev/sdx", "/dev/sdaa1", "/dev/nvme0n1p2", "/dev/mmcblk0p1", "/dev/vdb1"} {
			if refused := policyOfMounts(t, odd{device: device, files: number}); refused != nil {
				t.Errorf("%s: %v", device, refused)
			}
		}
	})
}

// What is on a disk decides too: what the root helper cannot open is refused by the plan with what it is.
func TestContentsThatAreNotMounted(t *testing.T) {
	export := func(text string) map[string]string { return map[string]string{"/dev/sdx1 export": text} }
	for name, c := range map[string]struct {
		o    odd
		says string
	}{
		"LUKS": {odd{device: "/dev/sdx1", blkid: export("UUID=" + oddDisk + "\nTYPE=crypto_LUKS\n")}, "an encrypted volume"},
		"LVM":  {odd{device: "/dev/sdx1", blkid: export("UUID=" + oddDisk + "\nTYPE=LVM2_member\n")}, "a part of an LVM volume group"},
		"ZFS":  {odd{device: "/dev/sdx1", blkid: export("UUID=" + oddDisk + "\nTYPE=zfs_member\n")}, "a part of a ZFS pool"},
		"RAID": {odd{device: "/dev/sdx1", blkid: export("UUID=" + oddDisk + "\nTYPE=linux_raid_member\n")}, "a part of a RAID"},
		"swap": {odd{device: "/dev/sdx1", blkid: export("UUID=" + oddDisk + "\nTYPE=swap\n")}, "swap space"},
		"hfs":  {odd{device: "/dev/sdx1", blkid: export("UUID=" + oddDisk + "\nTYPE=hfsplus\n")}, "hfsplus, which the root helper does not mount"},
		"case": {odd{device: "/dev/sdx1", blkid: export("UUID=" + strings.ToUpper(oddDisk) + "\nTYPE=ext4\n")}, "the UUID of /dev/sdx1 is " + strings.ToUpper(oddDisk)},
		"two signatures": {odd{device: "/dev/sdx1", exit: 8, blkid: map[string]string{"/dev/sdx1 export": "", "/dev/sdx1 udev": "ID_FS_AMBIVALENT=filesystem:ext4:1.0 other:swap:1\n"}},
			"with the signatures of several file systems: /dev/sdx1 (ext4, swap) (wipefs DEVICE lists them"},
		"two signatures, unnamed": {odd{device: "/dev/sdx1", exit: 8, blkid: map[string]string{"/dev/sdx1 export": "", "/dev/sdx1 udev": "\x1b[2J"}}, "/dev/sdx1 (unknown)"},
		"two copies": {odd{device: "/dev/sdx1", more: []string{"/dev/sdy1"}, blkid: map[string]string{"/dev/sdy1 export": "UUID=" + oddDisk + "\nTYPE=ext4\n"}},
			"/dev/sdx1 and /dev/sdy1 have the same UUID " + oddDisk + ": one is a copy of the other"},
		"two copies of a btrfs": {odd{device: "/dev/sdx1", more: []string{"/dev/sdy1"}, blkid: map[string]string{
			"/dev/sdx1 export": "UUID=" + oddDisk + "\nUUID_SUB=a\nTYPE=btrfs\n", "/dev/sdy1 export": "UUID=" + oddDisk + "\nUUID_SUB=a\nTYPE=btrfs\n"}}, "one is a copy of the other"},
		"a further device of a btrfs is in use": {odd{device: "/dev/sdx1", more: []string{"/dev/sdy1"}, holders: map[string]string{"/dev/sdy1": "dm-1"}, blkid: map[string]string{
			"/dev/sdx1 export": "UUID=" + oddDisk + "\nUUID_SUB=a\nTYPE=btrfs\n", "/dev/sdy1 export": "UUID=" + oddDisk + "\nUUID_SUB=b\nTYPE=btrfs\n"}}, "/dev/sdy1 is used by dm-1"},
	} {
		synctest.Test(t, func(t *testing.T) {
			if refused := policyOfMounts(t, c.o); refused == nil || !strings.Contains(refused.Reason, c.says) {
				t.Errorf("%s: %v; want it refused: %s", name, refused, c.says)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // a btrfs over two disks is one file system: no advice that destroys a mirror
		if refused := policyOfMounts(t, odd{device: "/dev/sdx1", more: []string{"/dev/sdy1"}, blkid: map[string]string{
			"/dev/sdx1 export": "UUID=" + oddDisk + "\nUUID_SUB=a\nTYPE=btrfs\n", "/dev/sdy1 export": "UUID=" + oddDisk + "\nUUID_SUB=b\nTYPE=btrfs\n"}}); refused != nil {
			t.Errorf("%v", refused)
		}
	})
}

// What is at the path: an automount unit would mount something else there, or already has.
func TestPathsThatOthersServe(t *testing.T) {
	auto := "98 25 0:55 / /mnt/odd rw,relatime - autofs systemd-1 rw,fd=40,pgrp=1,timeout=60\n"
	const line = "UUID=x /mnt/odd ext4 nofail,x-systemd.automount,x-felhom.name=odd 0 0\n"
	for fstab, verb := range map[string]string{"": "systemctl disable --now", line: "systemctl stop"} { // what a line made cannot be disabled
		synctest.Test(t, func(t *testing.T) {
			o := odd{device: "/dev/sdx1", host: auto, files: map[string]string{"/etc/fstab": fstab}}
			if refused := policyOfMounts(t, o); refused == nil || !strings.Contains(refused.Fix, "as root: "+verb+` "$(systemd-escape -p --suffix=automount /mnt/odd)"`) {
				t.Errorf("with the line %q: %v", fstab, refused)
			}
		})
	}
	for name, c := range map[string]struct {
		o    odd
		says string
	}{
		"an automount unit waits":  {odd{device: "/dev/sdx1", host: auto}, "an automount unit serves /mnt/odd"},
		"something is mounted":     {odd{device: "/dev/sdx1", host: "99 25 0:60 / /mnt/odd rw - nfs4 nas:/export rw\n"}, "another file system is mounted there: nas:/export"},
		"mounted by its automount": {odd{device: "/dev/sdx1", host: auto + "99 98 0:60 / /mnt/odd rw - nfs4 nas:/export rw\n"}, "another file system is mounted there: nas:/export"},
	} {
		synctest.Test(t, func(t *testing.T) {
			if refused := policyOfMounts(t, c.o); refused == nil || !strings.Contains(refused.Reason, c.says) {
				t.Errorf("%s: %v; want it refused: %s", name, refused, c.says)
			}
		})
	}
}
