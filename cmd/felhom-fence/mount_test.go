package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/privileged"
)

// The UUIDs are new in every run: loop devices are the machine's, and somebody else may run these tests at the same time.
var blue, red = newUUID(), newUUID()

func newUUID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func backup(uuid string, fstab bool) privileged.MountSpec {
	return privileged.MountSpec{Name: "backup", UUID: uuid, Path: "/mnt/usb/backup", Options: []string{"noatime"}, Fstab: fstab}
}

func mountOf(t *testing.T, path string) (m privileged.Mount, ok bool) {
	t.Helper()
	mounts, err := privileged.Mounts(t.Context(), direct(), node)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(mounts, func(m privileged.Mount) bool { return m.Path == path })
	if i < 0 {
		return m, false
	}
	return mounts[i], true
}

func TestMountAndUnmountARealDisk(t *testing.T) {
	if !inside(t, "mkfs.ext4", "losetup") {
		return
	}
	pctScript(t, `[ "$1" = list ] && echo "VMID Status Lock Name"`)
	device := loopDisk(t, blue, "blue")
	table := readFile(t, "/etc/fstab")
	spec := backup(blue, true)

	disks, err := privileged.Disks(t.Context(), direct(), node)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(disks, func(d privileged.Disk) bool { return d.UUID == blue })
	if i < 0 || disks[i].Device != device || disks[i].Label != "blue" || disks[i].FSType != "ext4" || disks[i].Size != 16<<20 {
		t.Fatalf("disks: %+v", disks)
	}

	for _, again := range []string{"first", "second"} {
		if _, err := direct().Do(t.Context(), privileged.MountUSBByUUID(node, spec), nil); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if got, want := readFile(t, "/etc/fstab"), table+privileged.FstabEntry(spec)+"\n"; got != want {
			t.Errorf("%s: fstab\n%s\nwant\n%s", again, got, want)
		}
		m, ok := mountOf(t, spec.Path)
		if !ok || !m.Mounted || m.UUID != blue || m.Source != device || m.Label != "blue" || !slices.Contains(m.Options, "noatime") || !privileged.Hardened(m) {
			t.Fatalf("%s: mounted: %+v", again, m)
		}
		if m.Fstab == nil || m.Fstab.Text != privileged.FstabEntry(spec) || m.Fstab.Name != "backup" {
			t.Errorf("%s: fstab line: %+v", again, m.Fstab)
		}
	}
	if n := strings.Count(shell(t, "cat /proc/self/mounts"), spec.Path); n != 1 {
		t.Errorf("it is mounted %d times", n)
	}

	if err := privileged.SyncMount(t.Context(), direct(), node, spec.Path); err != nil {
		t.Errorf("sync: %v", err)
	}
	shell(t, "mkdir /mnt/usb/backup/library && ln -s /etc /mnt/usb/backup/link && ln -s . /mnt/usb/backup/self && touch /mnt/usb/backup/file")
	for folder, want := range map[string]privileged.Folder{"library": {Exists: true, IsDir: true}, "missing": {}, "missing/too": {}, "file": {Exists: true}} {
		got, err := privileged.FolderInfo(t.Context(), direct(), node, spec.Path, folder)
		got.Mode = 0
		if err != nil || got != want {
			t.Errorf("folder %s: %+v, %v", folder, got, err)
		}
	}
	for _, folder := range []string{"link", "link/ssh", "self/library"} {
		if f, err := privileged.FolderInfo(t.Context(), direct(), node, spec.Path, folder); err == nil {
			t.Errorf("folder %s: %+v; want it refused: a symbolic link", folder, f)
		}
	}

	// The wrong disk at the path, and a disk that is not there.
	other := loopDisk(t, red, "red")
	err = do(t, privileged.MountUSBByUUID(node, backup(red, false)))
	if r := refusal(t, err); r.Arg != "path" || !strings.Contains(r.Reason, blue) {
		t.Errorf("the wrong disk: %v", err)
	}
	err = do(t, privileged.UnmountUSB(node, privileged.UnmountSpec{Name: "backup", UUID: red, Path: spec.Path, DropFstab: true}))
	if r := refusal(t, err); r.Arg != "uuid" {
		t.Errorf("the wrong disk: %v", err)
	}
	shell(t, "losetup -d "+other)
	err = do(t, privileged.MountUSBByUUID(node, privileged.MountSpec{Name: "x", UUID: red, Path: "/mnt/x"}))
	if r := refusal(t, err); !strings.Contains(r.Reason, "no connected disk") {
		t.Errorf("a missing disk: %v", err)
	}

	if err := do(t, privileged.UnmountUSB(node, privileged.UnmountSpec{Name: "backup", UUID: blue, Path: spec.Path, DropFstab: true})); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, "/etc/fstab"); got != table {
		t.Errorf("fstab afterwards:\n%s", got)
	}
	if m, ok := mountOf(t, spec.Path); ok {
		t.Errorf("still mounted: %+v", m)
	}
}

