package applying

import (
	"testing"
)

// What a vzdump says of its archive (recording 08).
func TestTheLogOfABackup(t *testing.T) {
	file, size := readDump([]string{
		"INFO: creating vzdump archive '/var/lib/vz/dump/vzdump-lxc-100-2026_01_02-03_04_05.tar.zst'",
		"INFO: archive file size: 15KB",
		"INFO: Finished Backup of VM 100 (00:00:00)",
	})
	if file != "vzdump-lxc-100-2026_01_02-03_04_05.tar.zst" || size != "15KB" {
		t.Errorf("%q, %q", file, size)
	}
}

// Nothing with a backup server was recorded. Its archives are listed as
// STORAGE:backup/ct/VMID/TIME (pve-facts 5.3), and the log is assumed to say that.
func TestTheLogOfABackupToABackupServerAssumedWords(t *testing.T) {
	file, size := readDump([]string{"INFO: creating Proxmox Backup Server archive 'ct/100/2026-01-02T02:04:05Z'", "INFO: Finished Backup of VM 100 (00:00:00)"})
	if file != "ct/100/2026-01-02T02:04:05Z" || size != "" {
		t.Errorf("%q, %q", file, size)
	}
}
