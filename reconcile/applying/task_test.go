package applying

import (
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
)

func TestAFullDiskSaysWhatIsLeft(t *testing.T) {
	failed := ending{
		operation: &journal.Operation{Entry: journal.Entry{Object: "backups/daily", Facts: map[string]string{"storage": "usb-backup"}}},
		err: &proxmox.TaskError{ExitStatus: "job errors", LogTail: []string{
			"INFO: creating vzdump archive '/mnt/usb/backup/dump/vzdump-lxc-105-2026_11_22-18_45_30.tar.zst'",
			"INFO: tar: -: Wrote only 8192 of 10240 bytes: No space left on device",
		}},
	}
	want := []string{
		"make room on usb-backup, or connect a larger disk",
		"what is left of it, as root: rm -rf /mnt/usb/backup/dump/vzdump-lxc-105-2026_11_22-18_45_30.log /mnt/usb/backup/dump/vzdump-lxc-105-2026_11_22-18_45_30.tmp /mnt/usb/backup/dump/vzdump-lxc-105-2026_11_22-18_45_30.tar*.dat",
	}
	if fix := failureFix(failed); !slices.Equal(fix, want) {
		t.Errorf("the fix is\n%s", strings.Join(fix, "\n"))
	}
}

// The task list names no guest for a backup of several.
func TestTheTaskOfABackupOfSeveral(t *testing.T) {
	for vmid, want := range map[string]string{"101": "101", "101,300": "", "101 300": ""} {
		if kind, id := TaskOf(&proxmox.Call{Method: "POST", Path: "/nodes/pve1/vzdump", Params: proxmox.Params{"vmid": vmid}}); kind != "vzdump" || id != want {
			t.Errorf("vmid=%s: %s %q, want %q", vmid, kind, id, want)
		}
	}
}
