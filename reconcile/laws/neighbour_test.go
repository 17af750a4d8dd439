package laws

import (
	"context"
	"fmt"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// besideAFailure lets all that concerns one guest fail, for ever, and looks whether the
// others converge.
func (s *scenario) besideAFailure() {
	var those []*lawWish
	for _, g := range s.house.guests {
		if (g.section == "restores" || g.vm) && !s.house.needed(g.name) && g.order == 0 {
			those = append(those, g)
		}
	}
	if len(those) == 0 {
		return
	}
	sick := pick(s.r, those...)
	for range s.r.IntN(6) { // where they have lived before, something is to be done
		s.house.edit(pick(s.r, 0, 2, 3, 4, 5, 14), s.r, s.sim.Now(), nil)
	}
	s.load()
	service := s.r.IntN(2) == 0
	healthy := s.withoutFailure(30*time.Minute, service)
	on := fmt.Sprintf("*/%s/%d/", sick.kind(), sick.vmid)
	for _, f := range []pvesim.Fault{
		{Match: fmt.Sprintf("task * %d", sick.vmid), Effect: pick(s.r, "fail", "hang", "hang", "die")},
		{Match: "POST " + on + "*", Effect: pick(s.r, "error", "lost", "refused", "lost-after")},
		{Match: "PUT " + on + "*", Effect: pick(s.r, "error", "lost", "refused", "eof")},
		{Match: "GET " + on + "pending", Effect: "error"},
	}[s.r.IntN(2) : 3+s.r.IntN(2)] {
		f.Times = -1
		s.tell("fault: %s %s for ever", f.Match, f.Effect)
		if err := s.sim.Inject(f); err != nil {
			s.t.Fatal(err)
		}
	}
	last := s.unattended(30*time.Minute, service)
	if last == nil {
		s.fails("neighbour", "no pass")
		return
	}
	fine := map[spec.Ref]bool{}
	for _, ref := range last.AsDeclared() {
		fine[ref] = true
	}
	for _, ref := range healthy {
		if (ref.Kind == spec.KindRestore || ref.Kind == spec.KindGuest) && ref.Name != sick.name && !fine[ref] {
			s.fails("neighbour", "%s does not converge because %s fails:\n%s", ref, sick.name, reconciletest.PlanText(last))
		}
	}
}

// withoutFailure is what is as declared in a twin of this world after a while in which
// nothing fails: what is not, with a failure beside it proves nothing.
func (s *scenario) withoutFailure(d time.Duration, service bool) []spec.Ref {
	world, err := s.sim.Save()
	if err != nil {
		s.t.Fatal(err)
	}
	here, told := s.here, s.story
	stored, err := here.store.Load()
	if err != nil {
		s.t.Fatal(err)
	}
	s.here = &lawPlace{name: "twin", lines: here.lines, store: &reconcile.Store{Mem: stored}, fence: here.fence}
	plan := s.unattended(d, service)
	s.here.fence.Wait()
	if s.sim, err = pvesim.Load(world); err != nil {
		s.t.Fatal(err)
	}
	s.here, s.story = here, told
	s.here.fence = s.fence()
	s.witness = newWitness(s)
	if plan == nil {
		return nil
	}
	return plan.AsDeclared()
}

// unattended lets the agent work for a while, as a service or as one run, and returns
// its last plan.
func (s *scenario) unattended(d time.Duration, service bool) (last *reconcile.Plan) {
	i := s.live(1)
	ctx, stop := context.WithTimeout(i.ctx, d)
	defer stop()
	i.cancel = stop
	if i.ctx = ctx; service {
		i.watch(ctx, 0, 3*time.Minute, func(p *reconcile.Plan) { last = p })
	} else if report, err := i.once(0); report != nil {
		if last = report.Plan; err != nil && ctx.Err() == nil {
			s.tell("the run ended with: %v", err)
		}
	}
	i.end()
	return last
}
