package laws

import (
	"path"
	"strings"
	"testing"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/reconcile/applying"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// lawSeen: tasks end with OK and have done nothing, calls are answered with an error and
// have been carried out, and nobody else touches the node.
var lawSeen = lawProfile{rounds: 2, faults: 2, hollow: true, kills: true, edits: true, restarts: true, lived: true, waits: true, backups: true, rollbacks: true}

func TestLawSeen(t *testing.T) { laws(t, lawSeen, 20) }

func FuzzLawSeen(f *testing.F) { fuzzLaw(f, lawSeen) }

// injectHollow draws what PVE says wrongly of its own work.
func (s *scenario) injectHollow() {
	if err := s.sim.Inject(pvesim.Fault{Match: pick(s.r, "GET */lxc", "GET /cluster/resources"), Effect: "stopping", Times: -1}); err != nil {
		s.t.Fatal(err)
	}
	for range 1 + s.r.IntN(3) {
		f := pvesim.Fault{Skip: s.r.IntN(2), Effect: "hollow",
			Match: "task " + pick(s.r, "vzrestore", "vzdump", "vzsnapshot", "vzsnapshot", "vzstart", "vzshutdown", "imgdel", "vzdelsnapshot", "vzrollback", "resize")}
		if s.r.IntN(2) == 0 {
			f.Effect, f.Text = "error-after", pick(s.r, "", "bridge 'vmbr77' does not exist", "CT is locked (backup)", "detected modified configuration - file changed by other user? Try again.")
			f.Match = pick(s.r, "PUT *", "PUT */config", "POST */snapshot", "POST */vzdump", "POST */lxc", "POST */start", "DELETE *")
		}
		s.tell("fault: %s %s (after %d)", f.Match, f.Effect, f.Skip)
		if err := s.sim.Inject(f); err != nil {
			s.t.Fatal(err)
		}
	}
}

// doneMeansSeen: no line says that a call is done whose effect the world does not show. It
// asks the world itself at the moment at which the line is written.
func (w *witness) doneMeansSeen(j *reconcile.Journal, e reconcile.Entry) {
	if !w.s.profile.hollow || e.Step != journal.StepOutcome || e.Result != journal.ResultOK {
		return
	}
	operation := j.Action(e.Action)
	if operation == nil || operation.Call == nil {
		return
	}
	call, world := operation.Call, reconciletest.Read(w.s.sim)
	says := func(ok bool, what string) {
		if !ok {
			w.s.fails("seen", "it says that %s %s is done (%s %s), but %s", operation.Object, operation.Verb, call.Method, call.Path, what)
		}
	}
	archive := func(name string) (a reconciletest.Archive, there bool) {
		for key, have := range world.Archives {
			if name != "" && strings.HasSuffix(key, name) {
				return have, true
			}
		}
		return a, false
	}
	switch {
	case strings.HasSuffix(call.Path, "/vzdump"):
		_, name, _ := strings.Cut(e.Facts["archive"], ":")
		if name != "" {
			a, there := archive(path.Base(name))
			says(there && !a.Cut, "there is no whole archive "+name)
		}
		return
	case strings.Contains(call.Path, "/content/"):
		a, there := archive(path.Base(call.Path))
		if call.Method == "DELETE" {
			says(!there, "the archive is there")
		} else {
			says(there && strings.TrimSpace(a.Notes) == strings.TrimSpace(call.Params["notes"]), "the notes are others: "+a.Notes)
		}
		return
	}
	g := world.Guests[int(applying.GuestOf(call))]
	if g == nil {
		says(false, "there is no such guest")
		return
	}
	switch what := path.Base(call.Path); {
	case what == "qemu":
		says(g.Config["lock"] == "" && g.Config["scsi0"] != "", "it is locked or has no disk: "+g.Text)
	case what == "lxc":
		says(g.Config["lock"] == "" && g.Config["rootfs"] != "", "it is locked or has no rootfs: "+g.Text)
	case what == "start":
		says(g.Running, "it does not run")
	case what == "shutdown", what == "stop":
		says(!g.Running, "it runs")
	case what == "snapshot":
		section, there := g.Snaps[call.Params["snapname"]]
		says(there && section["snapstate"] == "" && g.Config["lock"] == "", "there is no whole snapshot: "+g.Text)
	case what == "rollback":
		says(g.Config["parent"] == path.Base(path.Dir(call.Path)) && g.Config["lock"] == "", "it does not stem from it: "+g.Text)
	case strings.Contains(call.Path, "/snapshot/"):
		_, there := g.Snaps[what]
		says(!there, "the snapshot is there")
	case what == "resize":
		says(strings.Contains(g.Config[call.Params["disk"]], "size="+call.Params["size"]), "its size is another: "+g.Text)
	case what == "config":
		for _, key := range []string{"cores", "memory", "swap", "hostname", "tty", "name", "sockets"} {
			want, sent := call.Params[key]
			says(!sent || g.Config[key] == want || g.Pending[key] == want, key+" is another: "+g.Text)
		}
	}
}
