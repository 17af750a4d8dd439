package applying

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// An occupancy is what is in use on a node before anything more is sent.
type occupancy struct {
	Node       string            // why nothing at all may be sent; "" where something may
	Queues     map[string]string // by whom
	Limits     map[string]int
	Told       map[string]bool           // queues and limits in use by actions whose waiters nudge at their end
	Frees      map[string]time.Time      // when the first of a limit's places is free, at the latest
	Disruptive string                    // the object whose guest is being disturbed
	Creating   bool                      // another user creates a guest, on which storage nobody tells
	Others     func(limit string) string // which task of somebody else takes a limit's place, and since when
	turns      map[string]string         // see turn
}

// runningSince says of a task what runs, since when and who began it.
func runningSince(t *proxmox.Task, have *node.Observed) string {
	return fmt.Sprintf("%s runs since %s, by %s", questions.TaskName(t), have.Clock(t.StartTime), t.Owner())
}

// startsAgain reports whether a guest that is down is about to be started, or will be
// after the cool-down of a start that failed. One that waits for a person keeps nobody.
func startsAgain(ref spec.Ref, have *node.Observed, p *plan.Plan) bool {
	return have.Memory.Cooling[ref.String()+"/start"].Until.After(have.Now) ||
		slices.ContainsFunc(p.Actions, func(a plan.Action) bool { return a.Object == ref }) ||
		slices.ContainsFunc(p.Deferred, func(l plan.Deferred) bool { return l.Object == ref }) ||
		slices.ContainsFunc(p.Blocked, func(h plan.Blocked) bool { return h.Object == ref && h.Passing })
}

// keeps says what keeps an action from being sent, or "", and whether that has to be
// looked at from time to time, since nobody tells when it is over.
func (o *occupancy) keeps(a *plan.Action) (why string, poll bool) {
	limit := limitOf(a.Limit)
	switch {
	case o.Node != "":
		return o.Node, true
	case o.Queues[a.Queue] != "":
		return o.Queues[a.Queue], !o.Told[a.Queue]
	case o.Creating && strings.HasPrefix(a.Limit, "create "):
		return text.OrElse(o.Others(a.Limit), "another user creates a guest") + ", and storages lock", true
	case limit > 0 && o.Limits[a.Limit] >= limit:
		if other := o.Others(a.Limit); other != "" && !o.Told[a.Limit] {
			return other, true
		}
		return o.turn(a.Limit), !o.Told[a.Limit]
	case a.Effect == plan.Disruptive && o.Disruptive != "" && o.Disruptive != a.Object.String():
		return "one disruptive action at a time: " + o.Disruptive, true
	}
	return "", false
}

// turn is what an action waits for that has to share a limit. A plan has many actions of one limit.
func (o *occupancy) turn(limit string) string {
	said, known := o.turns[limit]
	if !known {
		said = "its turn comes: " + limit
		o.turns[limit] = said
	}
	return said
}

// take notes an action that is about to be sent.
func (o *occupancy) take(a *plan.Action) {
	o.Queues[a.Queue] = a.Verb + " is sent"
	o.Limits[a.Limit]++
	o.Told[a.Queue], o.Told[a.Limit] = true, true
	if a.Effect == plan.Disruptive {
		o.Disruptive = a.Object.String()
	}
}

// limitOf is how many actions may share a limit: one creation per storage (PVE's
// storage lock times out beyond), two snapshots and two deletions per storage, one vzdump
// per node.
func limitOf(limit string) int {
	switch {
	case limit == "":
		return 0
	case strings.HasPrefix(limit, "snapshot "), strings.HasPrefix(limit, "delete from "):
		return 2
	}
	return 1
}

// otherAgent says of a task that it is of an agent with another journal.
func otherAgent(t *proxmox.Task, have *node.Observed) string {
	return fmt.Sprintf("%s %s runs since %s with this agent's token, and this journal does not know it: another agent works here", t.Type, t.ID, have.Clock(t.StartTime))
}

