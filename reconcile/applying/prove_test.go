package applying

import (
	"slices"
	"testing"
)

// What a vzdump says of its archives (recording 08).
func TestTheLogOfABackup(t *testing.T) {
	const notes = "felhom-agent/1 backups/daily vmid=100 owner=pve1 guest=dns"
	for name, c := range map[string]struct {
		log  []string
		want []dump
	}{
		"one guest": {[]string{
			"INFO: creating vzdump archive '/var/lib/vz/dump/vzdump-lxc-100-2026_01_02-03_04_05.tar.zst'",
			"INFO: archive file size: 15KB",
			"INFO: Finished Backup of VM 100 (00:00:00)",
		}, []dump{{"vzdump-lxc-100-2026_01_02-03_04_05.tar.zst", "15KB", ""}}},
		"several guests, one of which failed": {[]string{
			"INFO: creating vzdump archive '/mnt/dump/vzdump-lxc-100-2026_01_02-03_04_05.tar.zst'",
			"INFO: archive file size: 15KB",
			"INFO: creating vzdump archive '/mnt/dump/vzdump-lxc-101-2026_01_02-03_05_05.tar.zst'",
			"ERROR: Backup of VM 101 failed",
			"INFO: creating vzdump archive '/mnt/dump/vzdump-lxc-102-2026_01_02-03_06_05.tar.zst'",
			"INFO: archive file size: 1.20GB",
		}, []dump{{"vzdump-lxc-100-2026_01_02-03_04_05.tar.zst", "15KB", ""}, {"vzdump-lxc-101-2026_01_02-03_05_05.tar.zst", "", ""}, {"vzdump-lxc-102-2026_01_02-03_06_05.tar.zst", "1.20GB", ""}}},
		"the job says which notes it writes": {[]string{
			"INFO: starting new backup job: vzdump 100 --notes-template '" + notes + "' --remove 0",
			"INFO: creating vzdump archive '/mnt/dump/vzdump-lxc-100-2026_01_02-03_04_05.tar.zst'",
		}, []dump{{"vzdump-lxc-100-2026_01_02-03_04_05.tar.zst", "", notes}}},
		// Nothing with a backup server was recorded. Its archives are listed as
		// STORAGE:backup/ct/VMID/TIME (pve-facts 5.3), and the log is assumed to say that.
		"a backup server, assumed words": {[]string{
			"INFO: creating Proxmox Backup Server archive 'ct/100/2026-01-02T02:04:05Z'",
			"INFO: Finished Backup of VM 100 (00:00:00)",
		}, []dump{{"ct/100/2026-01-02T02:04:05Z", "", ""}}},
		"nothing": {[]string{"INFO: starting"}, nil},
	} {
		if got := readDumps(c.log); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
