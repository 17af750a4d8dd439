package planning

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// planGuest plans one object under restores or guests: made where it is missing,
// taken over where it is to be, and otherwise brought to what the YAML says.
func (p *Planner) planGuest(g *spec.Guest) {
	defer func() {
		if state := p.Have.Guests[g.VMID]; state == nil || state.Status != "running" {
			p.startsSoon(g, state)
		}
	}()
	if p.inFlux(&g.Object, g.VMID) {
		p.unmet[g.Ref.Name] = "it is being worked on"
		p.creating[g.Ref.Name] = true
		return
	}
	p.beyondNode(g)
	p.oddGateways(g)
	state := p.Have.Guests[g.VMID]
	if state == nil {
		held := len(p.Plan.Blocked)
		if p.planMissing(g); len(p.Plan.Blocked) > held {
			p.unmet[g.Ref.Name] = "it is not here, and blocked"
		}
		return
	}
	if state.Err != nil {
		p.unmet[g.Ref.Name] = "it cannot be read"
		p.holdUnread(&g.Object, g.VMID, state.Err)
		return
	}
	if p.cutOff(&g.Object, state) {
		return
	}
	marker, ours := p.identify(g, state)
	if !ours {
		if _, lost := p.lost[g.Ref.Name]; lost { // its backups and snapshots go on
			p.stale(&g.Object, state)
		}
		if _, known := p.unmet[g.Ref.Name]; !known {
			p.unmet[g.Ref.Name] = "it is not ours"
		}
		return
	}
	if p.stale(&g.Object, state) {
		return
	}
	p.planPresent(g, state, marker)
}

// inFlux holds an object whose guest is being made, destroyed, moved or rolled
// back: what is read of it now means nothing.
func (p *Planner) inFlux(o *spec.Object, vmid proxmox.VMID) bool {
	if f := p.Have.Memory.Flight(Queue(vmid)); f != nil && (f.Facts["makes"] != "" || f.Facts["rollback"] != "" || f.Op != nil) {
		return true // that is our own work, which the plan tells as such
	}
	if t := p.Have.Task(vmid, "vzcreate", "vzrestore", "vzdestroy", "vzrollback", "vzmigrate", "vzclone"); t != nil {
		p.await(o, fmt.Sprintf("%s of %d runs since %s (%s), by %s", t.Type, vmid, p.Have.Clock(t.StartTime), t.UPID, t.Owner()), "wait for it")
		return true
	}
	if what, busy := p.Have.Memory.Making[vmid]; busy {
		p.await(o, fmt.Sprintf("%d: %s", vmid, what), "wait for it")
		return true
	}
	if p.Have.Host != nil {
		for _, op := range p.Have.Host.Running {
			if op.Lane == Queue(vmid) {
				p.await(o, fmt.Sprintf("%s runs on %d through the fence since %s", op.Name, vmid, p.Have.Clock(op.Since)), "wait for it")
				return true
			}
		}
	}
	return false
}

// stale holds a guest with a lock that nobody holds any more: the rest of a crash,
// which only root can clear.
func (p *Planner) stale(o *spec.Object, state *node.GuestState) bool {
	if state.Lock == "" {
		return false
	}
	if p.Have.Holder(state.VMID) != nil {
		return false // the lane is taken; whoever sends waits for it
	}
	reason := fmt.Sprintf("%d is locked (%s) and nothing that runs explains it: left over from a crash", state.VMID, state.Lock)
	cure := fmt.Sprintf("as root: pct unlock %d", state.VMID)
	switch state.Lock {
	case "create", "destroyed":
		if m, ok := marker.OneMarker(state.Config.Description()); ok && p.Have.Owns(m, o, state.VMID) {
			cure += fmt.Sprintf(" && pct destroy %d", state.VMID)
		}
	case "mounted":
		reason, cure = fmt.Sprintf("%d is mounted on the host (pct mount): root works in its files", state.VMID), fmt.Sprintf("when that is done: pct unmount %d", state.VMID)
	case "fstrim": // which has no task
		reason, cure = fmt.Sprintf("%d is being trimmed (pct fstrim), or that crashed", state.VMID), fmt.Sprintf("wait for it; if none runs, as root: pct unlock %d", state.VMID)
	}
	p.Plan.Blocked = append(p.Plan.Blocked, plan.Blocked{Object: o.Ref, Pos: o.Pos, Fix: []string{cure}, Reason: reason, Passing: !p.Have.Memory.Stale[state.VMID]})
	p.unmet[o.Ref.Name] = "it is locked"
	return true
}

