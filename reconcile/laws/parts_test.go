package laws

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning"
	"github.com/felhom/felhom-agent/spec"
)

// lawParts: plans of which a part is made anew.
var lawParts = lawProfile{strangers: true, lived: true, backups: true, restarts: true, edits: true, cluster: true}

// TestLawParts: a part of a plan that is planned again says of its objects, byte for byte, what a plan of all says then,
// and of all others nothing that could be sent has changed. Backups concern many guests: theirs are not in a part before they
// are about to be sent.
func TestLawParts(t *testing.T)        { partLaw(t, lawParts) }
func TestLawPartsWithVMs(t *testing.T) { partLaw(t, lawParts.withVMs()) }

func partLaw(t *testing.T, profile lawProfile) {
	t.Parallel()
	parts, dir := 0, t.TempDir()
	n, good := lives(t, 60, nil, func(t *testing.T, seed uint64) (broken, story []string) {
		s := newScenario(t, seed, dir, profile)
		parts += s.planInParts()
		return s.broken, s.story
	})
	if t.Logf("%d scenarios, %d parts", n, parts); good && *lawSeed == 0 && parts < n {
		t.Errorf("%d parts of %d scenarios: too few to say anything", parts, n)
	}
}

func FuzzLawParts(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			s := newScenario(t, seed, dir, lawParts)
			if s.planInParts(); len(s.broken) > 0 {
				t.Fatalf("%s\n%s", strings.Join(s.broken, "\n"), s)
			}
		})
	})
}

// planInParts lets things happen to single guests of a household, and returns how many parts were planned.
func (s *scenario) planInParts() (parts int) {
	s.setUp()
	i := s.live(1)
	defer s.aside.Wait()
	defer i.end()
	look := func() *node.Observed {
		source := i.agents[0].O.Source
		source.View = i.agents[0].O.Client.Read()
		have, err := source.Reader(s.want, i.journal, nil).Read(i.ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		return have
	}
	planned := planning.Whole(s.want, look())
	chain := planned // the same after parts of parts
	for range 8 {
		touched := s.touchOne(planned.Plan)
		if touched == (spec.Ref{}) {
			continue
		}
		have := look()
		whole := planning.Whole(s.want, have)
		var ok bool
		if _, ok = s.again("a part of the plan", planned, whole, have, touched); ok {
			parts++
		}
		if chain, ok = s.again("a part of a part of the plan", chain, whole, have, touched); !ok {
			chain = whole
		}
		planned = whole
	}
	return parts
}

// again plans what has happened to an object, and compares what that says with a plan of all.
func (s *scenario) again(what string, before, whole *planning.Planned, have *node.Observed, touched spec.Ref) (again *planning.Planned, ok bool) {
	part := before.Part(map[spec.Ref]bool{touched: true})
	if again, ok = before.Again(node.Typed(s.want, have), have, part); !ok {
		return nil, false
	}
	for _, ref := range whole.Plan.Objects {
		if ref.Kind == spec.KindBackup {
			continue
		}
		if part[ref] {
			s.same(ref, what, said(again.Plan, ref), said(whole.Plan, ref))
		} else if due := before.Plan.Due; due.IsZero() || have.Now.Before(due) {
			s.same(ref, what+": what can be sent for an object that nothing has touched", ready(again.Plan, ref), ready(whole.Plan, ref))
		}
	}
	next := again.Part(map[spec.Ref]bool{})
	for _, l := range again.Plan.Deferred {
		ref := l.Object
		own := slices.ContainsFunc(again.Plan.Actions, func(a plan.Action) bool { return a.Object == ref })
		if ref.Kind != spec.KindBackup && ref.Kind != spec.KindTest && !own && !next[ref] {
			s.fails("parts", "%s waits (%s), has nothing that could be sent, and is not in the next part", ref, l.Waits)
		}
	}
	return again, true
}

// touchOne lets something happen to a guest: a step of the plan is carried out, or somebody does something to it.
func (s *scenario) touchOne(p *plan.Plan) spec.Ref {
	if calls := slices.DeleteFunc(slices.Clone(p.Actions), func(a plan.Action) bool { return a.Call == nil || a.Effect == plan.Deleting }); len(calls) > 0 && s.r.IntN(3) > 0 {
		a := calls[s.r.IntN(len(calls))]
		s.person(a.Call.Method, a.Call.Path, a.Call.Params)
		s.sim.Advance(5 * time.Minute)
		return a.Object
	}
	g := s.house.guests[s.r.IntN(len(s.house.guests))]
	declared := s.want.Guest(g.name)
	if declared == nil {
		return spec.Ref{}
	}
	path := g.path()
	switch s.r.IntN(4) {
	case 0:
		s.person("POST", path+"/status/start", nil)
	case 1:
		s.person("POST", path+"/status/stop", nil)
	case 2:
		s.person(map[bool]string{false: "PUT", true: "POST"}[g.vm], path+"/config", map[string]string{"cores": fmt.Sprint(1 + s.r.IntN(3))})
	case 3:
		s.person("POST", path+"/snapshot", map[string]string{"snapname": fmt.Sprintf("mine%d", s.r.IntN(1000))})
	}
	s.sim.Advance(time.Minute)
	return declared.Ref
}

func (s *scenario) same(ref spec.Ref, what, have, want string) {
	if have != want {
		s.fails("parts", "%s: %s says\n%s\nand the plan of all\n%s", ref, what, have, want)
	}
}

// said is all that a plan says of an object.
func said(p *plan.Plan, ref spec.Ref) string {
	var all []any
	for _, a := range p.Actions {
		if a.Object == ref {
			all = append(all, a)
		}
	}
	for _, l := range p.Deferred {
		if l.Object == ref {
			all = append(all, l)
		}
	}
	for _, h := range p.Blocked {
		if h.Object == ref {
			all = append(all, h)
		}
	}
	for _, n := range p.Notes {
		if n.Object == ref {
			all = append(all, n)
		}
	}
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// ready is what could be sent for an object.
func ready(p *plan.Plan, ref spec.Ref) string {
	var calls []string
	for _, a := range p.Actions {
		if a.Object == ref && a.Call != nil {
			calls = append(calls, proxmox.Call{Method: a.Call.Method, Path: a.Call.Path}.String())
		}
	}
	return strings.Join(calls, "\n")
}
