package reconcile

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

// What a backup server refuses for now is blocked in its own words, with one failed task
// however many guests there are, and goes on by itself.
func TestServerInTrouble(t *testing.T) {
	for name, c := range map[string]struct {
		begin, end func(d *pvesim.Datastore)
		says       string
		passes     bool
		dumps      int // tasks that fail
	}{
		"read-only": {func(d *pvesim.Datastore) { d.SetMaintenance("read-only: a new disk comes") }, func(d *pvesim.Datastore) { d.SetMaintenance("") },
			"the datastore of storage pbs is in maintenance: read-only maintenance mode: a new disk comes", true, 1},
		"offline": {func(d *pvesim.Datastore) { d.SetMaintenance("offline") }, func(d *pvesim.Datastore) { d.SetMaintenance("") },
			"storage pbs is not active: its backup server did not answer within 7 s, its datastore is offline", true, 0},
		"down": {func(d *pvesim.Datastore) { d.SetDown(true) }, func(d *pvesim.Datastore) { d.SetDown(false) },
			"storage pbs is not active: its backup server did not answer within 7 s", true, 0},
		"full": {func(d *pvesim.Datastore) { d.Fill(1 << 20) }, func(d *pvesim.Datastore) { d.Fill(1 << 39) },
			"the datastore of storage pbs is full: inserting chunk on store 'home' failed", false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := serverDesired(t, "server", "")
				b := newServerBench(t, "DatastoreBackup")
				b.once(want)
				time.Sleep(25 * time.Hour)
				c.begin(b.store)
				before := len(b.journal.Order)
				report := b.once(want)
				held := blockedBy(report.Plan, "backups/nightly")
				if len(report.Plan.Blocked) != 1 || len(held) != 1 || !strings.HasPrefix(held[0].Reason, c.says) || held[0].Passing != c.passes || len(held[0].Fix) == 0 {
					t.Errorf("%+v\n%s", report.Plan.Blocked, b.events)
				}
				if n := len(b.journal.Order) - before; n != c.dumps {
					t.Errorf("%d operations were begun, want %d\n%s", n, c.dumps, b.events)
				}
				if code := report.ExitCode(); c.passes && code != 3 {
					t.Errorf("exit code %d\n%s", code, b.events)
				}
				c.end(b.store)
				time.Sleep(time.Hour)
				b.restart()
				if report := b.once(want); report.ExitCode() != 0 || len(b.store.Snapshots()) != 4 {
					t.Errorf("afterwards: %d %v\n%s", report.ExitCode(), b.store.Snapshots(), b.events)
				}
			})
		})
	}
}

// Times at which a slow server is only slow: PVE's own limits, and that of its proxy.
func TestServerThatListsTooSlowly(t *testing.T) {
	for fault, says := range map[pvesim.Fault]string{
		{Match: "GET */storage/pbs/content", Effect: "error", Text: "error listing snapshots - 500 read timeout", Times: -1}:                                       "the backup server of storage pbs does not list its backups in time",
		{Match: "GET */storage/pbs/content", Effect: "lost", Times: -1}:                                                                                            "the backup server of storage pbs does not list its backups in time",
		{Match: "GET */storage/pbs/content", Effect: "error", Text: "error listing snapshots - 500 Internal Server Error: offline maintenance mode: x", Times: -1}: "the datastore of storage pbs is in maintenance",
	} {
		synctest.Test(t, func(t *testing.T) {
			want := serverDesired(t, "server", "")
			b := newServerBench(t, "DatastoreBackup")
			b.once(want)
			if err := b.sim.Inject(fault); err != nil {
				t.Fatal(err)
			}
			p, text := b.plan(want)
			if held := blockedBy(p, "backups/nightly"); len(held) != 1 || !strings.HasPrefix(held[0].Reason, says) || !held[0].Passing {
				t.Errorf("%+v\n%s", fault, text)
			}
			b.sim.Heal()
			if p, text := b.plan(want); p.ExitCode() != 0 {
				t.Errorf("healed:\n%s", text)
			}
		})
	}
}