// The empty directory under a mount must take nothing while the disk is away.
func TestMountPointIsImmutable(t *testing.T) {
	if !inside(t, "mkfs.ext4", "losetup") {
		return
	}
	pctScript(t, `[ "$1" = list ] && echo "VMID Status Lock Name"`)
	loopDisk(t, blue, "blue")
	root := loopDisk(t, red, "root")
	shell(t, "mount "+root+" /mnt") // tmpfs may not know the attribute; the root of a host is ext4
	if err := do(t, privileged.MountUSBByUUID(node, backup(blue, false))); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "/mnt/usb/backup/on-the-disk", "x", 0o600)
	if err := do(t, privileged.UnmountUSB(node, privileged.UnmountSpec{Name: "backup", UUID: blue, Path: "/mnt/usb/backup"})); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/mnt/usb/backup/on-the-root", nil, 0o600); !errors.Is(err, os.ErrPermission) {
		t.Errorf("root could write below the mount point: %v", err)
	}
	if err := do(t, privileged.MountUSBByUUID(node, backup(blue, false))); err != nil {
		t.Fatalf("again, on the immutable directory: %v", err)
	}
	if _, err := os.Stat("/mnt/usb/backup/on-the-disk"); err != nil {
		t.Error(err)
	}
}

func do(t *testing.T, op privileged.Op) error {
	t.Helper()
	_, err := direct().Do(t.Context(), op, nil)
	return err
}

