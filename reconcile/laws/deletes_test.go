package laws

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// The laws of deletions, on each DELETE of a guest as it leaves:
//
//	absent: the guest is declared absent, has the name, the number and our marker, and nothing holds it; PVE is told to
//	do nothing more;
//	printed: a plan that was printed had it;
//	lost: all that its volumes hold is in one whole archive, unless the YAML says backup: none or leaves it out.

var lawDoomed atomic.Int64

// doom lets somebody want a guest gone, or change their mind.
func (s *scenario) doom() {
	g := s.house.guests[s.r.IntN(len(s.house.guests))]
	none := s.r.IntN(5) == 0
	if slices.ContainsFunc(s.house.guests, func(other *lawWish) bool { return slices.Contains(other.needs, g.name) }) {
		return
	}
	g.absent, g.noBackup = !g.absent || s.r.IntN(3) > 0, none
	s.tell("edit: %s is absent: %t (without a backup: %t)", g.name, g.absent, none)
	s.load()
}

// print notes what a printed plan deletes.
func (s *scenario) print(p *reconcile.Plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range p.Steps() {
		if l.Effect == plan.Destroying {
			s.printed[l.Object.String()] = true
		}
	}
}

// forgetDeletions forgets what is no longer declared absent.
func (s *scenario) forgetDeletions() {
	maps.DeleteFunc(s.printed, func(name string, _ bool) bool {
		ref, err := spec.ParseRef(name)
		g := s.want.Guest(ref.Name)
		return err != nil || g == nil || !g.Absent
	})
}

// onDeletion judges the deletion of a guest.
func (w *witness) onDeletion(wr *lawWrite, vmid int) {
	lawDoomed.Add(1)
	g := wr.world.Guests[vmid]
	_, wish := w.wish(vmid)
	_, ours := w.mark(wr, vmid)
	fails := func(law, what string) { w.s.fails(law, "guest %d is deleted: %s", vmid, what) }
	switch {
	case wish == nil || !wish.Absent:
		fails("absent", "nobody has declared that")
		return
	case len(wr.params) > 1: // of which one is the digest that is not there
		fails("absent", "with more than its number")
	case g == nil || g.Config["lock"] == "destroyed":
		return // PVE refuses it
	case !ours:
		fails("absent", "it is not ours: "+g.Config["description"])
	case !strings.EqualFold(g.Config["hostname"], wish.Hostname()):
		fails("absent", "it is called "+g.Config["hostname"])
	case g.Config["protection"] == "1" || g.Config["lock"] != "" || g.Running:
		return // since it was read again; PVE refuses it
	}
	w.s.mu.Lock()
	printed := w.s.printed[wish.Ref.String()]
	w.s.mu.Unlock()
	if !printed {
		fails("printed", "no plan that was printed had it")
	}
	if !wish.NoBackup && !slices.ContainsFunc(wr.world.ArchivesOf(vmid), func(a reconciletest.Archive) bool { return holdsAll(a, g) }) {
		fails("lost", "no archive holds what it has: "+g.Text)
	}
}

// holdsAll reports whether an archive holds what every volume of a guest holds that goes into backups.
func holdsAll(a reconciletest.Archive, g *reconciletest.Guest) bool {
	if a.Cut {
		return false
	}
	for key, value := range g.Config {
		root, mount := key == "rootfs", lawMount.MatchString(key) && strings.Contains(value, "backup=1")
		if !root && !mount {
			continue
		}
		volid, options, _ := strings.Cut(value, ",")
		at := "/"
		for option := range strings.SplitSeq(options, ",") {
			if mp, ok := strings.CutPrefix(option, "mp="); ok {
				at = mp
			}
		}
		_, after, _ := strings.Cut(g.Text, "  "+volid+": ")
		data, _, _ := strings.Cut(after, " ")
		if !slices.Contains(strings.Fields(a.Text), at+"="+data) {
			return false
		}
	}
	return true
}

// deletionsEnd: in the end a guest that is to be absent is gone, or what holds it is said.
func (s *scenario) deletionsEnd(report *reconcile.Report) {
	world := reconciletest.Read(s.sim)
	for _, g := range s.house.guests {
		wish := s.want.Guest(g.name)
		if wish == nil || !wish.Absent || world.Guests[int(wish.VMID)] == nil || report.ExitCode() == 1 {
			continue
		}
		if !slices.ContainsFunc(report.Plan.Blocked, func(h reconcile.Blocked) bool { return h.Object == wish.Ref }) {
			s.fails("settles", "%s is still there, and nothing says why", wish.Ref)
		}
	}
}