// occupied finds what is in use: by operations of this agent, some of which this process waits for, by tasks of others, by the root helper.
func occupied(j *journal.Journal, waiting map[string]bool, want *spec.Desired, have *node.Observed, p *plan.Plan) *occupancy {
	o := &occupancy{Queues: map[string]string{}, Limits: map[string]int{}, Told: map[string]bool{}, Frees: map[string]time.Time{}, turns: map[string]string{}}
	others := map[string]string{} // found once: a plan has many actions of one limit
	o.Others = func(limit string) string {
		other, known := others[limit]
		if !known {
			if t := questions.TakenBy(have, limit); t != nil {
				other = runningSince(t, have)
			}
			others[limit] = other
		}
		return other
	}
	takeOwn(o, j, waiting, have)
	takeTasks(o, j, have)
	if have.Host != nil {
		for _, op := range have.Host.Running {
			if o.Queues[op.Queue] == "" {
				o.Queues[op.Queue] = op.Name + " runs via the root helper"
			}
		}
	}
	for vmid, state := range have.Guests {
		if state.Lock != "" && o.Queues[planning.Queue(vmid)] == "" {
			o.Queues[planning.Queue(vmid)] = fmt.Sprintf("it is locked (%s)", state.Lock)
			if t := have.Holder(vmid); t != nil {
				o.Queues[planning.Queue(vmid)] += fmt.Sprintf(": %s runs since %s, by %s", t.Type, have.Clock(t.StartTime), t.Owner())
			}
		}
	}
	o.Disruptive = text.OrElse(o.Disruptive, restarting(want, have, p))
	if t := have.OtherAgent(); t != nil {
		o.Node = otherAgent(t, have)
	}
	return o
}

// restarting is the first object whose guest we have shut down and will start again: it keeps its queue until it runs.
func restarting(want *spec.Desired, have *node.Observed, p *plan.Plan) string {
	for _, object := range text.Keys(have.Memory.Restarting) {
		ref, err := spec.ParseRef(object)
		g := want.Guest(ref.Name)
		if err != nil || g == nil || g.Ref != ref {
			continue
		}
		state := have.Guests[g.VMID]
		if state != nil && state.Status != "running" && g.State == spec.Running && !g.Absent && startsAgain(g.Ref, have, p) {
			return object
		}
	}
	return ""
}

// takeOwn notes what the open operations of this agent use.
func takeOwn(o *occupancy, j *journal.Journal, waiting map[string]bool, have *node.Observed) {
	for _, operation := range j.Open() {
		o.Queues[operation.Queue] = fmt.Sprintf("%s of %s runs", operation.Verb, operation.Object)
		o.Told[operation.Queue], o.Told[operation.Limit] = waiting[operation.Action], waiting[operation.Action]
		if operation.Limit == "vzdump" || have.Now.Sub(operation.Time) < questions.StorageLocked {
			o.Limits[operation.Limit]++
			if free := operation.Time.Add(questions.StorageLocked); operation.Limit != "vzdump" && (o.Frees[operation.Limit].IsZero() || free.Before(o.Frees[operation.Limit])) {
				o.Frees[operation.Limit] = free
			}
		}
		if operation.Effect == plan.Disruptive {
			o.Disruptive = operation.Object
		}
	}
}

// takeTasks notes what the running tasks of the node use, whoever began them.
func takeTasks(o *occupancy, j *journal.Journal, have *node.Observed) {
	ours := map[proxmox.UPID]bool{}
	for _, operation := range j.Open() {
		ours[operation.Upid] = true
	}
	for _, t := range have.Tasks {
		if !t.Running() {
			continue
		}
		owner, _, _ := strings.Cut(t.ID, "@")
		if l := "lxc/" + owner; owner != "" && o.Queues[l] == "" && t.Type != "imgdel" {
			o.Queues[l] = fmt.Sprintf("%s runs since %s, by %s", t.Type, have.Clock(t.StartTime), t.Owner())
		}
		if t.Type == "vzdump" && o.Limits["vzdump"] == 0 {
			o.Limits["vzdump"]++
		}
		if slices.Contains([]string{"restore", "create", "clone"}, proxmox.TaskAct(t.Type)) && !ours[t.UPID] && have.Now.Sub(t.StartTime) < questions.StorageLocked {
			o.Creating = true
		}
	}
}
