package planning

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// Occupied is what is in use on a node before anything more is sent.
type Occupied struct {
	Node       string            // why nothing at all may be sent; "" where something may
	Queues     map[string]string // by whom
	Limits     map[string]int
	Told       map[string]bool           // queues and limits in use by actions whose waiters nudge at their end
	Frees      map[string]time.Time      // when the first of a limit's places is free, at the latest
	Disruptive string                    // the object whose guest is being disturbed
	Creating   bool                      // somebody else creates a guest, on which storage nobody tells
	Others     func(limit string) string // which task of somebody else takes a limit's place, and since when
}

// Runs says of a task what runs, since when and who began it.
func Runs(t *proxmox.Task, have *node.Observed) string {
	return fmt.Sprintf("%s runs since %s, by %s", questions.TaskName(t), have.Clock(t.StartTime), t.Owner())
}

// StartsAgain reports whether a guest that is down is about to be started, or will be
// after the cool-down of a start that failed. One that waits for a person keeps nobody.
func StartsAgain(ref spec.Ref, have *node.Observed, p *plan.Plan) bool {
	return have.Memory.Cooling[ref.String()+"/start"].Until.After(have.Now) ||
		slices.ContainsFunc(p.Actions, func(a plan.Action) bool { return a.Object == ref }) ||
		slices.ContainsFunc(p.Deferred, func(l plan.Deferred) bool { return l.Object == ref }) ||
		slices.ContainsFunc(p.Blocked, func(h plan.Blocked) bool { return h.Object == ref && h.Passing })
}

// Keeps says what keeps an act from being sent, or "", and whether that has to be
// looked at from time to time, since nobody tells when it is over.
func (o *Occupied) Keeps(a *plan.Action) (why string, poll bool) {
	limit := limitOf(a.Limit)
	switch {
	case o.Node != "":
		return o.Node, true
	case o.Queues[a.Queue] != "":
		return o.Queues[a.Queue], !o.Told[a.Queue]
	case o.Creating && strings.HasPrefix(a.Limit, "create "):
		return text.OrElse(o.Others(a.Limit), "somebody else creates a guest") + ", and storages lock", true
	case limit > 0 && o.Limits[a.Limit] >= limit:
		if other := o.Others(a.Limit); other != "" && !o.Told[a.Limit] {
			return other, true
		}
		return "its turn comes: " + a.Limit, !o.Told[a.Limit]
	case a.Effect == plan.Disruptive && o.Disruptive != "" && o.Disruptive != a.Object.String():
		return "one disruptive act at a time: " + o.Disruptive, true
	}
	return "", false
}

// Take notes an act that is about to be sent.
func (o *Occupied) Take(a *plan.Action) {
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

func OtherAgentText(t *proxmox.Task, have *node.Observed) string {
	return fmt.Sprintf("%s %s runs since %s with our token, and this journal does not know it: another agent works here", t.Type, t.ID, have.Clock(t.StartTime))
}