// identify decides whether an existing guest is ours, from the marker in its
// description, and plans the taking over of one that is declared under guests.
func (p *Planner) identify(g *spec.Guest, state *node.GuestState) (marker.Marker, bool) {
	o, config := &g.Object, state.Config
	if config.Template() {
		p.hold(o, "vmid", fmt.Sprintf("%d is a template, no container that runs", g.VMID), "choose another vmid")
		return marker.Marker{}, false
	}
	found := marker.FindMarkers(config.Description())
	switch {
	case len(found) > 1:
		p.hold(o, "vmid", fmt.Sprintf("%d bears %d markers, so nobody can tell whose it is", g.VMID, len(found)), "remove the wrong one from its Notes")
		return marker.Marker{}, false
	case len(found) == 1 && p.Have.Owns(found[0], o, g.VMID):
		return found[0], true
	case len(found) == 1:
		p.holdForeign(g, found[0])
		return marker.Marker{}, false
	}
	if p.markerLost(g, state) {
		return marker.Marker{}, false
	}
	if !g.Adopt {
		p.hold(o, "vmid", fmt.Sprintf("%d exists and is not ours (hostname %s)", g.VMID, config.Hostname()),
			fmt.Sprintf("to adopt it: declare it under guests (now %s)", o.Pos), "to leave it: remove the object")
		return marker.Marker{}, false
	}
	if !strings.EqualFold(config.Hostname(), g.Hostname()) {
		p.hold(o, "is", fmt.Sprintf("%d has the hostname %s, not %s: one of the two numbers is mistyped, or the name differs", g.VMID, config.Hostname(), g.Hostname()),
			fmt.Sprintf("if it is the one you mean: is: %s", config.Hostname()), "else correct the vmid")
		return marker.Marker{}, false
	}
	if p.stale(o, state) {
		return marker.Marker{}, false
	}
	m := marker.Marker{Object: g.Ref.Name, VMID: g.VMID, Owner: p.Have.Owner, Born: p.Have.Now}
	if questions.OnlyReports(p.Questions, g) && len(questions.Differences(p.Questions, g, state, m)) == 0 && !movedRunState(g, state) {
		m = m.With("want", wishHash(g)) // it is as declared already
	}
	notes := marker.Describe(config.Description(), m)
	if n := utf8.RuneCountInString(notes); n > notesAtMost {
		p.hold(o, "vmid", fmt.Sprintf("the Notes of %d leave no room for the line that would mark it as ours: PVE takes %d characters", g.VMID, notesAtMost), fmt.Sprintf("shorten them by %d characters", n-notesAtMost+100))
		return marker.Marker{}, false
	}
	call := proxmox.On(p.Have.Node).SetConfig(g.VMID, proxmox.ConfigChange{Set: map[string]string{"description": notes}, Digest: config.Digest})
	p.creating[g.Ref.Name] = true
	p.act(plan.Action{ID: g.Ref.String() + "/adopt", Object: g.Ref, Verb: "adopt", Symbol: plan.Change,
		Text:  fmt.Sprintf("adopt %d (%s): adds one line to its Notes", g.VMID, config.Hostname()),
		Queue: Queue(g.VMID), Timeout: questions.Timeout(o, questions.ShortTask), Call: &call})
	return marker.Marker{}, false
}

// notesAtMost is how many characters PVE takes as a description (PVE: LXC::Config, confdesc).
const notesAtMost = 8192

// holdForeign says whose marker stands on a guest that is not ours.
func (p *Planner) holdForeign(g *spec.Guest, m marker.Marker) {
	o := &g.Object
	switch {
	case m.Object == g.Ref.Name && m.VMID == g.VMID:
		p.hold(o, "vmid", fmt.Sprintf("%d is %s of another owner (%s; we are %s)", g.VMID, m.Object, m.Owner, p.Have.Owner),
			fmt.Sprintf("if this host has a new name, write into agent.yaml: owner: %s", m.Owner), "else choose another vmid")
	case m.VMID != g.VMID:
		p.hold(o, "vmid", fmt.Sprintf("%d is a copy: it bears the marker of %s vmid %d (a clone, or a restore elsewhere)", g.VMID, m.Object, m.VMID),
			"to make it this object: replace the marker in its Notes by <!-- "+marker.Marker{Object: g.Ref.Name, VMID: g.VMID, Owner: p.Have.Owner, Born: p.Have.Now.UTC().Truncate(24 * time.Hour)}.String()+" -->", "to leave it: choose another vmid")
	default:
		p.hold(o, "vmid", fmt.Sprintf("%d belongs to the object %s", g.VMID, m.Object),
			fmt.Sprintf("if the object was renamed: was: %s", m.Object), "else choose another vmid")
	}
}

// planPresent plans everything for a guest that is here and ours: config, volumes,
// binds, rollback, run state, in this order and one act at a time.
func (p *Planner) planPresent(g *spec.Guest, state *node.GuestState, marker marker.Marker) {
	marker.Object = g.Ref.Name // an old name is rewritten
	if p.holdUnreadable(&g.Object, state) {
		return
	}
	p.presentClashes(g, state)
	before := len(p.Plan.Actions)
	heldBefore, latersBefore := len(p.Plan.Blocked), len(p.Plan.Deferred)
	if p.planRollback(g, state, marker) { // asked for, so no drift
		return
	}
	if questions.OnlyReports(p.Questions, g) {
		switch done := marker.Facts["want"] == wishHash(g); {
		case done && !p.Have.Named[g.Ref]:
			p.planReplugs(g, state)
			p.reportDrift(g, state, marker)
			p.birthNotes(g, state, marker)
			return
		case !done, len(questions.Differences(p.Questions, g, state, marker)) > 0, movedRunState(g, state):
			marker = marker.With("want", "") // an edit, or a drift to be healed: until it is carried out whole
		}
	}
	p.planConfig(g, state, marker)
	if len(p.Plan.Actions) == before {
		p.planVolumes(g, state)
	}
	if len(p.Plan.Actions) == before {
		p.planBinds(g, state)
	}
	if len(p.Plan.Actions) == before {
		p.planProtection(g, state)
	}
	if len(p.Plan.Actions) == before {
		p.planRestart(g, state) // last: one restart for all that waits for it
	}
	if len(p.Plan.Actions) > before {
		if g.State == spec.Running && state.Status != "running" {
			p.creating[g.Ref.Name] = true
		}
		return
	}
	p.planRunState(g, state)
	p.birthNotes(g, state, marker)
	if questions.OnlyReports(p.Questions, g) && marker.Facts["want"] == "" && len(p.Plan.Actions) == before && len(p.Plan.Blocked) == heldBefore && len(p.Plan.Deferred) == latersBefore && !p.creating[g.Ref.Name] {
		p.planWish(g, state, marker)
	}
}
