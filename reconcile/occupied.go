package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// occupied is what is in use on a node before anything more is sent.
type occupied struct {
	node       string            // why nothing at all may be sent; "" where something may
	lanes      map[string]string // by whom
	budgets    map[string]int
	told       map[string]bool      // lanes and budgets in use by acts whose waiters nudge at their end
	frees      map[string]time.Time // when the first of a budget's places is free, at the latest
	disruptive string               // the object whose guest is being disturbed
	creating   bool                 // somebody else creates a guest, on which storage nobody tells
}

// storageLocked is how long a task may hold its place in the budget of a storage. PVE
// locks a storage while it allocates volumes, at the begin of a task, not while it
// fills them (PVE/Storage.pm, vdisk_alloc); beside others that do the same, one of
// many gives up on that lock. A quarter of an hour is more than any allocation takes:
// what is older only unpacks, or hangs, and keeps nobody else from a storage.
const storageLocked = 15 * time.Minute

// occupied finds what is in use: by acts of ours, by tasks of others, by the fence.
func (a *Agent) occupied(want *spec.Desired, have *Observed, plan *Plan) *occupied {
	o := &occupied{lanes: map[string]string{}, budgets: map[string]int{}, told: map[string]bool{}, frees: map[string]time.Time{}}
	ours := map[proxmox.UPID]bool{}
	a.mu.Lock()
	waiting := maps.Clone(a.waiting)
	a.mu.Unlock()
	for _, act := range a.o.Journal.open() {
		ours[act.upid] = true
		o.lanes[act.Lane] = fmt.Sprintf("%s of %s runs", act.Verb, act.Object)
		o.told[act.Lane], o.told[act.Budget] = waiting[act.Act], waiting[act.Act]
		if act.Budget == "vzdump" || have.Now.Sub(act.Time) < storageLocked || deliberate.keepBudget {
			o.budgets[act.Budget]++
			if free := act.Time.Add(storageLocked); act.Budget != "vzdump" && (o.frees[act.Budget].IsZero() || free.Before(o.frees[act.Budget])) {
				o.frees[act.Budget] = free
			}
		}
		if act.Effect == Disruptive {
			o.disruptive = act.Object
		}
	}
	for _, t := range have.Tasks {
		if !t.Running() {
			continue
		}
		owner, _, _ := strings.Cut(t.ID, "@")
		if l := "lxc/" + owner; owner != "" && o.lanes[l] == "" && t.Type != "imgdel" {
			o.lanes[l] = fmt.Sprintf("%s runs since %s, by %s", t.Type, have.clock(t.StartTime), t.Owner())
		}
		if t.Type == "vzdump" && o.budgets["vzdump"] == 0 {
			o.budgets["vzdump"]++
		}
		if (t.Type == "vzrestore" || t.Type == "vzcreate" || t.Type == "vzclone") && !ours[t.UPID] && have.Now.Sub(t.StartTime) < storageLocked {
			o.creating = true
		}
	}
	if have.Host != nil {
		for _, op := range have.Host.Running {
			if o.lanes[op.Lane] == "" {
				o.lanes[op.Lane] = op.Name + " runs through the fence"
			}
		}
	}
	for vmid, state := range have.Guests {
		if state.Lock != "" && o.lanes[lane(vmid)] == "" {
			o.lanes[lane(vmid)] = fmt.Sprintf("it is locked (%s)", state.Lock)
			if t := have.holder(vmid); t != nil {
				o.lanes[lane(vmid)] += fmt.Sprintf(": %s runs since %s, by %s", t.Type, have.clock(t.StartTime), t.Owner())
			}
		}
	}
	for _, g := range guestsOf(want) { // a guest that is being restarted keeps the lane until it runs
		state := have.Guests[g.VMID]
		if have.Memory.Restarting[g.Ref.String()] && !deliberate.forgetRestart && state != nil && state.Status != "running" && g.State == spec.Running && startsAgain(g.Ref, have, plan) {
			o.disruptive = orElse(o.disruptive, g.Ref.String())
		}
	}
	if deliberate.ignoreLocks {
		clear(o.lanes)
	}
	if t := have.otherAgent(); t != nil {
		o.node = otherAgentText(t, have)
	}
	return o
}

// startsAgain reports whether a guest that is down is about to be started, or will be
// after the cool-down of a start that failed. One that waits for a person keeps nobody.
func startsAgain(ref spec.Ref, have *Observed, plan *Plan) bool {
	return have.Memory.Cooling[ref.String()+"/start"].Until.After(have.Now) ||
		slices.ContainsFunc(plan.Actions, func(a Action) bool { return a.Object == ref }) ||
		slices.ContainsFunc(plan.Laters, func(l Later) bool { return l.Object == ref }) ||
		slices.ContainsFunc(plan.Held, func(h Held) bool { return h.Object == ref && h.Passing })
}

// keeps says what keeps an act from being sent, or "", and whether that has to be
// looked at from time to time, since nobody tells when it is over.
func (o *occupied) keeps(a *Action) (why string, poll bool) {
	limit := budgetOf(a.Budget)
	switch {
	case o.node != "":
		return o.node, true
	case o.lanes[a.Lane] != "":
		return o.lanes[a.Lane], !o.told[a.Lane]
	case o.creating && strings.HasPrefix(a.Budget, "create "):
		return "somebody else creates a guest, and storages lock", true
	case limit > 0 && o.budgets[a.Budget] >= limit && !deliberate.ignoreBudgets:
		return "its turn comes: " + a.Budget, !o.told[a.Budget]
	case a.Effect == Disruptive && o.disruptive != "" && o.disruptive != a.Object.String() && !deliberate.twoDisruptive:
		return "one disruptive act at a time: " + o.disruptive, true
	}
	return "", false
}

// take notes an act that is about to be sent.
func (o *occupied) take(a *Action) {
	o.lanes[a.Lane] = a.Verb + " is sent"
	o.budgets[a.Budget]++
	o.told[a.Lane], o.told[a.Budget] = true, true
	if a.Effect == Disruptive {
		o.disruptive = a.Object.String()
	}
}

// budgetOf is how many acts may share a budget: one creation per storage (PVE's
// storage lock times out beyond), two snapshots per storage, one vzdump per node.
func budgetOf(budget string) int {
	switch {
	case budget == "":
		return 0
	case strings.HasPrefix(budget, "snapshot "):
		return 2
	}
	return 1
}

// otherAgent is a task of our token that runs and that this journal does not know: an
// agent on another machine works with the same token, or this one has lost its
// journal. Nothing is started beside it.
func (o *Observed) otherAgent() *proxmox.Task {
	if deliberate.ignoreOtherAgent {
		return nil
	}
	for i := range o.Tasks {
		t := &o.Tasks[i]
		if t.Running() && o.TokenID != "" && t.UPID.User == o.TokenID && !o.Memory.Tasks[t.UPID] {
			return t
		}
	}
	return nil
}

func otherAgentText(t *proxmox.Task, have *Observed) string {
	return fmt.Sprintf("%s %s runs since %s with our token, and this journal does not know it: another agent works here", t.Type, t.ID, have.clock(t.StartTime))
}
