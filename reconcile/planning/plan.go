package planning

import (
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

func PlanOf(want *spec.Desired, have *node.Observed) *plan.Plan { return Whole(want, have).Plan }

// Whole is a plan of all objects, a part of which can be planned again.
func Whole(want *spec.Desired, have *node.Observed) *Planned {
	planned := whole(want, have)
	plan := planned.Plan
	plan.Header.Elapsed = fmt.Sprintf("%.2f s", have.Elapsed.Seconds())
	plan.Digests = digests(have)
	limitToAtOnce(plan, have)
	return planned
}

// planner is what the planner of one object works with: the questions that it may ask, the
// plan to which it adds, and what was found out of the objects planned before. A planner is
// a function: it takes these values and returns an outcome.
type planner struct {
	questions.Questions
	*builder
	known
}

// NewPlan compares what is wanted with what there is. It is pure: no I/O, no clock,
// and the same inputs give the same bytes. The actions are what is ready now, the
// deferred steps all that follows from them.
func NewPlan(want *spec.Desired, have *node.Observed) *plan.Plan { return whole(want, have).Plan }

func whole(want *spec.Desired, have *node.Observed) *Planned {
	want = node.Typed(want, have)
	have.Index(want)
	q := questions.Questions{Want: want, Have: have}
	b := newBuilder(q)
	describe(q, b.plan)
	known, order := planObjects(q, b, nothingKnown(len(b.plan.Objects)))
	planned := &Planned{Plan: b.plan, known: known, order: order, uses: dependentsOf(q.Want, b.plan.Objects)}
	oddities(q, b)
	outside(q, b.plan)
	follow(b, planned.known.without(nil), planned.uses)
	limitDeletions(b)
	tellNeeding(q, b.plan)
	lackForCreation(q, b.plan)
	if !b.plan.Due.IsZero() {
		b.plan.Due = b.plan.Due.In(have.Now.Location())
	}
	planned.marked, planned.waiting = b.bearers, waitingIn(b.plan)
	return planned
}

// planObjects plans the objects of a plan once: mounts and golden images, then guests as they
// start, then snapshots and backups. What one of them has found out is handed on to the next.
func planObjects(q questions.Questions, b *builder, k known) (known, sequence) {
	p := &planner{Questions: q, builder: b, known: k}
	order := planningOrder(q, b.plan.Objects)
	for _, ref := range order {
		p.learn(ref, planObject(p, ref))
	}
	namedFirst(p)
	sequence := sequenceOf(order, p.known)
	sequence.creationsInOrder(b.plan.Actions)
	return p.known, sequence
}

// planObject plans an object, or says why it is left alone.
func planObject(p *planner, ref spec.Ref) (out outcome) {
	why, fix := questions.Frozen(p.Questions, ref)
	p.paused(p.Want.Object(ref), ref.Name, why, fix, func() { out = planKind(p, ref) })
	if why != "" {
		return outcome{down: why}
	}
	return out
}

func planKind(p *planner, ref spec.Ref) outcome {
	if questions.Homeless(p.Questions, ref) {
		p.block(p.Want.Object(ref), "", fmt.Sprintf("this is a cluster of %d nodes (%s), and nothing says on which of them it must be: each would make it", len(p.Have.Nodes), strings.Join(p.Have.Nodes, ", ")),
			"add node: "+p.Have.Node)
		return outcome{down: "nothing says on which node it must be"}
	}
	if vmid, ok := questions.Vmid(p.Questions, ref); ok && p.Have.Others[vmid].Ambiguous {
		p.block(p.Want.Object(ref), "vmid", fmt.Sprintf("VMID %d is blocked: PVE lists several guests with it", vmid), "compare: pvesh get /cluster/resources --type vm")
		return outcome{down: "PVE lists several guests with its VMID"}
	}
	switch ref.Kind {
	case spec.KindMount:
		return planMount(p, p.Want.Mounts[ref.Name])
	case spec.KindGolden:
		return planGolden(p, p.Want.Golden[ref.Name])
	case spec.KindRestore, spec.KindGuest:
		return planGuest(p, p.Want.Guest(ref.Name))
	case spec.KindSnapshot:
		planSnapshot(p, p.Want.Snapshots[ref.Name])
	case spec.KindBackup:
		planBackup(p, p.Want.Backups[ref.Name])
	case spec.KindTest:
		planTest(p, p.Want.Tests[ref.Name])
	}
	return outcome{}
}

// longTask is how long a backup or a restore is waited for.
const longTask = 24 * time.Hour

// Queue is the queue of a guest's actions: those of one guest never overlap.
func Queue(vmid proxmox.VMID) string { return "lxc/" + vmid.String() }
