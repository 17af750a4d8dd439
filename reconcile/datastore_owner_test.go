package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// A backup group that belongs to another user of the server: one failed task, then one blocked
// line each night with the fix, until the storage logs in otherwise or somebody asks for it.
func TestBackupsOfAnotherOwner(t *testing.T) {
	for name, owned := range map[string]struct {
		end func(b *serverBench)
		ask bool
	}{
		"the right token again": {end: func(b *serverBench) { b.login(serverToken) }},
		"asked for by name":     {end: func(b *serverBench) { b.store.Own(101, otherToken); b.store.Own(110, otherToken) }, ask: true},
		"the owner was changed": {end: func(b *serverBench) { b.store.Own(101, otherToken); b.store.Own(110, otherToken) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := serverDesired(t, "server", "")
				b := newServerBench(t, "DatastoreBackup")
				b.once(want)
				b.login(otherToken)
				dumps := func() (n int) {
					for _, a := range b.journal.Order {
						if a.Verb == "back up" {
							n++
						}
					}
					return n
				}
				before := dumps()
				for night := range 4 {
					time.Sleep(25 * time.Hour)
					b.restart()
					report := b.once(want)
					if n := dumps() - before; n != 2 { // one for each guest, all nights together
						t.Fatalf("night %d: %d backups were begun\n%s", night, n, b.events)
					}
					if code := report.ExitCode(); night > 0 && code != 3 {
						t.Errorf("night %d: exit code %d\n%s", night, code, b.closing(report))
					}
				}
				p, text := b.plan(want)
				held := blockedBy(p, "backups/nightly")
				if len(held) != 1 || len(p.Actions) > 0 || !strings.Contains(held[0].Reason, "the backups of web and dns on pbs belong to another user of the backup server: ") && !strings.Contains(held[0].Reason, "the backups of dns and web on pbs belong to another user of the backup server: ") ||
					!strings.Contains(held[0].Reason, otherToken+" != "+serverToken) || !strings.Contains(text, "change-owner") || !strings.Contains(text, "then: felhom-agent --once --only backups/nightly") {
					t.Errorf("%+v\n%s", held, text)
				}
				owned.end(b)
				b.restart()
				time.Sleep(20 * time.Minute)
				if owned.ask {
					o := b.agent.O
					o.Only = []spec.Ref{{Kind: spec.KindBackup, Name: "nightly"}}
					b.agent = New(o)
				}
				if report := b.once(want); report.ExitCode() != 0 || dumps()-before != 4 {
					t.Errorf("afterwards: exit code %d, %d backups\n%s\n%s", report.ExitCode(), dumps()-before, b.events, b.closing(report))
				}
			})
		})
	}
}

// All is lost: the guests, the agent's state, and the sight of the backups. A server that is new
// looks the same, so a guest whose backups may lie there is not made empty unless somebody says
// so; a backup that this user may make shows that the server is as it says.
func TestEmptyServerOfWhichNothingIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := serverDesired(t, "7", "")
		b := newServerBench(t, "DatastorePowerUser")
		b.once(want)
		b.sim.WriteData(110, "rootfs", "photos")
		time.Sleep(25 * time.Hour)
		b.once(want)
		data := b.sim.Data()
		b.lose(110)
		b.as("POST", "/nodes/pve1/lxc/101/status/stop")
		b.as("DELETE", "/nodes/pve1/lxc/101")
		b.login(otherToken)
		b.reborn(state.Stored{Format: 1})
		p, text := b.plan(want)
		held := blockedBy(p, "restores/web")
		if len(held) != 1 || !strings.Contains(held[0].Reason, "storage pbs lists no backup and did not before, as far as is known: it is new, or its backups belong to another user; a storage lists only") ||
			!strings.Contains(text, "if it is new: despite: TIME") {
			t.Fatalf("%+v\n%s", held, text)
		}
		b.once(want)
		if b.exists(110) {
			t.Fatal("an empty guest was made")
		}
		b.login(serverToken)
		time.Sleep(2 * time.Minute)
		b.restart()
		b.once(want)
		if !b.exists(110) || !strings.Contains(b.sim.Data(), line110(data)) {
			t.Errorf("with the right token: %v\n%s", b.sim.Data(), b.events)
		}
	})
}

// A guest that this agent made, and that is gone from node and server: the server comes first,
// for who asks for the guest by name meets it next.
func TestServerComesBeforeTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := serverDesired(t, "7", "")
		b := newServerBench(t, "DatastorePowerUser")
		b.once(want)
		b.lose(110)
		b.login(otherToken)
		time.Sleep(2 * time.Minute)
		p, text := b.plan(want)
		held := blockedBy(p, "restores/web")
		if len(held) != 2 || !strings.Contains(held[0].Reason, "is no longer listed on pbs") || !strings.Contains(held[1].Reason, "was made by this agent") {
			t.Errorf("%+v\n%s", held, text)
		}
	})
}

// line110 is the line about the data of guest 110.
func line110(data string) string {
	for line := range strings.Lines(data) {
		if strings.Contains(line, "110") {
			return line
		}
	}
	return "guest 110 has no data"
}
