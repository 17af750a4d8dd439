package planning

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// A Planned is a plan with what making it has found out, so that a part of it can be planned again.
type Planned struct {
	Plan    *plan.Plan
	known   known
	order   sequence // of all objects
	uses    dependents
	marked  bearers
	waiting []spec.Ref // see waitingIn
}

// waitingIn are the objects of a plan that wait without anything of their own that could be sent, and the mounts and golden images of
// which something can.
func waitingIn(p *plan.Plan) (waiting []spec.Ref) {
	ready := make(map[spec.Ref]bool, len(p.Actions))
	for i := range p.Actions {
		ref := p.Actions[i].Object
		if ready[ref] = true; ref.Kind == spec.KindMount || ref.Kind == spec.KindGolden {
			waiting = append(waiting, ref)
		}
	}
	for i := range p.Deferred {
		if ref := p.Deferred[i].Object; !ready[ref] {
			waiting = append(waiting, ref)
		}
	}
	for i := range p.Blocked {
		if h := &p.Blocked[i]; h.Passing && !ready[h.Object] {
			waiting = append(waiting, h.Object)
		}
	}
	return waiting
}

// Part is what has to be planned again after something has happened to some objects: they themselves, what depends on
// them, what waits without anything of its own that could be sent, and what all these rest on. Backups that are not touched
// themselves are left to the next whole plan, for they concern many guests.
func (p *Planned) Part(touched map[spec.Ref]bool) map[spec.Ref]bool {
	part := maps.Clone(touched)
	for ref := range touched {
		for _, other := range p.uses.of[ref] {
			p.add(part, other)
		}
	}
	for _, ref := range p.waiting {
		p.add(part, ref)
	}
	if p.known.first != (spec.Ref{}) {
		p.add(part, p.known.first)
	}
	for todo := slices.Collect(maps.Keys(part)); len(todo) > 0; todo = todo[1:] {
		for _, other := range slices.Concat(p.uses.on[todo[0]], p.uses.of[todo[0]]) {
			snapshot := other.Kind == spec.KindSnapshot // what changes a guest waits for it
			if !part[other] && (snapshot || slices.Contains(p.uses.on[todo[0]], other)) {
				part[other] = true
				todo = append(todo, other)
			}
		}
	}
	maps.DeleteFunc(part, func(ref spec.Ref, _ bool) bool { return !p.has(ref) })
	return part
}

// add adds an object to a part, unless it is of a kind that concerns many others.
func (p *Planned) add(part map[spec.Ref]bool, ref spec.Ref) {
	if ref.Kind != spec.KindBackup && ref.Kind != spec.KindTest {
		part[ref] = true
	}
}

// WorksOn is the object whose guest has a queue.
func (p *Planned) WorksOn(queue string) (spec.Ref, bool) {
	id, _ := strings.CutPrefix(queue, "lxc/")
	vmid, err := proxmox.ParseVMID(id)
	if err != nil {
		return spec.Ref{}, false
	}
	ref, ok := p.uses.guest[vmid]
	return ref, ok
}

func (p *Planned) has(ref spec.Ref) bool {
	_, planned := p.uses.at[ref]
	return planned
}

// Again is the plan in which a part is planned anew, on a node of which only that part, and what happens to it, was read
// since. The rest of the plan stays as it was. ok is false where a part cannot be planned alone: deletions are counted over
// the whole plan, and what is guarded is kept from pass to pass. It is pure, and changes neither its receiver nor its arguments.
func (p *Planned) Again(want *spec.Desired, have *node.Observed, part map[spec.Ref]bool) (again *Planned, ok bool) {
	if p.concernsBackups(part) {
		return Whole(want, have), true
	}
	have.Index(want)
	q := questions.Questions{Want: want, Have: have}
	b := newBuilder(q)
	b.bearers = p.marked
	for ref := range part {
		b.plan.Objects = append(b.plan.Objects, ref)
	}
	slices.SortFunc(b.plan.Objects, func(a, b spec.Ref) int { return p.uses.at[a] - p.uses.at[b] })
	for _, ref := range b.plan.Objects {
		if ref.Kind == spec.KindRestore || ref.Kind == spec.KindGuest {
			b.plan.Guests = append(b.plan.Guests, ref)
		}
	}
	b.plan.Running = runs(q, p.has)
	known, _ := planObjects(q, b, p.known.without(part))
	again = &Planned{known: known, order: p.order, uses: p.uses}
	oddities(q, b)
	follow(b, again.known.without(nil), p.uses)
	if deletes(p.Plan) || deletes(b.plan) || len(p.Plan.Guards)+len(p.Plan.Watches)+len(b.plan.Guards)+len(b.plan.Watches) > 0 {
		return nil, false
	}
	tellNeeding(q, b.plan)
	lackForCreation(q, b.plan)
	again.Plan, again.marked = p.merge(q, b.plan, part), b.bearers
	again.waiting = append(without(p.waiting, part, func(ref *spec.Ref) spec.Ref { return *ref }), waitingIn(b.plan)...)
	return again, true
}

