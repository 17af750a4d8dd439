package planning

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// planGuest plans one object under restores or guests: made where it is missing, adopted
// where the YAML says so, and otherwise brought to what the YAML says.
func planGuest(p *planner, g *spec.Guest) outcome {
	state := p.Have.Guests[g.VMID]
	out := planGuestState(p, g, state)
	if state == nil || state.Status != "running" { // those with a higher startup order wait for it
		order, ordered := questions.StartOrder(g, state)
		out.starts, out.order = ordered && g.State == spec.Running && out.coming, order
	}
	return out
}

func planGuestState(p *planner, g *spec.Guest, state *node.GuestState) outcome {
	if inFlux(p, &g.Object, g.VMID) {
		return outcome{down: "it is being worked on", coming: true}
	}
	if g.Absent {
		return planAbsent(p, g, state)
	}
	beyondNode(p, g)
	oddGateways(p, g)
	if ob := questions.OtherType(p.Questions, g.Type, g.VMID); ob != nil {
		p.block(&g.Object, "type", ob.Reason, ob.Fix...)
		return outcome{down: "it is of another type"}
	}
	if state == nil {
		return planMissing(p, g)
	}
	if state.Err != nil {
		blockUnread(p, &g.Object, g.VMID, g.Type, state.Err)
		return outcome{down: "it cannot be read"}
	}
	if down := cutOff(p, &g.Object, state); down != "" {
		return outcome{down: down}
	}
	if down := wrecked(p, g, state); down != "" {
		return outcome{down: down}
	}
	if g.Type.VM() && state.HA != "" {
		p.block(&g.Object, "vmid", fmt.Sprintf("VM %d is managed by HA (%s), which this agent does not work with", g.VMID, state.HA), fmt.Sprintf("take it out: ha-manager remove vm:%d", g.VMID), "or remove the object")
		return outcome{down: "HA manages it"}
	}
	marker, ours, out := identify(p, g, state)
	switch {
	case !ours && out.lost != nil: // its backups and snapshots go on
		if stale(p, &g.Object, state) {
			out.down, out.locked = isLocked, true
		}
		return out
	case !ours:
		out.down = text.OrElse(out.down, "it is not managed")
		return out
	case stale(p, &g.Object, state):
		return outcome{down: isLocked, locked: true}
	}
	return planPresent(p, g, state, marker)
}

// isLocked is why a guest is down that a crash has left locked.
const isLocked = "it is locked"

// blockUnread blocks an object whose guest cannot be read; a read that only failed for the
// moment is waited for.
func blockUnread(p *planner, o *spec.Object, vmid proxmox.VMID, t proxmox.GuestType, err error) {
	p.blockFor(o, "vmid", &plan.Blocker{Reason: fmt.Sprintf("%d cannot be read: %v", vmid, err), Fix: questions.FixOf(err, fmt.Sprintf("see: %s config %d", t.Tool(), vmid)), Passes: proxmox.IsTransient(err)}, plan.Deferred{})
}

// remaking are the tasks that make, destroy, move or roll back a guest, or copy it.
var remaking = proxmox.TasksOf("create", "restore", "destroy", "rollback", "migrate", "clone")

// inFlux holds an object whose guest is being made, destroyed, moved or rolled
// back: what is read of it now means nothing.
func inFlux(p *planner, o *spec.Object, vmid proxmox.VMID) bool {
	if f := p.Have.Memory.FlightOn(vmid); f != nil && (f.Facts["makes"] != "" || f.Facts["rollback"] != "" || f.Facts[journal.FactDeletes] != "" || f.Verb == journal.VerbGuardBack || f.Op != nil) {
		return true // that is our own work, which the plan tells as such
	}
	if t := p.Have.Task(vmid, remaking...); t != nil {
		p.await(o, fmt.Sprintf("%s of %d runs since %s (%s), by %s", t.Type, vmid, p.Have.Clock(t.StartTime), t.UPID, t.Owner()), "wait for it")
		return true
	}
	if what, busy := p.Have.Memory.Making[vmid]; busy {
		p.await(o, fmt.Sprintf("%d: %s", vmid, what), "wait for it")
		return true
	}
	if p.Have.Host != nil {
		for _, op := range p.Have.Host.Running {
			if op.Queue == Queue(vmid) {
				p.await(o, fmt.Sprintf("%s runs on %d via the root helper since %s", op.Name, vmid, p.Have.Clock(op.Since)), "wait for it")
				return true
			}
		}
	}
	return false
}

