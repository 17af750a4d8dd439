package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

const (
	serverToken = "felhom@pbs!pve"
	otherToken  = "felhom@pbs!new"
)

// A serverBench is a node that is backed up to a datastore of a Proxmox Backup Server.
type serverBench struct {
	*bench
	store *pvesim.Datastore
}

// newServerBench adds a datastore, and a storage that logs in there with serverToken.
func newServerBench(t *testing.T, role string, pairs ...string) *serverBench {
	sim := pvesim.New()
	store := sim.AddDatastore("192.0.2.9", "home", 1<<40, map[string]string{serverToken: role, otherToken: role})
	b := &serverBench{newBench(t, sim), store}
	b.as("DELETE", "/storage/usb-backup") // whose disk is away
	b.login(serverToken, pairs...)
	return b
}

// login adds the storage again, with another user.
func (b *serverBench) login(user string, pairs ...string) {
	b.t.Helper()
	if status, _ := b.sim.Do("root@pam", "GET", "/storage/pbs", nil); status == 200 {
		b.as("DELETE", "/storage/pbs")
	}
	b.as("POST", "/storage", append([]string{"storage=pbs", "type=pbs", "server=192.0.2.9", "datastore=home", "username=" + user}, pairs...)...)
}

// reborn is the same node with a new agent: its journal is lost, its state is what is given.
func (b *serverBench) reborn(stored state.Stored) {
	events := b.events
	b.bench = newBench(b.t, b.sim)
	b.events = events
	if err := b.agent.O.Store.Change(func(s *state.Stored) { *s = stored }); err != nil {
		b.t.Fatal(err)
	}
}

func (b *serverBench) stored() state.Stored {
	b.t.Helper()
	stored, err := b.agent.O.Store.Load()
	if err != nil {
		b.t.Fatal(err)
	}
	return stored
}

// lose takes a guest away with its volumes, as a disk that dies does.
func (b *serverBench) lose(vmid int) {
	b.t.Helper()
	b.sim.LoseConfig(vmid)
	b.as("DELETE", fmt.Sprintf("/nodes/pve1/storage/local-lvm/content/local-lvm:vm-%d-disk-0", vmid))
}

func (b *serverBench) exists(vmid int) bool {
	status, _ := b.sim.Do("root@pam", "GET", fmt.Sprintf("/nodes/pve1/lxc/%d/config", vmid), nil)
	return status == 200
}

// blockedBy are the reasons why an object is blocked.
func blockedBy(p *Plan, object string) (all []plan.Blocked) {
	for _, h := range p.Blocked {
		if h.Object.String() == object {
			all = append(all, h)
		}
	}
	return all
}

const serverHouse = `
golden:
  alpine:
    vmid: 9000
    template: local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz
    rootfs: {storage: local-lvm, size: 1G}
    publish: {storage: local, revision: 1}
restores:
  web: {vmid: 110, from: [{newest: pbs}, {golden: alpine}], storage: local-lvm, state: running%s}
guests:
  dns: {vmid: 101, config: {memory: 512MiB}, state: running}
backups:
  nightly: {guests: all, storage: pbs, every: 24h, keep: %s}
`

func serverDesired(t *testing.T, keep, more string) *spec.Desired {
	return desired(t, fmt.Sprintf(serverHouse, more, keep))
}

// A storage that was added again with another API token lists nothing. That is not taken for
// "there are no backups": no empty guest is made before somebody says so.
func TestListOfAnotherTokenProvesNothing(t *testing.T) {
	for name, stateLost := range map[string]bool{"the state knows of backups": false, "an older guest must have one": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := serverDesired(t, "7", "")
				b := newServerBench(t, "DatastorePowerUser")
				if report := b.once(want); report.ExitCode() != 0 {
					t.Fatalf("%s\n%s", b.events, b.closing(report))
				}
				b.sim.WriteData(110, "rootfs", "photos")
				time.Sleep(72 * time.Hour)
				b.once(want)
				stored := b.stored()
				if stateLost {
					stored = state.Stored{Format: 1}
				}
				data := b.sim.Data()
				b.lose(110)
				b.login(otherToken)
				b.reborn(stored)
				blocked := func(want *spec.Desired, why ...string) {
					t.Helper()
					p, text := b.plan(want)
					held := blockedBy(p, "restores/web")
					if len(held) != 1 || slices.ContainsFunc(why, func(s string) bool { return !strings.Contains(text, s) }) {
						t.Fatalf("it is not blocked, or not by %v:\n%s", why, text)
					}
					b.once(want)
					if b.exists(110) {
						t.Fatal("an empty guest was made")
					}
				}
				why := "is no longer listed on pbs"
				if stateLost {
					why = "although dns is managed since"
				}
				blocked(want, why, "felhom@pbs!new", "pvesm set pbs --username", "despite: ")
				b.sim.Advance(time.Minute)
				blocked(serverDesired(t, "7", `, despite: "2026-11-22T18:00:00+01:00"`), why) // of before its backups

				b.comesBack(want, stored, data)
				now := b.sim.Now().UTC().Format(time.RFC3339)
				if b.once(serverDesired(t, "7", fmt.Sprintf(`, despite: %q`, now))); !b.exists(110) {
					_, text := b.plan(want)
					t.Errorf("after despite it is not made:\n%s\n%s", b.events, text)
				}
			})
		})
	}
}

