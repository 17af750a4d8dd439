package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A disk that somebody mounts by a line of their own in /etc/fstab, or elsewhere, is used
// where it is and else left alone: what the root helper would refuse is not sent.
func TestADiskOfSomebodyElsesLine(t *testing.T) {
	want := desired(t, `
node: pve1
mounts:
  backup: {uuid: `+blueDisk+`, path: /mnt/usb/backup, storage: usb-backup}
guests:
  dns: {vmid: 101, state: running}
backups:
  daily: {guests: all, storage: usb-backup, every: 24h, keep: 3}
`)
	for _, c := range []struct {
		name   string
		line   string // in /etc/fstab
		at     string // where it is mounted
		says   string
		backup bool
	}{
		{"at its path, by another line", "UUID=\"" + blueDisk + "\"\t/mnt/usb/backup\text4\tdefaults,nofail\t0 2", "/mnt/usb/backup",
			"/mnt/usb/backup belongs to another line of /etc/fstab: UUID=\"" + blueDisk + "\"", true},
		{"elsewhere", "", "/mnt/old", "(/dev/sdb1) is mounted at /mnt/old: as root: umount /mnt/old", false},
		{"elsewhere, by another line", "UUID=" + strings.ToUpper(blueDisk) + " /mnt/old ext4 defaults,nofail 0 2", "",
			blueDisk + " belongs to another line of /etc/fstab: UUID=" + strings.ToUpper(blueDisk) + " /mnt/old ext4", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			sim := pvesim.New()
			host := sim.Host("pve1")
			if c.at != "" {
				if _, err := host.MakeMountPoint(c.at); err != nil {
					t.Fatal(err)
				}
				if out, exit, err := host.Run(t.Context(), "/usr/bin/mount", []string{"-t", "ext4", "/dev/sdb1", c.at}, nil); exit != 0 || err != nil {
					t.Fatalf("%d %v %s", exit, err, out)
				}
			}
			fstab, err := host.ReadFile("/etc/fstab")
			if err != nil {
				t.Fatal(err)
			}
			if c.line != "" {
				if err := host.ReplaceFile("/etc/fstab", fstab, []byte(string(fstab)+c.line+"\n")); err != nil {
					t.Fatal(err)
				}
			}
			b := newBench(t, sim)
			report := b.once(want)
			text := b.closing(report)
			if report.ExitCode() != 3 || !strings.Contains(text, c.says) {
				t.Errorf("%s: exit code %d, it does not say %q\n%s\n%s", c.name, report.ExitCode(), c.says, b.events, text)
			}
			if made := strings.Contains(b.events.String(), "backups/daily"); made != c.backup {
				t.Errorf("%s: a backup is made: %t\n%s", c.name, made, b.events)
			}
		})
	}
}
