package planning

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// A builder owns the plan under construction: all that is added to a plan is added by its
// methods. What holds for every action, whoever plans it, is decided here once: when it can
// be sent, and whether it is blocked by a failure, by its own repetition, by the root
// helper's policy, or until a person has approved it.
type builder struct {
	questions questions.Questions
	plan      *plan.Plan
	bearers   bearers // once somebody has asked; before that, those of an earlier plan
	asked     bool    // somebody has
}

func newBuilder(q questions.Questions) *builder {
	return &builder{questions: q, plan: &plan.Plan{Format: 1, Actions: []plan.Action{}, Deferred: []plan.Deferred{}, Running: []plan.Running{},
		Blocked: []plan.Blocked{}, Notes: []plan.Note{}, Objects: []spec.Ref{}}}
}

// add adds an action, or what blocks it.
func (b *builder) add(a plan.Action) {
	if a.Effect == "" {
		a.Effect = plan.Safe
	}
	o, memory := b.questions.Want.Object(a.Object), &b.questions.Have.Memory
	if a.Op != nil {
		var refused *privileged.RefusedError
		if errors.As(a.Op.Vet(), &refused) { // its arguments are called as the fields of a mount
			b.block(o, refused.Arg, fmt.Sprintf("%s: the root helper refuses %s %q: %s", a.Verb, refused.Arg, refused.Value, refused.Reason), "correct that in the YAML")
			return
		}
	}
	if lacks := questions.Lacks(b.questions, &a); lacks != nil {
		b.block(o, "", lacks.Reason, lacks.Fix...)
		return
	}
	b.schedule(&a)
	if failure, ok := memory.Cooling[a.ID]; ok {
		b.plan.Blocked = append(b.plan.Blocked, plan.Blocked{
			Object: a.Object, Pos: o.Pos, Kind: plan.BlockedFailed,
			Reason: fmt.Sprintf("%s failed: %s", a.Verb, failure.Text), Fix: failure.Fix, Passing: failure.Undelivered,
		})
		return
	}
	if len(memory.Fights) > 0 && memory.Fights[journal.ActKey(a.ID, a.Call, a.Op)] {
		b.plan.Blocked = append(b.plan.Blocked, plan.Blocked{Object: a.Object, Pos: o.Pos, Kind: plan.BlockedFailed, Failed: true,
			Reason: fmt.Sprintf("done %d times and wanted again, so something moves it back: %s", journal.RepeatLimit, a.Said()),
			Fix:    []string{"find out who changes it; then edit the YAML, or run felhom-agent --once"}})
		return
	}
	if why, fix := questions.WaitsForPerson(b.questions, &a); why != "" {
		b.block(o, "", why, fix...)
		return
	}
	b.plan.Actions = append(b.plan.Actions, a)
}

// schedule says when an action and its fields are in force.
func (b *builder) schedule(a *plan.Action) {
	if a.When == "" {
		a.When = "now"
	}
	free := questions.WhenFree(b.questions, a)
	if free == "now" {
		return
	}
	if a.When == "now" {
		a.When = free
	}
	a.Fields = slices.Clone(a.Fields)
	for i := range a.Fields {
		if a.Fields[i].When == "now" { // not before the action itself
			a.Fields[i].When = free
		}
	}
}

// later adds a step that cannot be a request yet.
func (b *builder) later(l plan.Deferred) { b.plan.Deferred = append(b.plan.Deferred, l) }

// block adds a reason why nothing is done, with its fix and the line of the YAML.
func (b *builder) block(o *spec.Object, field, reason string, fix ...string) {
	b.plan.Blocked = append(b.plan.Blocked, plan.Blocked{Object: o.Ref, Reason: reason, Fix: fix, Pos: o.At(field)})
}

// blockAs is block for what people want to hear of for another reason.
func (b *builder) blockAs(kind plan.BlockedKind, o *spec.Object, field, reason string, fix ...string) {
	b.block(o, field, reason, fix...)
	b.plan.Blocked[len(b.plan.Blocked)-1].Kind = kind
}

