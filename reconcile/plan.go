package reconcile

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// planner holds the two inputs of planning and what it has found so far. Its
// methods are pure: they read the inputs and add to the plan.
type planner struct {
	want *spec.Desired
	have *Observed
	plan *Plan
	// creating are the guests that this plan makes or still has to make, and
	// mounting the mounts that it is about to mount: what others wait for.
	creating map[string]bool
	mounting map[string]bool
	unmet    map[string]string // names of guests that will not run soon, with why
	// starting is the guest of the lowest startup order that this agent is about to
	// start, and startingAt that order.
	starting   *spec.Guest
	startingAt int
	late       map[spec.Ref]bool // backups of which a missed slot has been noted
	lost       map[string]Marker // guests whose marker was lost, with what it said
	surplus    []surplus
	shortages  []shortage // of the backup object that is being planned
}

// surplus is how many snapshots or archives of a guest an object's keep does not keep: of
// how many a pass deletes but a few.
type surplus struct {
	object spec.Ref
	n      int
}

// NewPlan compares what is wanted with what there is. It is pure: no I/O, no clock,
// and the same inputs give the same bytes.
func NewPlan(want *spec.Desired, have *Observed) *Plan {
	p := &planner{
		want: want, have: have,
		plan:     &Plan{Format: 1, Actions: []Action{}, Laters: []Later{}, Held: []Held{}, Notes: []Note{}, Objects: []spec.Ref{}},
		creating: map[string]bool{}, mounting: map[string]bool{}, unmet: map[string]string{}, late: map[spec.Ref]bool{}, lost: map[string]Marker{},
	}
	have.index()
	p.plan.Header = PlanHeader{
		Node: have.Node, Version: have.Version, Looked: have.Now, Requests: have.Requests,
		Files: len(want.Files), Hash: want.Hash, Undeclared: have.undeclared(want),
	}
	for _, ref := range want.Refs() {
		if have.Scope != nil && !have.Scope[ref] {
			continue
		}
		if node := p.elsewhere(ref); node != "" {
			p.plan.Header.Elsewhere = append(p.plan.Header.Elsewhere, ref.String()+" on "+node)
			continue
		}
		p.plan.Objects = append(p.plan.Objects, ref)
	}
	if deliberate.unordered {
		all := map[spec.Ref]bool{}
		for _, ref := range p.plan.Objects {
			all[ref] = true
		}
		p.plan.Objects = nil
		for ref := range all {
			p.plan.Objects = append(p.plan.Objects, ref)
		}
	}
	for _, ref := range p.planningOrder() {
		why, cure := p.frozen(ref)
		p.freezing(want.Object(ref), ref.Name, why, cure, func() { p.planObject(ref) })
	}
	p.lastBackups()
	for _, ref := range p.plan.Objects {
		if ref.Kind == spec.KindRestore || ref.Kind == spec.KindGuest {
			p.plan.Guests = append(p.plan.Guests, ref)
		}
	}
	p.limitDeletions()
	if !p.plan.Due.IsZero() {
		p.plan.Due = p.plan.Due.In(p.have.Now.Location())
	}
	return p.plan
}

func (p *planner) planObject(ref spec.Ref) {
	if p.homeless(ref) {
		p.hold(p.want.Object(ref), "", fmt.Sprintf("this is a cluster of %d nodes (%s), and nothing says on which of them it is to be: each would make it", len(p.have.Nodes), strings.Join(p.have.Nodes, ", ")),
			"add node: "+p.have.Node)
		p.unmet[ref.Name] = "nothing says on which node it is to be"
		return
	}
	switch ref.Kind {
	case spec.KindMount:
		p.planMount(p.want.Mounts[ref.Name])
	case spec.KindGolden:
		p.planGolden(p.want.Golden[ref.Name])
	case spec.KindRestore, spec.KindGuest:
		p.planGuest(p.want.Guest(ref.Name))
	case spec.KindSnapshot:
		p.planSnapshot(p.want.Snapshots[ref.Name])
	case spec.KindBackup:
		p.planBackup(p.want.Backups[ref.Name])
	}
}

// homeless reports whether an object of a cluster is to be made somewhere and does
// not say where. Guests that exist belong to the node on which they live.
func (p *planner) homeless(ref spec.Ref) bool {
	if len(p.have.Nodes) < 2 || p.want.Object(ref).Node != "" || p.want.Node != "" {
		return false
	}
	if vmid, ok := p.vmid(ref); ok {
		return p.have.Guests[vmid] == nil
	}
	return ref.Kind == spec.KindMount
}

