package planning

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

func PlanOf(want *spec.Desired, have *node.Observed) *plan.Plan {
	plan := NewPlan(want, have)
	plan.Header.Elapsed = fmt.Sprintf("%.2f s", have.Elapsed.Seconds())
	plan.Digests = digests(have)
	return plan
}

// Planner has the questions that planning asks and what it has found so far. Its
// methods are pure: they read the inputs and add to the plan.
type Planner struct {
	questions.Questions
	Plan *plan.Plan
	// creating are the guests that this plan makes or still has to make, and
	// mounting the mounts that it is about to mount: what others wait for.
	creating map[string]bool
	mounting map[string]bool
	awaits   map[spec.Ref]spec.Ref // guests that wait for a golden image to be published
	unmet    map[string]string     // names of guests that will not run soon, with why
	// starting is the guest of the lowest startup order that this agent is about to
	// start, and startingAt that order.
	starting   *spec.Guest
	startingAt int
	late       map[spec.Ref]bool        // backups of which a missed slot has been noted
	lost       map[string]marker.Marker // guests whose marker was lost, with what it said
	shortages  []refresh.Shortage       // of the backup object that is being planned
}

func newPlanner(want *spec.Desired, have *node.Observed) *Planner {
	return &Planner{
		Questions: questions.Questions{Want: want, Have: have},
		Plan:      &plan.Plan{Format: 1, Actions: []plan.Action{}, Deferred: []plan.Deferred{}, Running: []plan.Running{}, Blocked: []plan.Blocked{}, Notes: []plan.Note{}, Objects: []spec.Ref{}},
		creating:  map[string]bool{}, mounting: map[string]bool{}, awaits: map[spec.Ref]spec.Ref{}, unmet: map[string]string{}, late: map[spec.Ref]bool{}, lost: map[string]marker.Marker{},
	}
}

// NewPlan compares what is wanted with what there is. It is pure: no I/O, no clock,
// and the same inputs give the same bytes. The actions are what is ready now, the
// deferred steps all that follows from them.
func NewPlan(want *spec.Desired, have *node.Observed) *plan.Plan {
	p := newPlanner(want, have)
	have.Index(want)
	p.Plan.Header = plan.PlanHeader{
		Node: have.Node, Version: have.Version, Refreshed: have.Now, Requests: have.Requests,
		Files: len(want.Files), Hash: want.Hash,
	}
	for _, ref := range want.Refs() {
		if have.Scope != nil && !have.Scope[ref] {
			continue
		}
		if node := questions.Elsewhere(p.Questions, ref); node != "" {
			p.Plan.Header.Elsewhere = append(p.Plan.Header.Elsewhere, ref.String()+" on "+node)
			continue
		}
		p.Plan.Objects = append(p.Plan.Objects, ref)
	}
	p.tellRunning()
	p.planObjects()
	p.lastBackups()
	for _, ref := range p.Plan.Objects {
		if ref.Kind == spec.KindRestore || ref.Kind == spec.KindGuest {
			p.Plan.Guests = append(p.Plan.Guests, ref)
		}
	}
	p.oddities()
	p.outside()
	p.follow()
	p.limitDeletions()
	if !p.Plan.Due.IsZero() {
		p.Plan.Due = p.Plan.Due.In(p.Have.Now.Location())
	}
	return p.Plan
}

// tellRunning names what this agent does already.
func (p *Planner) tellRunning() {
	in := map[spec.Ref]bool{}
	for _, ref := range p.Plan.Objects {
		in[ref] = true
	}
	for _, f := range p.Have.Memory.Flights {
		if in[f.Object] {
			p.Plan.Running = append(p.Plan.Running, plan.Running{Object: f.Object, Verb: f.Verb, Text: f.Text, Since: f.Since.In(p.Have.Now.Location())})
		}
	}
}

// planObjects plans each object of the plan once.
func (p *Planner) planObjects() {
	planned := p.planningOrder()
	for _, ref := range planned {
		why, cure := questions.Frozen(p.Questions, ref)
		p.freezing(p.Want.Object(ref), ref.Name, why, cure, func() { p.planObject(ref) })
	}
	p.namedFirst()
	p.creationsInOrder(planned)
}

func (p *Planner) planObject(ref spec.Ref) {
	if questions.Homeless(p.Questions, ref) {
		p.hold(p.Want.Object(ref), "", fmt.Sprintf("this is a cluster of %d nodes (%s), and nothing says on which of them it is to be: each would make it", len(p.Have.Nodes), strings.Join(p.Have.Nodes, ", ")),
			"add node: "+p.Have.Node)
		p.unmet[ref.Name] = "nothing says on which node it is to be"
		return
	}
	if vmid, ok := questions.Vmid(p.Questions, ref); ok && p.Have.Others[vmid].Ambiguous {
		p.hold(p.Want.Object(ref), "vmid", fmt.Sprintf("VMID %d is blocked: PVE lists several guests with it", vmid), "compare: pvesh get /cluster/resources --type vm")
		p.unmet[ref.Name] = "PVE lists several guests with its VMID"
		return
	}
	switch ref.Kind {
	case spec.KindMount:
		p.planMount(p.Want.Mounts[ref.Name])
	case spec.KindGolden:
		p.planGolden(p.Want.Golden[ref.Name])
	case spec.KindRestore, spec.KindGuest:
		p.planGuest(p.Want.Guest(ref.Name))
	case spec.KindSnapshot:
		p.planSnapshot(p.Want.Snapshots[ref.Name])
	case spec.KindBackup:
		p.planBackup(p.Want.Backups[ref.Name])
	}
}