// await blocks for something that is expected to pass by itself.
func (b *builder) await(o *spec.Object, reason string, fix ...string) {
	b.awaitIf(true, o, reason, fix...)
}

// awaitIf blocks for something of which is known whether it is expected to pass by itself.
func (b *builder) awaitIf(passes bool, o *spec.Object, reason string, fix ...string) {
	b.plan.Blocked = append(b.plan.Blocked, plan.Blocked{Object: o.Ref, Reason: reason, Fix: fix, Pos: o.Pos, Passing: passes})
}

// blockFor blocks an object for what keeps a storage from being used, or lets a step wait
// for a mount of this plan.
func (b *builder) blockFor(o *spec.Object, field string, blocker *plan.Blocker, waiting plan.Deferred) {
	if blocker.Mount != "" {
		waiting.Object = o.Ref
		waiting.Waits = fmt.Sprintf("when mounts/%s is mounted", blocker.Mount)
		b.later(waiting)
		return
	}
	b.plan.Blocked = append(b.plan.Blocked, plan.Blocked{Object: o.Ref, Reason: blocker.Reason, Fix: blocker.Fix, Pos: o.At(field), Passing: blocker.Passes})
}

// note adds a remark on an object.
func (b *builder) note(o *spec.Object, format string, args ...any) {
	b.plan.Notes = append(b.plan.Notes, plan.Note{Object: o.Ref, Text: fmt.Sprintf(format, args...)})
}

// drift adds a difference that is only reported, with who made it.
func (b *builder) drift(o *spec.Object, text, by string) {
	n := plan.Note{Object: o.Ref, Drift: true, Text: text, By: by}
	if since, ok := b.questions.Have.Stored.Drift[plan.DriftKey(n)]; ok {
		n.Since = since.In(b.questions.Have.Now.Location())
	}
	b.plan.Notes = append(b.plan.Notes, n)
}

// due notes when something will have to be done.
func (b *builder) due(at time.Time) { b.plan.DueAt(at) }

// seen adds a hold for which a reason was found.
func (b *builder) seen(h state.Hold) { b.plan.Seen = append(b.plan.Seen, h) }

// A mark is how long a plan was at one moment.
type mark struct{ actions, deferred, blocked, notes int }

func (b *builder) mark() mark {
	return mark{len(b.plan.Actions), len(b.plan.Deferred), len(b.plan.Blocked), len(b.plan.Notes)}
}

// acted reports whether an action was added since a mark.
func (b *builder) acted(since mark) bool { return len(b.plan.Actions) > since.actions }

// idle reports whether nothing but notes was added since a mark.
func (b *builder) idle(since mark) bool { return b.waits(since) == 0 && len(b.blocked(since)) == 0 }

// blocked returns what was blocked since a mark.
func (b *builder) blocked(since mark) []plan.Blocked { return b.plan.Blocked[since.blocked:] }

// waits counts the steps, ready and deferred, that were added since a mark.
func (b *builder) waits(since mark) int {
	return len(b.plan.Actions) - since.actions + len(b.plan.Deferred) - since.deferred
}

// rewind takes back all that was added since a mark.
func (b *builder) rewind(to mark) {
	b.plan.Actions, b.plan.Deferred = b.plan.Actions[:to.actions], b.plan.Deferred[:to.deferred]
	b.plan.Blocked, b.plan.Notes = b.plan.Blocked[:to.blocked], b.plan.Notes[:to.notes]
}

// paused plans something and, where a person has paused it, takes back what that has added:
// one line stays, which says why and how many changes wait.
func (b *builder) paused(o *spec.Object, name, why, fix string, plans func()) {
	before := b.mark()
	plans()
	if why == "" {
		return
	}
	waits := b.waits(before)
	b.rewind(before)
	if waits > 0 {
		why += "; " + text.Count(waits, "change waits", "changes wait")
	}
	have := b.questions.Have
	if last, ok := have.Stored.Backups[name]; ok {
		why += fmt.Sprintf("; last good backup %s on %s", have.Date(last.Time), last.Storage)
	}
	b.blockAs(plan.BlockedFrozen, o, "paused", why, fix)
}
