package planning

import (
	"fmt"

	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// planRunState starts and stops.
func planRunState(p *planner, g *spec.Guest, state *node.GuestState) (out outcome) {
	running := state.Status == "running"
	o := &g.Object
	if g.State == "" || string(g.State) == state.Status {
		return out
	}
	if state.HA != "" {
		p.block(o, "state", fmt.Sprintf("%d is %s, and its run state is HA's (%s)", g.VMID, state.Status, state.HA), fmt.Sprintf("ask HA: ha-manager set %s:%d --state STATE; or remove state", map[bool]string{false: "ct", true: "vm"}[g.Type.VM()], g.VMID))
		return out
	}
	switch {
	case g.State == spec.Stopped && running:
		call, wait := questions.Shutdown(p.Questions, g, state)
		p.add(plan.Action{ID: g.Ref.String() + "/stop", Object: g.Ref, Verb: "stop", Symbol: plan.Power, Text: fmt.Sprintf("shut down %d", g.VMID), Detail: questions.MovedBy(p.Questions, g, state),
			Effect: plan.Disruptive, Queue: Queue(g.VMID), Timeout: wait, Call: &call})
	case g.State == spec.Running && !running:
		if backup := questions.DownForBackup(p.Questions, g); backup != "" {
			p.note(o, "it is down while it is backed up (%s)", backup)
			return outcome{coming: true}
		}
		return planStart(p, g, state)
	}
	return out
}

// restart plans the shutdown of a guest that is started again by a later pass, unless
// it could not be.
func restart(p *planner, g *spec.Guest, state *node.GuestState, fields []plan.Field, why string) {
	if amidBulk(p, &g.Object) {
		return
	}
	for _, name := range g.Needs {
		if other := p.Want.Guest(name); other != nil && questions.DownForBackup(p.Questions, other) != "" { // it would be down as long
			p.later(plan.Deferred{Object: g.Ref, Verb: "restart", Symbol: plan.Restart, Fields: fields, Text: why, Effect: plan.Disruptive, Queue: Queue(g.VMID), Waits: fmt.Sprintf("when %s runs", other.Ref)})
			return
		}
	}
	if ob := questions.StaysDown(p.Questions, p.mounting, g); ob != nil {
		p.block(&g.Object, "restart", "it needs a restart, but would not be started again: "+ob.Reason, ob.Fix...)
		return
	}
	call, wait := questions.Shutdown(p.Questions, g, state)
	p.add(plan.Action{ID: g.Ref.String() + "/restart", Object: g.Ref, Verb: "restart", Symbol: plan.Restart, Fields: fields, Text: why,
		When: "restart: auto", Effect: plan.Disruptive, Queue: Queue(g.VMID), Timeout: wait, Call: &call,
		Facts: map[string]string{"restart": "1"}})
}

// amidBulk holds what starts a guest, or ends one to start it again, while all guests are
// started, stopped or moved.
func amidBulk(p *planner, o *spec.Object) bool {
	tasks := p.Have.TasksOf("startall", "stopall", "migrateall")
	if len(tasks) == 0 {
		return false
	}
	p.await(o, fmt.Sprintf("%s runs since %s, by %s: nothing is started until it has ended", tasks[0].Type, p.Have.Clock(tasks[0].StartTime), tasks[0].Owner()), "wait for it")
	return true
}

// planStart starts a guest when what it needs is there: the guests it needs, those
// that start before it, and the disks that it binds.
func planStart(p *planner, g *spec.Guest, state *node.GuestState) outcome {
	o := &g.Object
	if ob := questions.StartsNot(p.Questions, state); ob != nil {
		p.block(o, "state", ob.Reason, ob.Fix...)
		return outcome{down: ob.Reason}
	}
	for _, i := range text.Keys(g.Config.Mounts) {
		mp := g.Config.Mounts[i]
		if ob := questions.BindReady(p.Questions, p.mounting, mp); ob != nil {
			if told(p, o, ob.Reason) { // it could not be bound either
				return outcome{down: ob.Reason}
			}
			p.blockFor(o, fmt.Sprintf("config.mp%d", i), ob, plan.Deferred{Verb: "start", Symbol: plan.Power, Text: fmt.Sprintf("start %d", g.VMID)})
			return outcome{down: ob.Reason}
		}
	}
	if ob := questions.Missing(p.Questions, fmt.Sprintf("/vms/%d", g.VMID), "VM.PowerMgmt"); ob != nil {
		p.block(o, "state", ob.Reason, ob.Fix...)
		return outcome{down: ob.Reason}
	}
	if amidBulk(p, o) {
		return outcome{}
	}
	if out, waits := startsAfter(p, g, state); waits {
		return out
	}
	call := questions.Calls(p.Questions, g).Start(g.VMID)
	p.add(plan.Action{ID: g.Ref.String() + "/start", Object: g.Ref, Verb: "start", Symbol: plan.Power, Text: fmt.Sprintf("start %d", g.VMID), Detail: questions.MovedBy(p.Questions, g, state),
		Queue: Queue(g.VMID), Timeout: questions.Timeout(o, questions.ShortTask), Call: &call})
	if _, cooling := p.Have.Memory.Cooling[g.Ref.String()+"/start"]; cooling {
		return outcome{down: "its start failed"}
	}
	return outcome{coming: true}
}

// startsAfter lets the start of a guest wait for those that it needs, and for those that start
// before it.
func startsAfter(p *planner, g *spec.Guest, state *node.GuestState) (out outcome, waits bool) {
	wait := func(waits string) (outcome, bool) {
		p.later(plan.Deferred{Object: g.Ref, Verb: "start", Symbol: plan.Power, Text: fmt.Sprintf("start %d", g.VMID), Waits: waits})
		return outcome{coming: true}, true
	}
	for _, name := range g.Needs {
		other := p.Want.Guest(name)
		if other == nil || questions.Runs(p.Questions, other) {
			continue
		}
		if needed := p.of(other.Ref); !needed.coming || other.State != spec.Running { // nothing here is going to start it
			p.block(&g.Object, "needs", fmt.Sprintf("it needs %s, which does not run: %s", name, text.OrElse(needed.down, "nothing here is going to start it")),
				fmt.Sprintf("see %s; or start it: %s start %d", other.Ref, other.Type.Tool(), other.VMID))
			return outcome{down: "it needs " + name}, true
		}
		return wait(fmt.Sprintf("when %s runs", other.Ref))
	}
	if mine, ok := questions.StartOrder(g, state); ok && p.first != (spec.Ref{}) && p.order < mine {
		return wait(fmt.Sprintf("after %s (startup order)", p.first))
	}
	return out, false
}

// told reports whether an object that is being planned is blocked for a reason already.
func told(p *planner, o *spec.Object, reason string) bool {
	for i := len(p.plan.Blocked) - 1; i >= 0 && p.plan.Blocked[i].Object == o.Ref; i-- {
		if p.plan.Blocked[i].Reason == reason {
			return true
		}
	}
	return false
}