// stale holds a guest with a lock that nobody holds any more: the rest of a crash,
// which only root can clear.
func stale(p *planner, o *spec.Object, state *node.GuestState) bool {
	if state.Lock == "" {
		return false
	}
	if p.Have.Holder(state.VMID) != nil || p.Have.Memory.FlightOn(state.VMID) != nil {
		return false // the queue is taken; whoever sends waits for it
	}
	reason := fmt.Sprintf("%d is locked (%s) and nothing that runs explains it: left over from a crash", state.VMID, state.Lock)
	fix := fmt.Sprintf("as root: %s unlock %d", state.Type.Tool(), state.VMID)
	switch state.Lock {
	case "create", "destroyed":
		if m, ok := marker.OneMarker(state.Config.Description()); ok && node.Owns(p.Have, m, o, state.VMID) {
			fix += fmt.Sprintf(" && %s destroy %d", state.Type.Tool(), state.VMID)
		}
	case "mounted":
		reason, fix = fmt.Sprintf("%d is mounted on the host (pct mount): root works in its files", state.VMID), fmt.Sprintf("when that is done: pct unmount %d", state.VMID)
	case "fstrim": // which has no task
		reason, fix = fmt.Sprintf("%d is being trimmed (pct fstrim), or that crashed", state.VMID), fmt.Sprintf("wait for it; if none runs, as root: pct unlock %d", state.VMID)
	}
	p.awaitIf(!p.Have.Memory.Stale[state.VMID], o, reason, fix)
	return true
}

// identify decides whether an existing guest is ours, from the marker in its
// description, and plans the taking over of one that is declared under guests.
func identify(p *planner, g *spec.Guest, state *node.GuestState) (mark marker.Marker, ours bool, out outcome) {
	o, config := &g.Object, state.Config
	if config.Template() {
		p.block(o, "vmid", fmt.Sprintf("%d is a template, no %s that runs", g.VMID, g.Type.Noun()), "choose another vmid")
		return mark, false, out
	}
	if m, one := marker.OneMarker(config.Description()); one && node.Owns(p.Have, m, o, g.VMID) {
		return m, true, out
	}
	found := marker.FindMarkers(config.Description())
	switch {
	case len(found) > 1:
		p.block(o, "vmid", fmt.Sprintf("%d has %d ownership markers, so its object is not known", g.VMID, len(found)), "remove the wrong one from its Notes")
		return mark, false, out
	case len(found) == 1:
		blockForeign(p, g, found[0])
		return mark, false, out
	}
	if out = markerLost(p, g, state); out.down != "" {
		return mark, false, out
	}
	if !g.Adopt {
		p.block(o, "vmid", fmt.Sprintf("VMID %d is used by an unmanaged guest (hostname %s)", g.VMID, config.Hostname()),
			fmt.Sprintf("to adopt it: declare it under guests (now %s)", o.Pos), "to leave it: remove the object")
		return mark, false, out
	}
	if !strings.EqualFold(config.Hostname(), g.Hostname()) {
		p.block(o, "is", fmt.Sprintf("%d has the hostname %s, not %s: one of the two numbers is mistyped, or the name differs", g.VMID, config.Hostname(), g.Hostname()),
			fmt.Sprintf("if it is the one you mean: is: %s", config.Hostname()), "else correct the vmid")
		return mark, false, out
	}
	if stale(p, o, state) {
		return mark, false, outcome{down: isLocked, locked: true}
	}
	return mark, false, adopt(p, g, state)
}

// adopt writes the ownership marker into the Notes of a guest, and nothing else.
func adopt(p *planner, g *spec.Guest, state *node.GuestState) outcome {
	o, config := &g.Object, state.Config
	m := marker.Marker{Object: g.Ref.Name, VMID: g.VMID, Owner: p.Have.Owner, Born: p.Have.Now}
	if questions.OnlyReports(p.Questions, g) && len(questions.Differences(p.Questions, g, state, m)) == 0 && !movedRunState(p.Questions, g, state) {
		m = m.With("want", wishHash(g)) // it is as declared already
	}
	notes := marker.Describe(config.Description(), m)
	if n := utf8.RuneCountInString(notes); n > notesAtMost {
		p.block(o, "vmid", fmt.Sprintf("the Notes of %d leave no room for its ownership marker: PVE takes %d characters", g.VMID, notesAtMost), fmt.Sprintf("shorten them by %d characters", n-notesAtMost+100))
		return outcome{}
	}
	call := questions.Calls(p.Questions, g).SetConfig(g.VMID, proxmox.ConfigChange{Set: map[string]string{"description": notes}, Digest: config.Digest})
	p.add(plan.Action{ID: g.Ref.String() + "/adopt", Object: g.Ref, Verb: "adopt", Symbol: plan.Change,
		Text:  fmt.Sprintf("adopt %d (%s): adds one line to its Notes", g.VMID, config.Hostname()),
		Queue: Queue(g.VMID), Timeout: questions.Timeout(o, questions.ShortTask), Call: &call})
	return outcome{coming: true}
}