// planningOrder is the order in which objects are planned: as they are listed, but
// guests as they start (what one needs and what starts before it come first), so that
// what is found out of one is known when those that wait for it are planned.
func (p *planner) planningOrder() []spec.Ref {
	var before, guests, after []spec.Ref
	for _, ref := range p.plan.Objects {
		switch ref.Kind {
		case spec.KindMount, spec.KindGolden:
			before = append(before, ref)
		case spec.KindRestore, spec.KindGuest:
			guests = append(guests, ref)
		default:
			after = append(after, ref)
		}
	}
	order := map[spec.Ref]int{}
	for _, ref := range guests {
		order[ref] = math.MaxInt
		g := p.want.Guest(ref.Name)
		if n, ok := startOrder(g, p.have.Guests[g.VMID]); ok {
			order[ref] = n
		}
	}
	slices.SortStableFunc(guests, func(a, b spec.Ref) int { return cmp.Compare(order[a], order[b]) })
	var sorted []spec.Ref
	todo := map[spec.Ref]bool{}
	for _, ref := range guests {
		todo[ref] = true
	}
	var visit func(ref spec.Ref)
	visit = func(ref spec.Ref) {
		if !todo[ref] {
			return
		}
		delete(todo, ref)
		for _, name := range p.want.Guest(ref.Name).Needs {
			if other := p.want.Guest(name); other != nil {
				visit(other.Ref)
			}
		}
		sorted = append(sorted, ref)
	}
	for _, ref := range guests {
		visit(ref)
	}
	return slices.Concat(before, sorted, after)
}

// elsewhere names the other node that an object belongs to, or "". A guest that
// exists belongs to the node on which it lives; all else to the node it declares.
func (p *planner) elsewhere(ref spec.Ref) string {
	if vmid, ok := p.vmid(ref); ok {
		if _, here := p.have.Guests[vmid]; here {
			return ""
		}
		if r, ok := p.have.Others[vmid]; ok && r.Type == "lxc" && r.Node != p.have.Node {
			return r.Node
		}
	}
	node := p.want.Object(ref).Node
	if ref.Kind == spec.KindSnapshot {
		if g := p.want.Guest(p.want.Snapshots[ref.Name].Guest); g != nil {
			return p.elsewhere(g.Ref)
		}
	}
	if node == "" {
		node = p.want.Node
	}
	if node != "" && node != p.have.Node {
		return node
	}
	return ""
}

// vmid returns the VMID that an object declares, if it is of a kind that has one.
func (p *planner) vmid(ref spec.Ref) (proxmox.VMID, bool) {
	switch ref.Kind {
	case spec.KindGolden:
		return p.want.Golden[ref.Name].VMID, true
	case spec.KindRestore:
		return p.want.Restores[ref.Name].VMID, true
	case spec.KindGuest:
		return p.want.Guests[ref.Name].VMID, true
	}
	return 0, false
}

// act adds an action.
func (p *planner) act(a Action) {
	if a.Effect == "" {
		a.Effect = Safe
	}
	if a.Op != nil {
		var refused *privileged.RefusedError
		if errors.As(a.Op.Vet(), &refused) { // its arguments are called as the fields of a mount
			p.hold(p.want.Object(a.Object), refused.Arg, fmt.Sprintf("%s: the root helper refuses %s %q: %s", a.Verb, refused.Arg, refused.Value, refused.Reason), "correct that in the YAML")
			return
		}
	}
	if a.When == "" {
		a.When = "now"
	}
	if a.When == "now" {
		a.When = p.whenFree(a.Lane)
	}
	if failure, ok := p.have.Memory.Cooling[a.ID]; ok {
		p.plan.Held = append(p.plan.Held, Held{
			Object: a.Object, Pos: p.want.Object(a.Object).Pos, Kind: HeldFailed,
			Reason: fmt.Sprintf("%s failed: %s", a.Verb, failure.Text), Cure: failure.Cure, Passing: failure.Undelivered,
		})
		return
	}
	if len(p.have.Memory.Repeats) > 0 && p.have.Memory.Repeats[actKey(a.ID, a.Call, a.Op)] >= repeatLimit {
		p.plan.Held = append(p.plan.Held, Held{Object: a.Object, Pos: p.want.Object(a.Object).Pos, Kind: HeldFailed, Failed: true,
			Reason: fmt.Sprintf("done %d times and wanted again, so something moves it back: %s", repeatLimit, a.said()),
			Cure:   []string{"find out who changes it; then edit the YAML, or run felhom-agent --once"}})
		return
	}
	if why, cure := p.waitsForPerson(&a); why != "" {
		p.hold(p.want.Object(a.Object), "", why, cure...)
		return
	}
	p.plan.Actions = append(p.plan.Actions, a)
}

