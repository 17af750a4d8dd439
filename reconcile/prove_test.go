package reconcile

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/journal"
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
		died.journal.Barrier = func(e Entry) error {
			if e.Step == journal.StepOutcome && died.journal.Action(e.Action).Verb == "back up" {
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
