package applying

import (
	"fmt"
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

// occupied finds what is in use: by operations of this agent, some of which this process waits for, by tasks of others, by the root helper.
func occupied(j *journal.Journal, waiting map[string]bool, want *spec.Desired, have *node.Observed, p *plan.Plan) *planning.Occupied {
	o := &planning.Occupied{Queues: map[string]string{}, Limits: map[string]int{}, Told: map[string]bool{}, Frees: map[string]time.Time{}}
	o.Others = func(budget string) string {
		if t := questions.TakenBy(have, budget); t != nil {
			return planning.Runs(t, have)
		}
		return ""
	}
	takeOwn(o, j, waiting, have)
	takeTasks(o, j, have)
	if have.Host != nil {
		for _, op := range have.Host.Running {
			if o.Queues[op.Lane] == "" {
				o.Queues[op.Lane] = op.Name + " runs via the root helper"
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
	for _, g := range node.GuestsOf(want) { // a guest that is being restarted keeps its queue until it runs
		state := have.Guests[g.VMID]
		if have.Memory.Restarting[g.Ref.String()] && state != nil && state.Status != "running" && g.State == spec.Running && planning.StartsAgain(g.Ref, have, p) {
			o.Disruptive = text.OrElse(o.Disruptive, g.Ref.String())
		}
	}
	if t := have.OtherAgent(); t != nil {
		o.Node = planning.OtherAgentText(t, have)
	}
	return o
}

// takeOwn notes what the open operations of this agent use.
func takeOwn(o *planning.Occupied, j *journal.Journal, waiting map[string]bool, have *node.Observed) {
	for _, act := range j.Open() {
		o.Queues[act.Queue] = fmt.Sprintf("%s of %s runs", act.Verb, act.Object)
		o.Told[act.Queue], o.Told[act.Limit] = waiting[act.Act], waiting[act.Act]
		if act.Limit == "vzdump" || have.Now.Sub(act.Time) < questions.StorageLocked {
			o.Limits[act.Limit]++
			if free := act.Time.Add(questions.StorageLocked); act.Limit != "vzdump" && (o.Frees[act.Limit].IsZero() || free.Before(o.Frees[act.Limit])) {
				o.Frees[act.Limit] = free
			}
		}
		if act.Effect == plan.Disruptive {
			o.Disruptive = act.Object
		}
	}
}

// takeTasks notes what the running tasks of the node use, whoever began them.
func takeTasks(o *planning.Occupied, j *journal.Journal, have *node.Observed) {
	ours := map[proxmox.UPID]bool{}
	for _, act := range j.Open() {
		ours[act.Upid] = true
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
		if (t.Type == "vzrestore" || t.Type == "vzcreate" || t.Type == "vzclone") && !ours[t.UPID] && have.Now.Sub(t.StartTime) < questions.StorageLocked {
			o.Creating = true
		}
	}
}