// whenFree says when a lane is free: now, or after the task that works on its guest or
// that another agent has begun.
func (p *planner) whenFree(lane string) string {
	if t := p.have.otherAgent(); t != nil {
		return fmt.Sprintf("when %s %s has ended (since %s, by %s)", t.Type, t.ID, p.have.clock(t.StartTime), t.Owner())
	}
	id, ok := strings.CutPrefix(lane, "lxc/")
	if !ok {
		return "now"
	}
	vmid, err := proxmox.ParseVMID(id)
	if err != nil {
		return "now"
	}
	if t := p.have.holder(vmid); t != nil {
		return fmt.Sprintf("when %s has ended (since %s, by %s)", t.Type, p.have.clock(t.StartTime), t.Owner())
	}
	return "now"
}

func (p *planner) later(l Later) { p.plan.Laters = append(p.plan.Laters, l) }

// hold adds a reason why nothing is done, with its cure and the YAML's line.
func (p *planner) hold(o *spec.Object, field, reason string, cure ...string) {
	if deliberate.noCure {
		cure = nil
	}
	p.plan.Held = append(p.plan.Held, Held{Object: o.Ref, Reason: reason, Cure: cure, Pos: o.At(field)})
}

// await holds for something that is expected to pass by itself.
func (p *planner) await(o *spec.Object, reason string, cure ...string) {
	p.plan.Held = append(p.plan.Held, Held{Object: o.Ref, Reason: reason, Cure: cure, Pos: o.Pos, Passing: true})
}

func (p *planner) note(o *spec.Object, format string, args ...any) {
	p.plan.Notes = append(p.plan.Notes, Note{Object: o.Ref, Text: fmt.Sprintf(format, args...)})
}

// timeout is how long the task of an object's act is waited for.
func timeout(o *spec.Object, byDefault time.Duration) time.Duration {
	return cmp.Or(o.Timeout, byDefault)
}

// The defaults of how long a task is waited for.
const (
	longTask  = 24 * time.Hour // backups and restores
	shortTask = 10 * time.Minute
)

// limitDeletions holds every deletion of a pass in which too much is beyond what is kept:
// that is the sign of a wrong clock or a wrong keep, not of work to do. Each pass deletes
// but a few, so it is judged by what all of them would.
func (p *planner) limitDeletions() {
	most := p.have.MaxDeletions
	if most <= 0 {
		return
	}
	deleting := map[spec.Ref]bool{}
	for _, a := range p.plan.Actions {
		if a.Effect == Deleting {
			deleting[a.Object] = true
		}
	}
	wanted, beyond := map[spec.Ref]int{}, 0
	for _, s := range p.surplus {
		if deleting[s.object] && s.n > 0 {
			wanted[s.object] += s.n
			beyond += s.n - 1
		}
	}
	if beyond <= most {
		return
	}
	p.plan.Actions = slices.DeleteFunc(p.plan.Actions, func(a Action) bool { return a.Effect == Deleting })
	for _, ref := range p.plan.Objects {
		if deleting[ref] {
			p.hold(p.want.Object(ref), "keep", fmt.Sprintf("wants to delete %s; with the others that is %d beyond one per object and guest, and %d are allowed (max_destructive)", count(max(1, wanted[ref]), "snapshot or archive", "snapshots and archives"), beyond, most),
				"look whether the node's clock and `keep` are right", fmt.Sprintf("if they are: FELHOM_AGENT_MAX_DESTRUCTIVE=%d felhom-agent --once", beyond))
		}
	}
}

// lane is the lane of a guest's acts.
func lane(vmid proxmox.VMID) string { return fmt.Sprintf("lxc/%d", vmid) }

// count prints "1 snapshot" or "3 snapshots".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// list prints "a", "a and b", "a, b and c".
func list(items []string) string {
	switch len(items) {
	case 0:
		return ""
	case 1:
		return items[0]
	}
	return strings.Join(items[:len(items)-1], ", ") + " and " + items[len(items)-1]
}
