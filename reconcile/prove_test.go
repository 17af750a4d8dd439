package reconcile

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// An archive whose task an earlier life of the agent began is proven by that task's log,
// also where the log cannot be read at first.
func TestAnArchiveIsProvenWhenItsLogCanBeRead(t *testing.T) {
	want := desired(t, `node: pve1
mounts:
  backup: {uuid: `+blueDisk+`, path: /mnt/usb/backup, storage: usb-backup}
guests:
  dns: {vmid: 101, state: running}
backups:
  daily: {guests: all, storage: usb-backup, every: 24h}
`)
	synctest.Test(t, func(t *testing.T) {
		died := newBench(t, pvesim.New())
		died.journal.barrier = func(e Entry) error {
			if e.Step == stepOutcome && died.journal.act(e.Act).Verb == "back up" {
				return errors.New("the machine is switched off")
			}
			return nil
		}
		if _, err := died.agent.Once(t.Context(), want); err == nil {
			t.Fatal("it outlived that")
		}
		b := newBench(t, died.sim)
		if err := b.sim.Inject(pvesim.Fault{Match: "GET */log", Effect: "error", Text: "got an error"}); err != nil {
			t.Fatal(err)
		}
		stop := b.watch(5*time.Minute, always(want), nil)
		time.Sleep(30 * time.Minute)
		stop()
		content, err := b.client.StorageContent(t.Context(), "pve1", "usb-backup", proxmox.ContentFilter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range content {
			if strings.Contains(v.Notes, "felhom-agent/1 backups/daily ") && !strings.Contains(v.Notes, " size=") {
				t.Errorf("after half an hour %s is not proven: %s\n%s", v.VolID, v.Notes, b.events)
			}
		}
	})
}

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