// comesBack logs in with the right token, in a copy of the world.
func (b *serverBench) comesBack(want *spec.Desired, stored state.Stored, data string) {
	b.t.Helper()
	text, err := b.sim.Save()
	if err != nil {
		b.t.Fatal(err)
	}
	sim, err := pvesim.Load(text)
	if err != nil {
		b.t.Fatal(err)
	}
	again := &serverBench{newBench(b.t, sim), sim.Datastore("home")}
	again.login(serverToken)
	again.reborn(stored)
	if again.once(want); sim.Data() != data {
		b.t.Errorf("it did not come back:\n%s\nwant\n%s\n%s", sim.Data(), data, again.events)
	}
}

// An older backup elsewhere is not restored while the newest is hidden.
func TestHiddenBackupKeepsOlderOnesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := desired(t, `
guests:
  dns: {vmid: 101, from: [{newest: pbs}, {newest: local}], storage: local-lvm, config: {memory: 512MiB}, state: running}
backups:
  old: {guests: all, storage: local, every: 52w}
  new: {guests: all, storage: pbs, every: 24h}
`)
		b := newServerBench(t, "DatastoreBackup")
		b.once(want)
		time.Sleep(48 * time.Hour)
		b.once(want)
		stored := b.stored()
		if _, known := stored.Servers["pbs"]; !known {
			t.Errorf("the state does not know that pbs had backups: %+v", stored)
		}
		b.lose(101)
		b.login(otherToken)
		b.reborn(stored)
		if p, text := b.plan(want); len(blockedBy(p, "guests/dns")) != 1 || len(p.Actions) > 0 {
			t.Errorf("the older one is taken:\n%s", text)
		}
	})
}

// A fresh household is not kept from beginning: there is nothing that could be hidden.
func TestFreshHouseholdOnAnEmptyServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := serverDesired(t, "server", "")
		b := newServerBench(t, "DatastoreBackup")
		if report := b.once(want); report.ExitCode() != 0 || !b.exists(110) || len(b.store.Snapshots()) != 2 {
			t.Errorf("%d\n%s\n%v", report.ExitCode(), b.events, b.store.Snapshots())
		}
	})
}

// A role that may not delete: keep: server converges every night, and what the server prunes
// is no error; a number gives one blocked line, however many nights pass.
func TestServerThatDoesNotLetDelete(t *testing.T) {
	nights := func(keep string, each func(b *serverBench, night int, report *Report)) {
		synctest.Test(t, func(t *testing.T) {
			want := serverDesired(t, keep, "")
			b := newServerBench(t, "DatastoreBackup")
			for night := range 6 {
				each(b, night, b.once(want))
				time.Sleep(24*time.Hour + time.Minute)
				b.restart() // as a timer runs it
			}
		})
	}
	nights("server", func(b *serverBench, night int, report *Report) {
		p, text := b.plan(serverDesired(t, "server", ""))
		if report.ExitCode() != 0 || p.ExitCode() != 0 || len(b.store.Snapshots()) != min(2*night+2, 6+2*bit(night == 3)) {
			t.Errorf("night %d: %d %d %v\n%s\n%s", night, report.ExitCode(), p.ExitCode(), b.store.Snapshots(), b.events, text)
		}
		if n := strings.Count(text, "the server decides what is kept"); n != 1 {
			t.Errorf("night %d: it is said %d times:\n%s", night, n, text)
		}
		if strings.Contains(text, "never deleted") {
			t.Errorf("night %d: the server decides what is kept, and it says that nothing is deleted:\n%s", night, text)
		}
		if night >= 3 {
			b.store.Prune(2)
		}
	})
	deletes := 0
	nights("2", func(b *serverBench, night int, report *Report) {
		p, text := b.plan(serverDesired(t, "2", ""))
		held := blockedBy(p, "backups/nightly")
		if night < 2 && (report.ExitCode() != 0 || len(held) > 0) {
			t.Errorf("night %d: %d\n%s", night, report.ExitCode(), text)
		}
		if night >= 2 && (len(p.Blocked) != 1 || len(held) != 1 || !strings.Contains(held[0].Reason, "does not allow deleting") || !slices.ContainsFunc(held[0].Fix, func(s string) bool { return strings.HasSuffix(s, "keep: server") })) {
			t.Errorf("night %d:\n%s\n%s", night, text, b.events)
		}
		if night > 2 && report.ExitCode() != 3 {
			t.Errorf("night %d: exit code %d", night, report.ExitCode())
		}
		if said := b.events.String(); night == 2 && (strings.Contains(said, "tried again") || !strings.Contains(said, "not asked again for 30 days, unless you ask for it: felhom-agent --once --only backups/nightly")) {
			t.Errorf("what comes after the refusal:\n%s", said)
		}
		deletes = 0
		for _, a := range b.journal.Order {
			if a.Verb == "delete archive" {
				deletes++
			}
		}
		if len(b.store.Snapshots()) != 2*night+2 {
			t.Errorf("night %d: %v", night, b.store.Snapshots())
		}
	})
	if deletes != 1 {
		t.Errorf("the server was asked %d times to delete", deletes)
	}
}

// restart is a new process with the same state directory.
func (b *serverBench) restart() {
	o := b.agent.O
	b.agent = New(o)
}

func bit(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