// act adds an action.
func (p *Planner) act(a plan.Action) {
	if a.Effect == "" {
		a.Effect = plan.Safe
	}
	if a.Op != nil {
		var refused *privileged.RefusedError
		if errors.As(a.Op.Vet(), &refused) { // its arguments are called as the fields of a mount
			p.hold(p.Want.Object(a.Object), refused.Arg, fmt.Sprintf("%s: the root helper refuses %s %q: %s", a.Verb, refused.Arg, refused.Value, refused.Reason), "correct that in the YAML")
			return
		}
	}
	if a.When == "" {
		a.When = "now"
	}
	if free := questions.WhenFree(p.Questions, &a); free != "now" {
		if a.When == "now" {
			a.When = free
		}
		a.Fields = slices.Clone(a.Fields)
		for i := range a.Fields {
			if a.Fields[i].When == "now" { // not before the act itself
				a.Fields[i].When = free
			}
		}
	}
	if failure, ok := p.Have.Memory.Cooling[a.ID]; ok {
		p.Plan.Blocked = append(p.Plan.Blocked, plan.Blocked{
			Object: a.Object, Pos: p.Want.Object(a.Object).Pos, Kind: plan.BlockedFailed,
			Reason: fmt.Sprintf("%s failed: %s", a.Verb, failure.Text), Fix: failure.Fix, Passing: failure.Undelivered,
		})
		return
	}
	if len(p.Have.Memory.Repeats) > 0 && p.Have.Memory.Repeats[journal.ActKey(a.ID, a.Call, a.Op)] >= journal.RepeatLimit {
		p.Plan.Blocked = append(p.Plan.Blocked, plan.Blocked{Object: a.Object, Pos: p.Want.Object(a.Object).Pos, Kind: plan.BlockedFailed, Failed: true,
			Reason: fmt.Sprintf("done %d times and wanted again, so something moves it back: %s", journal.RepeatLimit, a.Said()),
			Fix:    []string{"find out who changes it; then edit the YAML, or run felhom-agent --once"}})
		return
	}
	if why, cure := questions.WaitsForPerson(p.Questions, &a); why != "" {
		p.hold(p.Want.Object(a.Object), "", why, cure...)
		return
	}
	p.Plan.Actions = append(p.Plan.Actions, a)
}

func (p *Planner) later(l plan.Deferred) { p.Plan.Deferred = append(p.Plan.Deferred, l) }

// hold adds a reason why nothing is done, with its cure and the YAML's line.
func (p *Planner) hold(o *spec.Object, field, reason string, cure ...string) {
	p.Plan.Blocked = append(p.Plan.Blocked, plan.Blocked{Object: o.Ref, Reason: reason, Fix: cure, Pos: o.At(field)})
}

// await holds for something that is expected to pass by itself.
func (p *Planner) await(o *spec.Object, reason string, cure ...string) {
	p.Plan.Blocked = append(p.Plan.Blocked, plan.Blocked{Object: o.Ref, Reason: reason, Fix: cure, Pos: o.Pos, Passing: true})
}

func (p *Planner) note(o *spec.Object, format string, args ...any) {
	p.Plan.Notes = append(p.Plan.Notes, plan.Note{Object: o.Ref, Text: fmt.Sprintf(format, args...)})
}

const (
	longTask = 24 * time.Hour // backups and restores
)

// limitDeletions holds every deletion of a plan in which too much is beyond what is kept:
// that is the sign of a wrong clock or a wrong keep, not of work to do. It counts what the
// whole plan deletes, beyond one of each object and guest.
func (p *Planner) limitDeletions() {
	most := p.Have.MaxDeletions
	if most <= 0 {
		return
	}
	type series struct {
		object spec.Ref
		guest  string
	}
	first, wanted, beyond := map[series]bool{}, map[spec.Ref]int{}, 0
	see := func(object spec.Ref, guest string, effect plan.Effect) {
		if effect != plan.Deleting {
			return
		}
		wanted[object]++
		if s := (series{object, guest}); first[s] {
			beyond++
		} else {
			first[s] = true
		}
	}
	for _, a := range p.Plan.Actions {
		see(a.Object, a.Guest, a.Effect)
	}
	for _, l := range p.Plan.Deferred {
		see(l.Object, l.Guest, l.Effect)
	}
	if beyond <= most {
		return
	}
	p.Plan.Actions = slices.DeleteFunc(p.Plan.Actions, func(a plan.Action) bool { return a.Effect == plan.Deleting })
	p.Plan.Deferred = slices.DeleteFunc(p.Plan.Deferred, func(l plan.Deferred) bool { return l.Effect == plan.Deleting })
	for _, ref := range p.Plan.Objects {
		if n := wanted[ref]; n > 0 {
			p.hold(p.Want.Object(ref), "keep", fmt.Sprintf("wants to delete %s; with the others that is %d beyond one per object and guest, and %d are allowed (max_destructive)", text.Count(n, "snapshot or archive", "snapshots and archives"), beyond, most),
				"look whether the node's clock and `keep` are right", fmt.Sprintf("if they are: FELHOM_AGENT_MAX_DESTRUCTIVE=%d felhom-agent --once", beyond))
		}
	}
}

// Queue is the queue of a guest's actions: those of one guest never overlap.
func Queue(vmid proxmox.VMID) string { return fmt.Sprintf("lxc/%d", vmid) }
