package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

const scheduled = `
node: pve1
mounts:
  backup: {uuid: 6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11, path: /mnt/usb/backup, storage: usb-backup}
guests:
  dns: {vmid: 101, from: {newest: usb-backup}}
backups:
  nightly: {guests: all, storage: usb-backup, WHEN}
`

// The names of archives bear the node's local time, which in the hour that is shown
// twice in autumn means the first of the two to PVE (pve-facts 5.1, 5.3): an archive of
// the second hour looks an hour older than it is. It is not made again for that.
func TestTheHourShownTwiceDoublesNoBackup(t *testing.T) {
	for when, most := range map[string]int{`at: "02:30"`: 1, "every: 30m": 3, "every: 1h": 2} {
		t.Run(when, func(t *testing.T) {
			want := desired(t, strings.ReplaceAll(scheduled, "WHEN", when))
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				b.once(want)
				b.sim.Advance(time.Date(2027, 10, 31, 1, 2, 0, 0, time.UTC).Sub(b.sim.Now())) // 02:02 CET, for the second time
				before := strings.Count(b.sim.String(), "backups/nightly vmid=101")
				for b.sim.Now().Before(time.Date(2027, 10, 31, 2, 0, 0, 0, time.UTC)) {
					if r := b.once(want); r.ExitCode() != 0 {
						t.Fatalf("exit code %d\n%s\n%s", r.ExitCode(), b.events, b.closing(r))
					}
					b.sim.Advance(5 * time.Minute)
				}
				if made := strings.Count(b.sim.String(), "backups/nightly vmid=101") - before; made > most || made == 0 {
					t.Errorf("%d backups were made from 02:02 to 03:00, at most %d are due\n%s", made, most, b.events)
				}
			})
		})
	}
}

// Where the archives of a backup do not stay, it is not made again and again.
func TestABackupThatDoesNotStayIsNotRepeatedForEver(t *testing.T) {
	want := desired(t, strings.ReplaceAll(scheduled, "WHEN", "every: 24h"))
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		for range 5 {
			b.once(want)
			volumes, err := b.client.Read().StorageContent(t.Context(), "pve1", "usb-backup", proxmox.ContentFilter{})
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range volumes {
				if strings.Contains(v.Notes, "backups/nightly") {
					if status, body := b.sim.Do("root@pam", "DELETE", "/nodes/pve1/storage/usb-backup/content/"+v.VolID, nil); status != 200 {
						t.Fatal(status, body)
					}
				}
			}
			b.sim.Advance(10 * time.Minute)
		}
		made := 0
		for _, operation := range b.journal.Order {
			if operation.Verb == "back up" {
				made++
			}
		}
		_, text := b.plan(want)
		if made != 3 || !strings.Contains(text, "dns was backed up 3 times since") {
			t.Errorf("%d backups were made; the plan says:\n%s", made, text)
		}
		b.sim.Advance(25 * time.Hour)
		if plan, text := b.plan(want); len(plan.Actions) != 1 {
			t.Errorf("a day later it is not due again:\n%s", text)
		}
	})
}

// An archive of the second of these hours is proven by its task, when the journal is lost
// before its size was noted.
func TestAnArchiveOfTheSecondHourIsProven(t *testing.T) {
	want := desired(t, strings.ReplaceAll(scheduled, "WHEN", "every: 24h"))
	for _, at := range []time.Time{time.Date(2027, 10, 31, 0, 30, 0, 0, time.UTC), time.Date(2027, 10, 31, 1, 2, 0, 0, time.UTC)} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, pvesim.New())
			b.sim.Advance(at.Sub(b.sim.Now()))
			if err := b.sim.Inject(pvesim.Fault{Match: "PUT */content/*", Effect: "error", Times: -1}); err != nil {
				t.Fatal(err)
			}
			b.once(want)
			b.sim.Heal()
			b.sim.Advance(15 * time.Minute)
			b = newBench(t, b.sim) // another life, without a journal
			b.once(want)
			synctest.Wait()
			b.once(want)
			if made := strings.Count(b.sim.String(), "backups/nightly vmid=101"); made != 1 || strings.Count(b.sim.String(), "guest=dns host=pve1 size=") != 1 {
				t.Errorf("of an archive of %s it says\n%s\n%s", at, b.events, b.sim)
			}
		})
	}
}
