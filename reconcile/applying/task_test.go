package applying

import (
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
)

// What a lost answer's request has stored is told from what stands there now.
func TestStoredIsWhatWasSent(t *testing.T) {
	tests := []struct {
		key, sent, stored string
		same              bool
	}{
		{"memory", "1024", "1024", true},
		{"memory", "1024", "512", false},
		{"description", "my shop", "my shop\n", true},
		{"description", "my shop", "your shop\n", false},
		{"tags", "Shop;web", "shop;web", true},
		{"net0", "name=eth0,bridge=vmbr0,hwaddr=BE:24:11:00:00:01,ip=dhcp", "name=eth0,bridge=vmbr0,hwaddr=BE:24:11:00:00:01,ip=dhcp,type=veth", true},
		{"net0", "name=eth0,bridge=vmbr0,hwaddr=BE:24:11:00:00:01,ip=dhcp", "name=eth0,bridge=vmbr1,hwaddr=BE:24:11:00:00:01,ip=dhcp,type=veth", false},
		{"mp0", "local-lvm:20,mp=/data,backup=1", "local-lvm:vm-201-disk-1,mp=/data,backup=1,size=20G", true},
		{"mp0", "local-lvm:20,mp=/data,backup=1", "", false},
		{"mp0", "local-lvm:vm-201-disk-1,mp=/data", "local-lvm:vm-201-disk-2,mp=/data,size=20G", false},
	}
	for _, test := range tests {
		if same := sameStored(test.key, test.sent, test.stored); same != test.same {
			t.Errorf("%s: %q stored as %q: %t", test.key, test.sent, test.stored, same)
		}
	}
}

func TestAFullDiskSaysWhatIsLeft(t *testing.T) {
	failed := ending{
		act: &journal.Operation{Entry: journal.Entry{Object: "backups/daily", Facts: map[string]string{"storage": "usb-backup"}}},
		err: &proxmox.TaskError{ExitStatus: "job errors", LogTail: []string{
			"INFO: creating vzdump archive '/mnt/usb/backup/dump/vzdump-lxc-105-2026_11_22-18_45_30.tar.zst'",
			"INFO: tar: -: Wrote only 8192 of 10240 bytes: No space left on device",
		}},
	}
	want := []string{
		"make room on usb-backup, or plug in a larger disk",
		"what is left of it, as root: rm -rf /mnt/usb/backup/dump/vzdump-lxc-105-2026_11_22-18_45_30.log /mnt/usb/backup/dump/vzdump-lxc-105-2026_11_22-18_45_30.tmp /mnt/usb/backup/dump/vzdump-lxc-105-2026_11_22-18_45_30.tar*.dat",
	}
	if cure := failureCure(failed); !slices.Equal(cure, want) {
		t.Errorf("the cure is\n%s", strings.Join(cure, "\n"))
	}
}