// An archive that is encrypted with a key that this node does not have is not restored, and
// no older one in its place; with the key it is.
func TestArchiveWithoutItsKey(t *testing.T) {
	const key = "64:d3:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14:15:16:17:18:19:1a:1b:1c:1d:1e"
	for _, from := range []string{"{newest: pbs}", "{archive: %s}"} {
		synctest.Test(t, func(t *testing.T) {
			house := func(from string) *spec.Desired {
				return desired(t, `
guests:
  dns: {vmid: 101, from: `+from+`, storage: local-lvm, config: {memory: 512MiB}, state: running}
backups:
  nightly: {guests: all, storage: pbs, every: 24h, keep: server, change-detection-mode: metadata}
`)
			}
			b := newServerBench(t, "DatastoreBackup", "encryption-key="+key)
			b.once(house("{newest: pbs}"))
			if _, text := b.plan(house("{newest: pbs}")); !strings.Contains(text, "backups are encrypted with the key 64:d3:01:02:03:04:05:06") {
				t.Errorf("the plan does not say so:\n%s", text)
			}
			for _, a := range b.journal.Order {
				if a.Verb == "back up" && a.Call.Params["pbs-change-detection-mode"] != "metadata" {
					t.Errorf("%v", a.Call.Params)
				}
			}
			volid := "pbs:backup/" + strings.Fields(strings.TrimPrefix(b.store.Snapshots()[0], "|"))[0]
			want := house(strings.ReplaceAll(from, "%s", volid))
			stored := b.stored()
			b.lose(101)
			for _, with := range []string{"", "encryption-key=aa:bb:cc:dd:ee:ff:00:11:22"} {
				b.login(serverToken, with)
				b.reborn(stored)
				p, text := b.plan(want)
				held := blockedBy(p, "guests/dns")
				if len(held) != 1 || len(p.Actions) > 0 || !strings.Contains(held[0].Reason, "is encrypted with the key 64:d3") || !strings.Contains(held[0].Fix[0], "--encryption-key FILE") {
					t.Errorf("%s, with %q:\n%s", from, with, text)
				}
				b.once(want)
				if b.exists(101) {
					t.Fatal("it was made")
				}
			}
			b.login(serverToken, "encryption-key="+key)
			time.Sleep(2 * time.Minute) // storages are asked for once a minute
			if report := b.once(want); report.ExitCode() != 0 || !b.exists(101) {
				t.Errorf("with the key: %d\n%s", report.ExitCode(), b.events)
			}
		})
	}
}

// An archive that was cut off is named, and neither restored nor counted as the newest; the
// plan of a restore says when the server verified what it takes.
func TestUnfinishedArchivesAndAgeOfTheVerification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := desired(t, `
guests:
  dns: {vmid: 101, from: {newest: pbs}, storage: local-lvm, config: {memory: 512MiB}, state: running}
backups:
  yearly: {guests: all, storage: pbs, every: 52w, keep: server}
`)
		b := newServerBench(t, "DatastoreBackup", "namespace=")
		b.once(want)
		b.store.Verify(101, "ok")
		time.Sleep(41*24*time.Hour + time.Hour)
		b.store.CutOff(101, serverToken)
		cut := b.store.Snapshots()[1]
		p, text := b.plan(want)
		if p.ExitCode() != 0 || !strings.Contains(text, "of dns is unfinished") || !strings.Contains(text, strings.Fields(strings.TrimPrefix(cut, "|"))[0]) {
			t.Errorf("%d\n%s", p.ExitCode(), text)
		}
		data, stored := b.sim.Data(), b.stored()
		b.lose(101)
		b.reborn(stored)
		if _, text := b.plan(want); !strings.Contains(text, "on the backup server: verified 41 days ago") || !strings.Contains(text, "is unfinished") {
			t.Errorf("%s", text)
		}
		if report := b.once(want); report.ExitCode() != 0 || b.sim.Data() != data {
			t.Errorf("%d\n%s\n%s", report.ExitCode(), b.events, b.sim.Data())
		}
		b.store.Verify(101, "failed")
		if p, text := b.plan(want); !strings.Contains(fmt.Sprint(p.Actions), "back up") {
			t.Errorf("what failed its verification counts:\n%s", text)
		}
	})
}

// keep: server is for a backup server.
func TestKeepServerElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := desired(t, "guests:\n  dns: {vmid: 101, config: {memory: 512MiB}}\nbackups:\n  a: {guests: all, storage: local, every: 24h, keep: server}\n")
		b := newServerBench(t, "DatastoreBackup")
		if p, text := b.plan(want); len(blockedBy(p, "backups/a")) != 1 || !strings.Contains(text, "keep: server is for a storage of type pbs, and local is of type dir") {
			t.Errorf("%s", text)
		}
	})
}