// notesAtMost is how many characters PVE takes as a description (PVE: LXC::Config, confdesc).
const notesAtMost = 8192

// blockForeign says whose marker stands on a guest that is not ours.
func blockForeign(p *planner, g *spec.Guest, m marker.Marker) {
	o := &g.Object
	switch {
	case m.Object == g.Ref.Name && m.VMID == g.VMID:
		p.block(o, "vmid", fmt.Sprintf("%d is %s of another owner (%s; this agent is %s)", g.VMID, m.Object, m.Owner, p.Have.Owner),
			fmt.Sprintf("if this host has a new name, write into agent.yaml: owner: %s", m.Owner), "else choose another vmid")
	case m.VMID != g.VMID:
		p.block(o, "vmid", fmt.Sprintf("%d is a copy: it has the ownership marker of %s vmid %d (a clone, or a restore elsewhere)", g.VMID, m.Object, m.VMID),
			"to make it this object: replace the ownership marker in its Notes by <!-- "+marker.Marker{Object: g.Ref.Name, VMID: g.VMID, Owner: p.Have.Owner, Born: p.Have.Now.UTC().Truncate(24 * time.Hour)}.String()+" -->", "to leave it: choose another vmid")
	default:
		p.block(o, "vmid", fmt.Sprintf("%d belongs to the object %s", g.VMID, m.Object),
			fmt.Sprintf("if the object was renamed: was: %s", m.Object), "else choose another vmid")
	}
}

// planPresent plans everything for a guest that is here and managed: config, volumes,
// binds, rollback, run state, in this order and one action at a time.
func planPresent(p *planner, g *spec.Guest, state *node.GuestState, marker marker.Marker) (out outcome) {
	marker.Object = g.Ref.Name // an old name is rewritten
	if down := blockUnreadable(p, &g.Object, state); down != "" {
		return outcome{down: down}
	}
	presentClashes(p, g, state)
	before := p.mark()
	if planRollback(p, g, state, marker) { // asked for, so no drift
		return out
	}
	if questions.OnlyReports(p.Questions, g) {
		switch done := marker.Facts["want"] == wishHash(g); {
		case done && !p.Have.Named[g.Ref]:
			planReplugs(p, g, state)
			reportDrift(p, g, state, marker)
			creationNotes(p, g, state, marker)
			if questions.DownForBackup(p.Questions, g) != "" {
				return planRunState(p, g, state)
			}
			return out
		case !done, len(questions.Differences(p.Questions, g, state, marker)) > 0, movedRunState(p.Questions, g, state):
			marker = marker.With("want", "") // an edit, or a drift to be healed: until it is carried out whole
		}
	}
	out.down = planGuarded(p, g, state, marker)
	if p.acted(before) {
		out.coming = g.State == spec.Running && state.Status != "running"
		return out
	}
	started := planRunState(p, g, state)
	out.coming, out.down = started.coming, text.OrElse(started.down, out.down)
	creationNotes(p, g, state, marker)
	if questions.OnlyReports(p.Questions, g) && marker.Facts["want"] == "" && p.idle(before) && !out.coming {
		planWish(p, g, state, marker)
	}
	return out
}

// planConfigured plans the next action that brings a guest to its declared configuration. It
// says why the guest will not run, where that was found out.
func planConfigured(p *planner, g *spec.Guest, state *node.GuestState, marker marker.Marker) (down string) {
	before := p.mark()
	planConfig(p, g, state, marker)
	if !p.acted(before) {
		planVolumes(p, g, state)
	}
	if !p.acted(before) {
		down = planBinds(p, g, state)
	}
	if !p.acted(before) {
		planProtection(p, g, state)
	}
	if !p.acted(before) {
		planRestart(p, g, state) // last: one restart for all that waits for it
	}
	return down
}