func TestTwoDisksWithOneUUID(t *testing.T) {
	if !inside(t, "mkfs.ext4", "losetup") {
		return
	}
	a, b := loopDisk(t, blue, "a"), loopDisk(t, blue, "b")
	r := refusal(t, do(t, privileged.MountUSBByUUID(node, backup(blue, true))))
	if !strings.Contains(r.Reason, a) || !strings.Contains(r.Reason, b) {
		t.Errorf("%v", r)
	}
	disks, err := privileged.Disks(t.Context(), direct(), node)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, d := range disks {
		if d.UUID == blue {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d disks with the UUID, want 2: %+v", n, disks)
	}
}

// A mount that fails takes our line out of the fstab again.
func TestFailedMountIsUndone(t *testing.T) {
	if !inside(t, "mkfs.ext4", "losetup", "debugfs") {
		return
	}
	device := loopDisk(t, blue, "blue")
	shell(t, "debugfs -w -R 'feature FEATURE_I30' "+device+" 2>&1") // a feature that no kernel knows
	table := readFile(t, "/etc/fstab")
	err := do(t, privileged.MountUSBByUUID(node, backup(blue, true)))
	var failed *privileged.FailedError
	if !errors.As(err, &failed) || failed.Program != "/usr/bin/mount" || failed.Exit == 0 || len(failed.Undone) != 1 {
		t.Fatalf("%#v", err)
	}
	if got := readFile(t, "/etc/fstab"); got != table {
		t.Errorf("fstab afterwards:\n%s", got)
	}
}

// umount answers 0 while another mount namespace, such as a guest's, still holds the disk.
func TestUnmountOfAHeldDisk(t *testing.T) {
	if !inside(t, "mkfs.ext4", "losetup", "unshare") {
		return
	}
	pctScript(t, `[ "$1" = list ] && echo "VMID Status Lock Name"`)
	loopDisk(t, blue, "blue")
	if err := do(t, privileged.MountUSBByUUID(node, backup(blue, true))); err != nil {
		t.Fatal(err)
	}
	table := readFile(t, "/etc/fstab")
	holder := exec.Command("unshare", "-m", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 600")
	ready, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { holder.Process.Kill(); holder.Wait() }()
	if _, err := ready.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}

	unmount := privileged.UnmountUSB(node, privileged.UnmountSpec{Name: "backup", UUID: blue, Path: "/mnt/usb/backup", DropFstab: true})
	err = do(t, unmount)
	var failed *privileged.FailedError
	if !errors.As(err, &failed) || !strings.Contains(failed.Reason, "not safe to remove") || !slices.Contains(failed.Undone, "it was mounted again") {
		t.Fatalf("%v", err)
	}
	if m, ok := mountOf(t, "/mnt/usb/backup"); !ok || m.UUID != blue || !slices.Contains(m.Options, "noatime") {
		t.Errorf("not mounted again: %+v", m)
	}
	if got := readFile(t, "/etc/fstab"); got != table {
		t.Errorf("fstab afterwards:\n%s", got)
	}

	// The same, when the holder is known as a guest: refused beforehand, by name.
	pctScript(t, `[ "$1" = list ] && printf 'VMID Status Lock Name\n112 running jellyfin\n113 stopped web\n'`)
	writeFile(t, "/usr/bin/lxc-info", "#!/bin/sh\necho "+strconv.Itoa(holder.Process.Pid)+"\n", 0o755)
	if r := refusal(t, do(t, unmount)); !strings.Contains(r.Reason, "112 (jellyfin)") || strings.Contains(r.Reason, "113") {
		t.Errorf("%v", r)
	}
	mounts, err := privileged.GuestMounts(t.Context(), direct(), node, 112)
	if err != nil {
		t.Fatal(err)
	}
	host, _ := mountOf(t, "/mnt/usb/backup")
	i := slices.IndexFunc(mounts, func(m privileged.GuestMount) bool { return m.Path == "/mnt/usb/backup" })
	if i < 0 || mounts[i].Major != host.Major || mounts[i].Minor != host.Minor {
		t.Errorf("the guest's mounts: %+v", mounts)
	}

	holder.Process.Kill()
	holder.Wait()
	pctScript(t, `[ "$1" = list ] && echo "VMID Status Lock Name"`)
	if err := do(t, unmount); err != nil {
		t.Errorf("after the holder has gone: %v", err)
	}
}

// A mount point that can be exchanged between check and use is refused, as is one that a symbolic link leads to.
func TestMountPointOfOthers(t *testing.T) {
	if !inside(t, "mkfs.ext4", "losetup") {
		return
	}
	loopDisk(t, blue, "blue")
	table := readFile(t, "/etc/fstab")
	shell(t, "mkdir -p /mnt/open /mnt/full/x && chmod 777 /mnt/open && ln -s /etc /mnt/link && touch /mnt/full/x/data")
	for _, path := range []string{"/mnt/open/x", "/mnt/link/x", "/mnt/link", "/mnt/full/x"} {
		err := do(t, privileged.MountUSBByUUID(node, privileged.MountSpec{Name: "x", UUID: blue, Path: path, Fstab: true}))
		if err == nil {
			t.Errorf("%s was mounted", path)
		}
	}
	if got := readFile(t, "/etc/fstab"); got != table {
		t.Errorf("fstab afterwards:\n%s", got)
	}
	if _, err := os.Stat("/etc/x"); err == nil {
		t.Error("a symbolic link was followed")
	}
}

// The disk that the host runs from, and other people's lines of the fstab.
func TestDisksOfOthers(t *testing.T) {
	if !inside(t, "mkfs.ext4", "losetup") {
		return
	}
	device := loopDisk(t, blue, "blue")
	shell(t, "mkdir /mnt/elsewhere && mount "+device+" /mnt/elsewhere")
	if r := refusal(t, do(t, privileged.MountUSBByUUID(node, backup(blue, true)))); r.Arg != "uuid" || !strings.Contains(r.Reason, "/mnt/elsewhere") {
		t.Errorf("%v", r)
	}
	shell(t, "umount /mnt/elsewhere")
	mine := readFile(t, "/etc/fstab")
	for _, line := range []string{"LABEL=other /mnt/usb/backup/ ext4 defaults 0 0", "UUID=" + blue + " /srv ext4 defaults 0 0", `UUID="` + blue + `" /srv ext4 defaults 0 0`} {
		writeFile(t, "/etc/fstab", mine+line+"\n", 0o644)
		refusal(t, do(t, privileged.MountUSBByUUID(node, backup(blue, true))))
		if got := readFile(t, "/etc/fstab"); got != mine+line+"\n" {
			t.Errorf("fstab afterwards:\n%s", got)
		}
	}
}

func TestSealARealRootfs(t *testing.T) {
	if !inside(t, "mkfs.ext4", "losetup") {
		return
	}
	device := loopDisk(t, red, "golden")
	writeFile(t, "/etc/pve/nodes/"+node+"/lxc/9000.conf",
		"#<!-- felhom-agent/1 debian vmid=9000 owner=home born=2026-11-22T18%3A00%3A00Z -->\narch: amd64\nhostname: debian\n", 0o640)
	pctScript(t, `case "$1" in
status) echo "status: stopped";;
mount) mkdir -p /var/lib/lxc/$2/rootfs; mount `+device+` /var/lib/lxc/$2/rootfs; echo "mounted CT $2";;
unmount) umount /var/lib/lxc/$2/rootfs;;
*) exit 64;; esac`)
	shell(t, `d=$(mktemp -d); mount `+device+` $d; cd $d
mkdir -p etc/ssh etc/systemd usr/lib/systemd usr/bin var/lib/dbus var/lib/systemd
echo 0123456789abcdef0123456789abcdef > etc/machine-id; ln -s /etc/machine-id var/lib/dbus/machine-id
for k in rsa ed25519; do echo k > etc/ssh/ssh_host_${k}_key; echo p > etc/ssh/ssh_host_${k}_key.pub; done
echo c > etc/ssh/sshd_config; touch usr/lib/systemd/systemd usr/bin/ssh-keygen; echo s > var/lib/systemd/random-seed
ln -s /etc etc/systemd/system
chown -R 100000:100000 .; cd /; umount $d`)
	seal := privileged.SealGolden(node, privileged.SealSpec{VMID: 9000, Object: "debian", Owner: "home"})

	// etc/systemd/system is a link that leads out of the container, later a FIFO: refused with its path, the host's /etc stays as it is, and nothing stays mounted.
	before := shell(t, "find /etc | sort | sha256sum")
	if r := refusal(t, do(t, seal)); !strings.Contains(r.Reason, "etc/systemd/system is a link; expected a folder") {
		t.Fatalf("sealed through a hostile link: %v", r)
	}
	shell(t, `d=$(mktemp -d); mount `+device+` $d; rm $d/etc/systemd/system; mv $d/etc/ssh $d/etc/ssh2; mkfifo $d/etc/ssh; umount $d`)
	if r := refusal(t, do(t, seal)); !strings.Contains(r.Reason, "etc/ssh is a FIFO; expected a folder") {
		t.Fatalf("sealed through a FIFO: %v", r)
	}
	shell(t, `d=$(mktemp -d); mount `+device+` $d; rm $d/etc/ssh; mv $d/etc/ssh2 $d/etc/ssh; umount $d`)
	if after := shell(t, "find /etc | sort | sha256sum"); after != before {
		t.Error("something in the host's /etc was changed")
	}
	if m, ok := mountOf(t, "/var/lib/lxc/9000/rootfs"); ok {
		t.Errorf("still mounted: %+v", m)
	}

	result, err := direct().Do(t.Context(), seal, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Notes) == 0 {
		t.Error("it does not say what it did")
	}
	shell(t, "mkdir -p /run/look && mount -o ro "+device+" /run/look")
	root := "/run/look"
	if id := readFile(t, root+"/etc/machine-id"); id != "" {
		t.Errorf("machine-id %q", id)
	}
	if keys, _ := filepath.Glob(root + "/etc/ssh/*"); len(keys) != 1 || filepath.Base(keys[0]) != "sshd_config" {
		t.Errorf("etc/ssh: %q", keys)
	}
	unit := "/etc/systemd/system/felhom-ssh-host-keys.service"
	if !strings.Contains(readFile(t, root+unit), "ssh-keygen -A") {
		t.Error("the first-boot unit is not there")
	}
	if target, err := os.Readlink(root + "/etc/systemd/system/multi-user.target.wants/felhom-ssh-host-keys.service"); err != nil || target != "../felhom-ssh-host-keys.service" {
		t.Errorf("not enabled: %q %v", target, err)
	}
	if foreign := shell(t, "find "+root+"/etc ! -uid 100000"); foreign != "" {
		t.Errorf("not the container's own: %s", foreign)
	}

	pctScript(t, `echo "status: running"`)
	if r := refusal(t, do(t, seal)); !strings.Contains(r.Fix, "pct stop 9000") {
		t.Errorf("a running golden: %v", r)
	}
}