// concernsBackups reports whether what follows for a part depends on a backup, whose steps depend on all its guests: one in mode
// stop shuts a guest down and starts it again, after which more may be due.
func (p *Planned) concernsBackups(part map[spec.Ref]bool) bool {
	for ref := range part {
		if ref.Kind == spec.KindBackup || ref.Kind == spec.KindTest {
			return true
		}
	}
	guests := map[string]bool{}
	for ref := range part {
		if ref.Kind == spec.KindRestore || ref.Kind == spec.KindGuest {
			guests[ref.Name] = true
		}
	}
	return slices.ContainsFunc(p.Plan.Actions, func(a plan.Action) bool {
		return a.Object.Kind == spec.KindBackup && a.Effect == plan.Disruptive && guests[a.Guest]
	}) || slices.ContainsFunc(p.Plan.Deferred, func(l plan.Deferred) bool {
		return l.Object.Kind == spec.KindBackup && l.Effect == plan.Disruptive && guests[l.Guest]
	})
}

// deletes reports whether a plan deletes anything, now or later.
func deletes(p *plan.Plan) bool {
	for i := range p.Actions {
		if a := &p.Actions[i]; a.Effect == plan.Deleting || a.Cause != "" {
			return true
		}
	}
	for i := range p.Deferred {
		if l := &p.Deferred[i]; l.Effect == plan.Deleting || l.Cause != "" {
			return true
		}
	}
	return false
}

// merge puts a part that was planned anew into the plan.
func (p *Planned) merge(q questions.Questions, part *plan.Plan, in map[spec.Ref]bool) *plan.Plan {
	have, merged := q.Have, *p.Plan
	merged.Header.Refreshed, merged.Header.Requests, merged.Header.Elapsed = have.Now, have.Requests, fmt.Sprintf("%.2f s", have.Elapsed.Seconds())
	merged.Actions = p.inOrder(p.Plan.Actions, part.Actions, in)
	merged.Deferred = append(without(p.Plan.Deferred, in, func(l *plan.Deferred) spec.Ref { return l.Object }), part.Deferred...)
	merged.Blocked = append(without(p.Plan.Blocked, in, func(h *plan.Blocked) spec.Ref { return h.Object }), part.Blocked...)
	merged.Notes = append(without(p.Plan.Notes, in, func(n *plan.Note) spec.Ref { return n.Object }), part.Notes...)
	merged.Running = part.Running
	merged.Storages = rooms(have)
	merged.Seen, merged.Unending = part.Seen, p.Plan.Unending || part.Unending
	merged.Tests = nil // the whole plan has told them
	for _, ref := range part.Guests {
		vmid, _ := questions.Vmid(q, ref)
		if state := have.Guests[vmid]; state != nil && state.Config != nil && merged.Digests[Queue(vmid)] != state.Config.Digest {
			merged.Digests = maps.Clone(merged.Digests)
			merged.Digests[Queue(vmid)] = state.Config.Digest
		}
	}
	if !part.Due.IsZero() {
		merged.DueAt(part.Due.In(have.Now.Location()))
	}
	return &merged
}

// without are the entries of a list that are not of some objects.
func without[T any](all []T, in map[spec.Ref]bool, of func(*T) spec.Ref) []T {
	kept, from := make([]T, 0, len(all)+8), 0 // entries are large: they are copied as many at a time as stay together
	for i := range all {
		if in[of(&all[i])] {
			kept, from = append(kept, all[from:i]...), i+1
		}
	}
	return append(kept, all[from:]...)
}

// inOrder puts the actions of a part where its objects stand among the others, which keep their order.
func (p *Planned) inOrder(all, part []plan.Action, in map[spec.Ref]bool) []plan.Action {
	merged, from := make([]plan.Action, 0, len(all)+len(part)), 0
	for i := range all {
		object := all[i].Object
		if in[object] {
			merged, from = append(merged, all[from:i]...), i+1
			continue
		}
		for len(part) > 0 && p.order.at[part[0].Object] < p.order.at[object] {
			merged, from = append(merged, all[from:i]...), i
			merged, part = append(merged, part[0]), part[1:]
		}
	}
	merged = append(append(merged, all[from:]...), part...)
	p.order.creationsInOrder(merged)
	return merged
}
