package laws

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// The laws of data and of retention where backups go to a Proxmox Backup Server, whose
// administrator does what such people do: another API token, another role, maintenance, a
// prune job, verifications, a full datastore.
var (
	lawServerData      = lawProfile{rounds: 2, people: 2, faults: 2, lose: true, edits: true, waits: true, servers: true}
	lawServerRetention = lawProfile{rounds: 3, people: 1, waits: true, backups: true, lived: true, servers: true}
)

func TestLawServerData(t *testing.T)      { laws(t, lawServerData, 30) }
func TestLawServerRetention(t *testing.T) { laws(t, lawServerRetention, 25) }

func FuzzLawServerData(f *testing.F)      { fuzzLaw(f, lawServerData) }
func FuzzLawServerRetention(f *testing.F) { fuzzLaw(f, lawServerRetention) }

const (
	lawServerToken = "felhom@pbs!pve"
	lawNewToken    = "felhom@pbs!new"
)

// onServer moves backups of a household to a backup server.
func (h *lawHousehold) onServer(r *rand.Rand) {
	if len(h.backups) == 0 {
		h.backups = append(h.backups, &lawBackup{name: "b0", guests: "all", every: 6 * (1 + r.IntN(4)), keep: pick(r, "1", "2", "")})
	}
	for i, b := range h.backups {
		if i == 0 || r.IntN(2) == 0 {
			b.storage = "pbs"
			b.keep = pick(r, b.keep, "server")
		}
	}
	for _, g := range h.guests {
		g.from = strings.ReplaceAll(g.from, "newest: usb-backup", "newest: "+pick(r, "pbs", "pbs", "usb-backup"))
	}
}

// addServer sets the backup server up, and the storage.
func (s *scenario) addServer() {
	role := pick(s.r, "DatastorePowerUser", "DatastorePowerUser", "DatastoreBackup")
	s.server = s.sim.AddDatastore("192.0.2.9", "home", 1<<40, map[string]string{lawServerToken: role, lawNewToken: role})
	s.login(lawServerToken)
}

// login adds the storage again with another API token. It then shows other backups.
func (s *scenario) login(token string) {
	s.sim.Do("root@pam", "DELETE", "/storage/pbs", nil)
	s.person("POST", "/storage", map[string]string{"storage": "pbs", "type": "pbs", "server": "192.0.2.9", "datastore": "home", "username": token})
}

// loseSight is another token, where the agent still knows what it has seen. Where it does not,
// nobody can tell an empty server from one that shows nothing.
func (s *scenario) loseSight() {
	if s.profile.servers && !s.forgot && s.r.IntN(2) == 0 {
		s.login(lawNewToken)
	}
}

// loseAllButBackups takes a guest away with its volumes, the agent's state, and the sight of the
// server, after nights with backups. Only another guest shows then that there must be backups:
// it reports whether there is one, and where not it takes nothing. Nobody touches that guest.
func (s *scenario) loseAllButBackups() bool {
	s.sim.Advance(50 * time.Hour) // two of each schedule
	i := s.live(1)
	if _, err := i.once(0); err != nil {
		s.fails("settles", "the run after a night fails: %v", err)
	}
	i.end()
	world := reconciletest.Read(s.sim)
	if !slices.ContainsFunc(s.house.guests[1:], func(g *lawWish) bool { return s.longOnServer(world, g) }) {
		return false
	}
	lost := s.house.guests[0] // the one that is surely made from something
	s.tell("the config of %d is lost, with its volumes, and the agent's state", lost.vmid)
	s.witness.excuse(lost.vmid)
	s.sim.LoseConfig(lost.vmid)
	for _, volid := range reconciletest.Read(s.sim).Loose(lost.vmid) {
		storage, _, _ := strings.Cut(volid, ":")
		s.person("DELETE", "/nodes/pve1/storage/"+storage+"/content/"+volid, nil)
	}
	s.here.forget()
	s.forgot = true
	s.login(lawNewToken)
	s.profile.people, s.profile.edits = 0, false
	return true
}

// longOnServer reports whether a guest has been managed for two days and has a backup on the server.
func (s *scenario) longOnServer(world *reconciletest.World, g *lawWish) bool {
	have := world.Guests[g.vmid]
	if have == nil {
		return false
	}
	m, ok := reconciletest.MarkOf(have.Config["description"])
	born, err := time.Parse(time.RFC3339, m.Born)
	return ok && err == nil && m.Owner == "pve1" && m.Object == g.name && s.sim.Now().Sub(born) > 48*time.Hour &&
		slices.ContainsFunc(world.ArchivesOf(g.vmid), func(a reconciletest.Archive) bool { return strings.Contains(a.Key, "ct/") })
}

// serverDeeds draws what happens to the server in a round.
func (s *scenario) serverDeeds() (deeds []lawDeed) {
	if !s.profile.servers {
		return nil
	}
	after := func() time.Duration { return pick(s.r, time.Second, 20*time.Second, time.Minute, 3*time.Minute) }
	for range s.r.IntN(3) {
		kind, n := s.r.IntN(8), s.r.IntN(1<<20)
		deeds = append(deeds, lawDeed{after(), func() { s.serverDeed(kind, n) }})
	}
	if s.r.IntN(2) == 0 {
		deeds = append(deeds, lawDeed{after(), s.serverCalm})
	}
	return deeds
}

func (s *scenario) serverDeed(kind, n int) {
	g := s.house.guests[n%len(s.house.guests)]
	s.tell("the server: deed %d (%d)", kind, g.vmid)
	switch kind {
	case 0:
		s.server.SetMaintenance(pick(s.r, "read-only: a new disk comes", "offline"))
	case 1:
		s.server.SetDown(true)
	case 2:
		s.server.Prune(1 + n%2)
	case 3:
		s.server.Verify(g.vmid, pick(s.r, "ok", "failed"))
	case 4:
		s.server.CutOff(g.vmid, lawServerToken)
	case 5:
		s.server.Fill(1 << 20)
	case 6:
		role := pick(s.r, "DatastorePowerUser", "DatastoreBackup")
		s.server.SetRole(lawServerToken, role)
		s.server.SetRole(lawNewToken, role)
		s.roleChanged = s.sim.Now()
	case 7:
		if !s.forgot {
			s.login(pick(s.r, lawNewToken, lawServerToken))
		}
	}
}

// serverCalm ends what passes by itself.
func (s *scenario) serverCalm() {
	if s.server == nil {
		return
	}
	s.server.SetMaintenance("")
	s.server.SetDown(false)
	s.server.Fill(1 << 39)
}

// askedAgain: a server that does not let archives be deleted is not asked again and again.
func (w *witness) askedAgain(wr *lawWrite) {
	if w.s.forgot || !strings.Contains(wr.path, "/content/pbs:") {
		return
	}
	for _, t := range w.list() {
		ended := time.Unix(t.EndTime, 0)
		if t.Type == "imgdel" && strings.HasSuffix(t.ID, "@pbs") && t.owner() == lawToken && strings.Contains(t.Status, "permission check failed") && ended.After(w.s.roleChanged) && wr.looked.Sub(ended) > time.Minute {
			w.s.fails("retention", "%s %s, and the server has refused to delete at %s", wr.method, wr.path, ended.Format(time.RFC3339))
			return
		}
	}
}

// keptThere: what the server keeps is not deleted from here.
func (w *witness) keptThere(wr *lawWrite, object string) {
	if b := w.want.Backups[strings.TrimPrefix(object, "backups/")]; b != nil && b.ServerKeeps {
		w.s.fails("retention", "%s %s, although %s says keep: server", wr.method, wr.path, object)
	}
}
