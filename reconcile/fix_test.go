package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// What blocks a mount says what to do about it; when that is done, the mount is no longer blocked, and nobody is told to do again what is done.
func TestAFixOfAMountThatIsDoneIsNotAskedForAgain(t *testing.T) {
	want := desired(t, "node: pve1\nmounts:\n  backup: {uuid: "+blueDisk+", path: /mnt/usb/backup, storage: usb-backup}\nbackups:\n  daily: {guests: [dns], storage: usb-backup, every: 24h}\nguests:\n  dns: {vmid: 101}\n")
	const foreign = "LABEL=old /mnt/usb/backup ext4 defaults 0 0\n"
	edit := func(t *testing.T, b *bench, change func(string) string) {
		host := b.sim.Host("pve1")
		old, err := host.ReadFile("/etc/fstab")
		if err == nil {
			err = host.ReplaceFile("/etc/fstab", old, []byte(change(string(old))))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func(t *testing.T, b *bench, lines ...string) {
		for _, line := range lines {
			if out, err := b.sim.Shell("pve1", line); err != nil {
				t.Fatal(line, out, err)
			}
		}
	}
	for name, c := range map[string]struct {
		broken func(t *testing.T, b *bench)
		says   string
		fix    func(t *testing.T, b *bench)
	}{
		"read-only": {
			func(t *testing.T, b *bench) { b.once(want); run(t, b, "mount -o remount,ro /mnt/usb/backup") },
			"umount /mnt/usb/backup && fsck /dev/sdb1", func(t *testing.T, b *bench) { run(t, b, "umount /mnt/usb/backup") },
		},
		"another disk at the path": {
			func(t *testing.T, b *bench) { run(t, b, "mkdir -p /mnt/usb/backup", "mount /dev/sdc1 /mnt/usb/backup") },
			"umount /mnt/usb/backup", func(t *testing.T, b *bench) { run(t, b, "umount /mnt/usb/backup") },
		},
		"mounted elsewhere": {
			func(t *testing.T, b *bench) { run(t, b, "mkdir -p /mnt/old", "mount /dev/sdb1 /mnt/old") },
			"umount /mnt/old", func(t *testing.T, b *bench) { run(t, b, "umount /mnt/old") },
		},
		"another line of the fstab": {
			func(t *testing.T, b *bench) { edit(t, b, func(old string) string { return old + foreign }) },
			"remove that line", func(t *testing.T, b *bench) {
				edit(t, b, func(old string) string { return strings.Replace(old, foreign, "", 1) })
			},
		},
		"not connected": {
			func(_ *testing.T, b *bench) { b.sim.Unplug(blueDisk) },
			"connect it", func(_ *testing.T, b *bench) { b.sim.Plug(blueDisk) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				c.broken(t, b)
				if r := b.once(want); r.ExitCode() != 3 || !strings.Contains(b.closing(r), c.says) {
					t.Fatalf("exit code %d; want it blocked, with %q:\n%s", r.ExitCode(), c.says, b.closing(r))
				}
				c.fix(t, b)
				_, text := b.plan(want)
				if strings.Contains(text, c.says) {
					t.Errorf("asked for again:\n%s", text)
				}
				if r := b.once(want); r.ExitCode() != 0 || !b.mounted("/mnt/usb/backup") {
					t.Errorf("fixed: exit code %d\n%s\n%s", r.ExitCode(), b.events, b.closing(r))
				}
			})
		})
	}
}

// A disk that is connected and cannot be told is not asked to be connected: what needs it points to the mount, which says what is the matter.
func TestNobodyIsToldToConnectWhatIsConnected(t *testing.T) {
	want := desired(t, "node: pve1\nmounts:\n  backup: {uuid: "+blueDisk+", path: /mnt/usb/backup, storage: usb-backup}\nbackups:\n  daily: {guests: [dns], storage: usb-backup, every: 24h}\nguests:\n  dns: {vmid: 101}\n")
	for name, c := range map[string]struct {
		before func(b *bench)
		left   bool
		says   string
	}{
		"silent":         {func(b *bench) { b.sim.Hang(blueDisk, true) }, false, "does not answer (/dev/sdb1"},
		"two signatures": {func(*bench) {}, true, "/dev/sdb1 (ext4, vfat)"},
		"two signatures, mounted": {func(b *bench) {
			for _, line := range []string{"mkdir -p /mnt/usb/backup", "mount /dev/sdb1 /mnt/usb/backup"} {
				if out, err := b.sim.Shell("pve1", line); err != nil {
					b.t.Fatal(out, err)
				}
			}
		}, true, "/dev/sdb1, which is mounted at /mnt/usb/backup, has the signatures of several file systems: ext4, vfat"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := pvesim.New()
				if c.left {
					const serial = "serial: SIMUSB0001\n"
					sim = reconciletest.Reborn(t, sim, serial, serial+"        left: [vfat]\n")
				}
				b := newBench(t, sim)
				c.before(b)
				r := b.once(want)
				if text := b.closing(r); r.ExitCode() != 3 || !strings.Contains(text, c.says) || strings.Contains(text, "connect "+blueDisk) || strings.Contains(text, ": connect it;") {
					t.Errorf("exit code %d\n%s", r.ExitCode(), text)
				}
			})
		})
	}
}

