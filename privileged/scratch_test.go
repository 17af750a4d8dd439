package privileged

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	testNode   = "pve1"
	testMarker = "<!-- felhom-agent/1 web vmid=201 owner=home born=2026-11-22T18:00:00Z -->"
)

// testBox is a machine below a directory, whose programs are scripts that write down how they were called.
type testBox struct {
	*Local
	t    testing.TB
	root string
}

// newBox has the container 201 that is ours, a disk with USB's UUID, and the directories and devices that the tests bind and pass.
func newBox(t testing.TB) testBox {
	t.Helper()
	root := t.TempDir()
	t.Cleanup(func() { exec.Command("chattr", "-R", "-i", root).Run() }) // mount points are immutable
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	b := testBox{Local: &Local{Host: NewMachine(root)}, t: t, root: root}
	b.write("/etc/fstab", oldTable, 0o644)
	b.write("/proc/partitions", "major minor  #blocks  name\n\n   8        0  500 sda\n   8        2  500 sda2\n   8       17  500 sdb1\n   8       33  500 sdc1\n 252        0  500 dm-0\n", 0o644)
	b.write("/proc/1/mountinfo", "22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n30 22 8:33 / /mnt/usb/media rw - ext4 /dev/sdc1 rw\n", 0o644)
	b.write("/etc/pve/nodes/"+testNode+"/lxc/201.conf", conf(testMarker)+"mp0: local-lvm:vm-201-disk-1,mp=/data,size=8G\nmp1: /mnt/usb/media/library,mp=/media\ndev0: /dev/net/tun\n", 0o640)
	b.write("/etc/pve/nodes/"+testNode+"/lxc/202.conf", conf("a guest of somebody else"), 0o640)
	if err := os.Symlink("nodes/"+testNode, root+"/etc/pve/local"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/mnt/usb/media/library", "/mnt/other", "/dev/dri"} {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.program("/usr/sbin/pct", `[ "$1" = status ] && echo "status: stopped"; exit 0`)
	b.program("/usr/sbin/blkid", `[ "$4" = /dev/sdb1 ] && printf 'DEVNAME=/dev/sdb1\nUUID=`+usb.UUID+`\nTYPE=ext4\n' && exit 0
[ "$4" = /dev/sda2 ] && printf 'UUID=99990000-58b1-4c57-9a0e-0d6f3f2a1c11\nTYPE=ext4\n' && exit 0
[ "$4" = /dev/sdc1 ] && printf 'UUID=51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77\nLABEL=PHOTOS\nTYPE=ext4\n' && exit 0
exit 2`)
	b.write("/dev/sdb1", "", 0o600)
	b.program("/usr/bin/mount", `exit 32`)
	b.program("/usr/bin/umount", `exit 32`)
	return b
}

// conf is a container's configuration as PVE writes it.
func conf(description string) string {
	return "#" + strings.ReplaceAll(strings.ReplaceAll(description, ":", "%3A"), "\n", "\n#") + "\narch: amd64\nhostname: web\nrootfs: local-lvm:vm-201-disk-0,size=8G\n"
}

func (b testBox) write(name, text string, mode fs.FileMode) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(b.root+name), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(b.root+name, []byte(text), mode); err != nil {
		b.t.Fatal(err)
	}
}

func (b testBox) program(name, script string) { // one write per line: disks are read several at a time
	b.write(name, "#!/bin/sh\nprintf '%s%s\\n' '"+name+"' \"${*:+ $*}\" >> "+b.root+"/calls\n"+script+"\n", 0o755)
}

// calls are the programs that were run and that change something.
func (b testBox) calls() string {
	data, err := os.ReadFile(b.root + "/calls")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Fatal(err)
	}
	var out []string
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		if !strings.HasPrefix(line, blkid) && line != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// world is everything on the box that an operation could have changed.
func (b testBox) world() string {
	var out strings.Builder
	err := filepath.WalkDir(b.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Base(name) == "calls" {
			return err
		}
		out.WriteString(strings.TrimPrefix(name, b.root) + " " + d.Type().String())
		if d.Type().IsRegular() {
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			out.WriteString(" " + string(data))
		}
		out.WriteByte('\n')
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.String()
}

func (b testBox) do(op Op) (Result, error) { return b.Do(b.t.Context(), op, nil) }
