package main

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/privileged"
)

// hostile puts what would give root into a mounted file system: a program with the setuid bit, and a device file.
func hostile(t *testing.T, dir string) {
	t.Helper()
	shell(t, "chmod 755 "+dir+" && cp /usr/bin/id "+dir+"/id && chmod 4755 "+dir+"/id && rm -f "+dir+"/null && mknod -m 666 "+dir+"/null c 1 3")
}

// powerless says that neither of them works.
func powerless(t *testing.T, when, dir string) {
	t.Helper()
	out, err := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", dir+"/id").CombinedOutput()
	if err != nil || strings.Contains(string(out), "euid=0") {
		t.Errorf("%s: a user of the host got root from the disk: %v %s", when, err, out)
	}
	if f, err := os.OpenFile(dir+"/null", os.O_WRONLY, 0); err == nil {
		f.Close()
		t.Errorf("%s: a device file of the disk was opened", when)
	}
}

// Whatever the request, an old line in /etc/fstab, or who mounted the disk says: it gives nobody root, and the old line is brought up to date.
func TestADiskGivesNobodyRoot(t *testing.T) {
	if !inside(t, "mkfs.ext4", "losetup", "setpriv") {
		return
	}
	pctScript(t, `[ "$1" = list ] && echo "VMID Status Lock Name"`)
	device := loopDisk(t, blue, "blue")
	table := readFile(t, "/etc/fstab")
	at := "/mnt/usb/backup"

	old := "UUID=" + blue + " " + at + " auto nofail,x-systemd.device-timeout=10s,noatime,x-felhom.name=backup 0 0\n"
	for _, before := range []string{"", old, strings.Replace(old, "nofail", "suid,dev", 1)} {
		for _, mounted := range []string{"", "suid,dev,noatime", "suid,dev,noatime,ro"} {
			when := "line " + before + "mounted " + mounted
			writeFile(t, "/etc/fstab", table+before, 0o644)
			shell(t, "mkdir -p "+at+" && mount "+device+" "+at)
			hostile(t, at)
			shell(t, "umount "+at)
			if mounted != "" {
				shell(t, "mount -o "+mounted+" "+device+" "+at)
				if out := shell(t, "setpriv --reuid 65534 --regid 65534 --clear-groups "+at+"/id"); !strings.Contains(out, "euid=0") {
					t.Fatalf("%s: it gives nobody root anyway: %s", when, out)
				}
			}
			if err := do(t, privileged.MountUSBByUUID(node, backup(blue, true))); err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			m, ok := mountOf(t, at)
			if !ok || !privileged.Hardened(m) || !slices.Contains(m.Options, "noatime") || slices.Contains(m.Options, "ro") != strings.HasSuffix(mounted, "ro") {
				t.Errorf("%s: %+v", when, m)
			}
			powerless(t, when, at)
			if got, want := readFile(t, "/etc/fstab"), table+privileged.FstabEntry(backup(blue, true))+"\n"; got != want {
				t.Errorf("%s: fstab\n%s\nwant\n%s", when, got, want)
			}
			if mounted != "" { // by the line too, as at the next boot
				shell(t, "umount "+at+" && mount "+at)
				powerless(t, "by the line", at)
			}
			if err := do(t, privileged.UnmountUSB(node, privileged.UnmountSpec{Name: "backup", UUID: blue, Path: at, DropFstab: true})); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, option := range []string{"suid", "dev", "noatime,suid", "defaults,dev"} {
		spec := backup(blue, true)
		spec.Options = strings.Split(option, ",")
		if err := do(t, privileged.MountUSBByUUID(node, spec)); err == nil {
			if m, ok := mountOf(t, at); !ok || !privileged.Hardened(m) {
				t.Errorf("asked for %s: %+v", option, m)
			}
			shell(t, "umount "+at)
		}
	}
}

// A loop device holds an image of a guest or of somebody else on this host: it is no disk.
func TestALoopDeviceIsNoDisk(t *testing.T) {
	if !inside(t, "mkfs.ext4", "losetup") {
		return
	}
	device := loopDisk(t, blue, "blue")
	loop, err := filepath.EvalSymlinks("/sys/class/block/" + strings.TrimPrefix(device, "/dev/"))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(loop)
	shell(t, "ln -s "+loop+" /sys/class/block/"+name)
	writeFile(t, "/proc/partitions", strings.Replace(readFile(t, "/proc/partitions"), strings.TrimPrefix(device, "/dev/"), name, 1), 0o644)
	table := readFile(t, "/etc/fstab")
	if r := refusal(t, do(t, privileged.MountUSBByUUID(node, backup(blue, true)))); !strings.Contains(r.Reason, "is not a disk or partition") {
		t.Errorf("%v", r)
	}
	if got := readFile(t, "/etc/fstab"); got != table {
		t.Errorf("fstab afterwards:\n%s", got)
	}
}

// A disk that bears the signatures of two file systems is neither: blkid answers 8 and names them for udev alone.
func TestADiskWithTwoSignatures(t *testing.T) {
	if !inside(t, "mkfs.ext4", "losetup") {
		return
	}
	device := loopDisk(t, blue, "blue")
	boot := make([]byte, 512) // of a FAT16; an ext4 leaves this sector free
	copy(boot, "\xeb\x3c\x90mkfs.fat")
	for _, v := range []struct{ at, value uint16 }{{11, 512}, {13, 4 | 1<<8}, {16, 2}, {17, 512}, {19, 32768}, {21, 0xf8}, {22, 32}, {24, 32}, {26, 64}} {
		binary.LittleEndian.PutUint16(boot[v.at:], v.value)
	}
	copy(boot[0x26:], "\x29\x78\x56\x34\x12NO NAME    FAT16   ")
	copy(boot[510:], "\x55\xaa")
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(boot); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	disks, err := privileged.Disks(t.Context(), direct(), node)
	if err != nil || len(disks) != 1 || !slices.Equal(disks[0].Kinds, []string{"vfat", "ext4"}) {
		t.Fatalf("%+v %v", disks, err)
	}
	r := refusal(t, do(t, privileged.MountUSBByUUID(node, backup(blue, true))))
	if !r.Missing || !strings.Contains(r.Reason, "signatures of several file systems: "+device+" (vfat, ext4)") {
		t.Errorf("%v", r)
	}
}
