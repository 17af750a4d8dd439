package planning

import (
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/forecast"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// mostRounds bounds how many steps of one object follow each other. What needs more does
// not come to an end.
const mostRounds = 200

// A chain adds to a plan what follows from its actions. The planners say what is ready
// on a node, one step per guest at a time; they are run again on the node as it will be
// when that is done, until nothing is left. So no planner has to know what comes after
// its step, and what a run does is what the plan says, for it is the same code that says
// it. Only objects that a step touches, or that wait, are planned again.
type chain struct {
	asked  questions.Questions // of the desired state and the node as it was read
	known  known               // what the latest round knows
	plan   *plan.Plan          // of the first round, to which all is added
	after  *forecast.Forecast
	uses   dependents
	marked bearers // of the node as it was read

	waiting map[spec.Ref][]plan.Deferred // what waits, by its object, as of the last time it was planned
	waited  map[spec.Ref][]plan.Deferred // the same as of the time before
	last    map[string]string            // object or queue -> the verb of its latest step
	done    map[string]bool              // see actKey: what has been done is not wanted again
	told    map[string]bool              // see actKey: what the plan has already
	steps   []plan.Deferred
	blocked map[string]bool
}

// dependents are the objects that a step on a guest concerns besides its own.
type dependents struct {
	guest map[proxmox.VMID]spec.Ref
	of    map[spec.Ref][]spec.Ref
	on    map[spec.Ref][]spec.Ref // the guests that a guest needs, and that of a snapshot
	at    map[spec.Ref]int        // where an object stands in the plan
}

// follow adds all that follows from the actions of a plan as deferred steps.
func follow(b *builder, k known, uses dependents) {
	q, pl := b.questions, b.plan
	if len(pl.Actions)+len(pl.Deferred)+len(pl.Running) == 0 {
		return
	}
	c := &chain{asked: q, known: k, plan: pl, after: forecast.New(q.Want, q.Have), uses: uses, marked: b.bearers,
		waiting: map[spec.Ref][]plan.Deferred{}, waited: map[spec.Ref][]plan.Deferred{}, last: map[string]string{}, done: map[string]bool{}, told: map[string]bool{}, blocked: map[string]bool{}}
	for _, l := range pl.Deferred {
		c.waiting[l.Object] = append(c.waiting[l.Object], l)
	}
	for _, h := range pl.Blocked {
		c.blocked[blockedKey(h)] = true
	}
	touched := map[spec.Ref]bool{}
	for _, f := range q.Have.Memory.Flights {
		c.after.Land(&f)
		c.carryOut(touched, []plan.Action{f.Action}, f.Since)
		delete(c.done, journal.ActKey(f.ID, f.Call, f.Op)) // what was begun long ago may be due again
	}
	actions := pl.Actions
	for i := range actions {
		c.told[journal.ActKey(actions[i].ID, actions[i].Call, actions[i].Op)] = true
	}
	for range mostRounds {
		c.carryOut(touched, c.firstOfEachQueue(touched, actions), q.Have.Now)
		if len(touched) == 0 && !c.sketch(touched) {
			break
		}
		round := c.replan(touched)
		if actions = c.take(round); len(round.Actions) > len(actions) {
			pl.Unending = true // something is wanted again although it was done
		}
		touched = map[spec.Ref]bool{}
	}
	pl.Deferred = c.steps
	for _, name := range text.Keys(c.after.Node.Unread) {
		ref := spec.Ref{Kind: spec.KindMount, Name: name}
		if slices.ContainsFunc(pl.Objects, func(b spec.Ref) bool { return c.prunesOn(b, name) }) {
			pl.Uncounted = append(pl.Uncounted, ref.String())
		}
	}
	for _, ref := range pl.Objects {
		pl.Deferred = append(pl.Deferred, c.waiting[ref]...)
	}
}

// prunesOn reports whether an object deletes archives of a mount, whatever it holds.
func (c *chain) prunesOn(ref spec.Ref, mount string) bool {
	storage := ""
	switch want := c.asked.Want; ref.Kind {
	case spec.KindBackup:
		storage = want.Backups[ref.Name].Storage
	case spec.KindGolden:
		if publish := want.Golden[ref.Name].Publish; publish != nil {
			storage = publish.Storage
		}
	}
	m, _ := c.after.Node.MountOf(c.asked.Want, storage)
	return storage != "" && m != nil && m.Ref.Name == mount
}

// firstOfEachQueue are the actions that are sent first: those of one guest never overlap. The
// others are asked for again on the node as it is then.
func (c *chain) firstOfEachQueue(touched map[spec.Ref]bool, actions []plan.Action) (first []plan.Action) {
	taken := map[string]bool{}
	for _, a := range actions {
		if a.Queue != "" && taken[a.Queue] {
			touched[a.Object] = true
			continue
		}
		taken[a.Queue] = true
		first = append(first, a)
	}
	return first
}

// carryOut predicts what actions do, and returns the objects that they concern.
func (c *chain) carryOut(touched map[spec.Ref]bool, actions []plan.Action, since time.Time) {
	for i := range actions {
		a := &actions[i]
		c.after.Apply(a, since)
		c.done[journal.ActKey(a.ID, a.Call, a.Op)] = true
		c.last[a.Object.String()], c.last[a.Queue] = a.Verb, a.Verb
		c.touch(touched, a.Object, a.Queue)
	}
	c.after.Settle()
}

// touch notes the objects that a step concerns.
func (c *chain) touch(touched map[spec.Ref]bool, object spec.Ref, queue string) {
	touched[object] = true
	refs := []spec.Ref{object}
	if id, ok := strings.CutPrefix(queue, "lxc/"); ok {
		if vmid, err := proxmox.ParseVMID(id); err == nil {
			if ref, ok := c.uses.guest[vmid]; ok {
				touched[ref] = true
				refs = append(refs, ref)
			}
		}
	}
	for _, ref := range refs {
		for _, other := range c.uses.of[ref] {
			touched[other] = true
		}
	}
}

// sketch lets the guests be there that are made of archives which cannot be read yet, so
// that what follows their creation is told too. It reports whether there are any.
func (c *chain) sketch(touched map[spec.Ref]bool) (any bool) {
	for _, ref := range c.plan.Objects {
		for _, l := range c.waiting[ref] {
			g := c.asked.Want.Guest(ref.Name)
			if l.Verb != "restore" || g == nil || g.Ref != ref || c.after.Node.Guests[g.VMID] != nil {
				continue
			}
			c.after.Sketch(g)
			c.last[ref.String()], c.last[Queue(g.VMID)] = l.Verb, l.Verb
			c.steps = append(c.steps, l)
			c.touch(touched, ref, Queue(g.VMID))
			any = true
		}
	}
	return any
}

// replan plans what a round has touched, and what waits, on the node as it will be.
func (c *chain) replan(touched map[spec.Ref]bool) *plan.Plan {
	q := questions.Questions{Want: c.asked.Want, Have: c.after.Node}
	b := newBuilder(q)
	b.bearers = c.marked
	for _, ref := range c.plan.Objects {
		if !touched[ref] && len(c.waiting[ref]) == 0 {
			continue
		}
		b.plan.Objects = append(b.plan.Objects, ref)
		c.waited[ref] = c.waiting[ref]
		delete(c.waiting, ref)
		c.known.forget(ref)
	}
	c.known, _ = planObjects(q, b, c.known)
	return b.plan
}

// take adds what a round has found to the plan, and returns the actions that are new.
func (c *chain) take(round *plan.Plan) (fresh []plan.Action) {
	for _, l := range round.Deferred {
		c.waiting[l.Object] = append(c.waiting[l.Object], l)
	}
	for i := range round.Actions {
		a := round.Actions[i]
		key := journal.ActKey(a.ID, a.Call, a.Op)
		if c.done[key] {
			continue
		}
		fresh = append(fresh, a)
		if c.told[key] {
			continue
		}
		c.told[key] = true
		step := plan.Defer(&a, c.waitsFor(&a))
		c.steps = append(c.steps, step)
	}
	for _, h := range round.Blocked {
		if key := blockedKey(h); !c.blocked[key] {
			c.blocked[key] = true
			c.plan.Blocked = append(c.plan.Blocked, h)
		}
	}
	return fresh
}

// waitsFor says after which step another one comes.
func (c *chain) waitsFor(a *plan.Action) string {
	for _, l := range c.waited[a.Object] {
		if l.Verb == a.Verb && (l.Guest == "" || l.Guest == a.Guest) {
			return l.Waits
		}
	}
	verb := text.OrElse(c.last[a.Object.String()], c.last[a.Queue])
	if verb == "" {
		return "afterwards"
	}
	return "after the " + nounOf(verb)
}

// nounOf names a step that another one waits for.
func nounOf(verb string) string {
	if noun, ok := nouns[verb]; ok {
		return noun
	}
	return strings.TrimPrefix(verb, "add ")
}

var nouns = map[string]string{"set": "change", "create": "creation", "adopt": "adoption", "restart": "shutdown", "stop": "shutdown", journal.VerbBackUp: "backup", "publish": "publication",
	"roll back": "rollback", "record": "verification", "note": "note", "seal": "seal", "mark rollback": "note", "pass device": "device", "delete archive": "deletion", "delete snapshot": "deletion", journal.VerbDelete: "deletion", journal.VerbGuardBack: "rollback"}

// blockedKey tells whether a reason has been told: of what a person holds once is enough.
func blockedKey(h plan.Blocked) string {
	if h.Kind == plan.BlockedFrozen {
		return h.Object.String() + " " + string(h.Kind)
	}
	return h.Object.String() + " " + h.Reason
}

// dependentsOf finds what depends on the guests of a plan: their snapshots, backups and
// those that need them.
func dependentsOf(want *spec.Desired, objects []spec.Ref) dependents {
	d := dependents{guest: make(map[proxmox.VMID]spec.Ref, len(objects)), of: make(map[spec.Ref][]spec.Ref, len(objects)), on: map[spec.Ref][]spec.Ref{}, at: make(map[spec.Ref]int, len(objects))}
	for i, ref := range objects {
		d.at[ref] = i
		switch ref.Kind {
		case spec.KindRestore, spec.KindGuest:
			g := want.Guest(ref.Name)
			d.guest[g.VMID] = ref
			for _, name := range g.Needs {
				if other := want.Guest(name); other != nil {
					d.of[other.Ref], d.on[ref] = append(d.of[other.Ref], ref), append(d.on[ref], other.Ref)
				}
			}
		case spec.KindSnapshot:
			if g := want.Guest(want.Snapshots[ref.Name].Guest); g != nil {
				d.of[g.Ref], d.on[ref] = append(d.of[g.Ref], ref), append(d.on[ref], g.Ref)
			}
		case spec.KindBackup:
			b := want.Backups[ref.Name]
			for _, g := range want.AllGuests() {
				if want.BacksUp(b, g.Ref.Name) || g.Absent && slices.Contains(want.LastBackups(g.Ref.Name), b) {
					d.of[g.Ref] = append(d.of[g.Ref], ref)
				}
			}
		}
	}
	return d
}