// A disk that can only be read takes no backup, and the mount says so; one whose YAML asks for that is as declared.
func TestAReadOnlyDiskTakesNoBackup(t *testing.T) {
	yaml := func(options string) string {
		return "node: pve1\nmounts:\n  backup: {uuid: " + blueDisk + ", path: /mnt/usb/backup, storage: usb-backup" + options + "}\nbackups:\n  daily: {guests: [dns], storage: usb-backup, every: 1h}\nguests:\n  dns: {vmid: 101}\n"
	}
	first, asked := desired(t, yaml("")), desired(t, yaml(", options: [ro]"))
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		if r := b.once(first); r.ExitCode() != 0 {
			t.Fatal(b.closing(r))
		}
		if out, err := b.sim.Shell("pve1", "mount -o remount,ro,nosuid,nodev /mnt/usb/backup"); err != nil {
			t.Fatal(out, err)
		}
		time.Sleep(2 * time.Hour)
		before := b.sim.Data()
		r := b.once(first)
		text := b.closing(r)
		for object, says := range map[string]string{"mounts/backup": "is mounted read-only at /mnt/usb/backup", "backups/daily": "as mounts/backup"} {
			_, line, _ := strings.Cut(text, "blocked  "+object)
			if line, _, _ = strings.Cut(line, "\n"); !strings.Contains(line, says) {
				t.Errorf("%s does not say so:\n%s", object, text)
			}
		}
		if r.ExitCode() != 3 || b.sim.Data() != before {
			t.Errorf("exit code %d, or something was written:\n%s", r.ExitCode(), b.events)
		}
		if _, text := b.plan(asked); strings.Contains(text, "the kernel may have met errors") {
			t.Errorf("asked for, and blocked:\n%s", text)
		}
	})
}

// A disk that an earlier version mounted and listed gives root to whoever has the disk: the plan says what changes, and one run changes it.
func TestAMountOfAnEarlierVersionIsBroughtUpToDate(t *testing.T) {
	want := desired(t, "node: pve1\nmounts:\n  media: {uuid: "+mediaDisk+", path: /mnt/usb/media, options: [noatime]}\n")
	const old = "UUID=" + mediaDisk + " /mnt/usb/media auto nofail,x-systemd.device-timeout=10s,noatime,x-felhom.name=media 0 0\n"
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		host := b.sim.Host("pve1")
		table, err := host.ReadFile("/etc/fstab")
		if err == nil {
			err = host.ReplaceFile("/etc/fstab", table, append(table[:len(table):len(table)], old...))
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"mkdir -p /mnt/usb/media", "mount -o noatime /dev/sdc1 /mnt/usb/media"} {
			if out, err := b.sim.Shell("pve1", line); err != nil {
				t.Fatal(out, err)
			}
		}
		if _, text := b.plan(want); !strings.Contains(text, "remount it with nosuid,nodev; change its line in /etc/fstab") {
			t.Errorf("\n%s", text)
		}
		if r := b.once(want); r.ExitCode() != 0 {
			t.Fatal(b.closing(r))
		}
		now, err := host.ReadFile("/etc/fstab")
		mounts, err2 := host.MountInfo(1)
		if err != nil || err2 != nil || strings.Contains(string(now), "timeout=10s") || !strings.Contains(string(now), "nofail,nosuid,nodev,x-systemd.device-timeout=5min,noatime,x-felhom.name=media") ||
			!strings.Contains(string(mounts), "/mnt/usb/media rw,noatime,nosuid,nodev ") {
			t.Errorf("%v %v\n%s\n%s", err, err2, now, mounts)
		}
		if _, text := b.plan(want); strings.Contains(text, "remount") || strings.Contains(text, "/etc/fstab") {
			t.Errorf("again:\n%s", text)
		}
	})
}
