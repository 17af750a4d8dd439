package planning

import (
	"fmt"
	"maps"
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// planRunState starts and stops.
func (p *Planner) planRunState(g *spec.Guest, state *node.GuestState) {
	running := state.Status == "running"
	o := &g.Object
	if g.State == "" || string(g.State) == state.Status {
		return
	}
	if state.HA != "" {
		p.hold(o, "state", fmt.Sprintf("%d is %s, and its run state is HA's (%s)", g.VMID, state.Status, state.HA), fmt.Sprintf("ask HA: ha-manager set ct:%d --state STATE; or remove state", g.VMID))
		return
	}
	switch {
	case g.State == spec.Stopped && running:
		call, wait := questions.Shutdown(p.Questions, g, state)
		p.act(plan.Action{ID: g.Ref.String() + "/stop", Object: g.Ref, Verb: "stop", Symbol: plan.Power, Text: fmt.Sprintf("shut down %d", g.VMID), Detail: questions.MovedBy(p.Questions, g, state),
			Effect: plan.Disruptive, Queue: Queue(g.VMID), Timeout: wait, Call: &call})
	case g.State == spec.Running && !running:
		p.planStart(g, state)
	}
}

// restart plans the shutdown of a guest that is started again by a later pass, unless
// it could not be.
func (p *Planner) restart(g *spec.Guest, state *node.GuestState, fields []plan.Field, why string) {
	if p.amidBulk(&g.Object) {
		return
	}
	if ob := p.staysDown(g); ob != nil {
		p.hold(&g.Object, "restart", "it needs a restart, but would not be started again: "+ob.Reason, ob.Fix...)
		return
	}
	call, wait := questions.Shutdown(p.Questions, g, state)
	p.act(plan.Action{ID: g.Ref.String() + "/restart", Object: g.Ref, Verb: "restart", Symbol: plan.Restart, Fields: fields, Text: why,
		When: "restart: auto", Effect: plan.Disruptive, Queue: Queue(g.VMID), Timeout: wait, Call: &call,
		Facts: map[string]string{"restart": "1"}})
}

// amidBulk holds what starts a guest, or ends one to start it again, while all guests are
// started, stopped or moved.
func (p *Planner) amidBulk(o *spec.Object) bool {
	tasks := p.Have.TasksOf("startall", "stopall", "migrateall")
	if len(tasks) == 0 {
		return false
	}
	p.await(o, fmt.Sprintf("%s runs since %s, by %s: nothing is started meanwhile", tasks[0].Type, p.Have.Clock(tasks[0].StartTime), tasks[0].Owner()), "wait for it")
	return true
}

// staysDown says why a running guest could not be started again now.
func (p *Planner) staysDown(g *spec.Guest) *plan.Blocker {
	if ob := questions.StartsNot(p.Questions, p.Have.Guests[g.VMID]); ob != nil {
		return ob
	}
	for _, i := range slices.Sorted(maps.Keys(g.Config.Mounts)) {
		if ob := p.bindReady(g.Config.Mounts[i]); ob != nil {
			return ob
		}
	}
	for _, name := range g.Needs {
		if other := p.Want.Guest(name); other != nil && !questions.Runs(p.Questions, other) {
			return &plan.Blocker{Reason: fmt.Sprintf("it needs %s, which does not run", name), Fix: []string{"see " + other.Ref.String()}}
		}
	}
	return nil
}

// planStart starts a guest when what it needs is there: the guests it needs, those
// that start before it, and the disks that it binds.
func (p *Planner) planStart(g *spec.Guest, state *node.GuestState) {
	o := &g.Object
	if ob := questions.StartsNot(p.Questions, state); ob != nil {
		p.unmet[g.Ref.Name] = ob.Reason
		p.hold(o, "state", ob.Reason, ob.Fix...)
		return
	}
	for _, i := range slices.Sorted(maps.Keys(g.Config.Mounts)) {
		mp := g.Config.Mounts[i]
		if ob := p.bindReady(mp); ob != nil {
			p.unmet[g.Ref.Name] = ob.Reason
			p.holdFor(o, fmt.Sprintf("config.mp%d", i), ob, plan.Deferred{Verb: "start", Symbol: plan.Power, Text: fmt.Sprintf("start %d", g.VMID)})
			return
		}
	}
	if ob := questions.Missing(p.Questions, fmt.Sprintf("/vms/%d", g.VMID), "VM.PowerMgmt"); ob != nil {
		p.unmet[g.Ref.Name] = ob.Reason
		p.hold(o, "state", ob.Reason, ob.Fix...)
		return
	}
	if p.amidBulk(o) {
		return
	}
	for _, name := range g.Needs {
		other := p.Want.Guest(name)
		if other == nil || questions.Runs(p.Questions, other) {
			continue
		}
		if why := p.unmet[name]; !p.creating[name] || other.State != spec.Running { // nobody here is going to start it
			p.unmet[g.Ref.Name] = "it needs " + name
			p.hold(o, "needs", fmt.Sprintf("it needs %s, which does not run: %s", name, text.OrElse(why, "nothing here is going to start it")),
				fmt.Sprintf("see %s; or start it: pct start %d", other.Ref, other.VMID))
			return
		}
		p.creating[g.Ref.Name] = true
		p.later(plan.Deferred{Object: g.Ref, Verb: "start", Symbol: plan.Power, Text: fmt.Sprintf("start %d", g.VMID), Waits: fmt.Sprintf("when %s runs", other.Ref)})
		return
	}
	if mine, ok := questions.StartOrder(g, state); ok && p.starting != nil && p.startingAt < mine {
		p.creating[g.Ref.Name] = true
		p.later(plan.Deferred{Object: g.Ref, Verb: "start", Symbol: plan.Power, Text: fmt.Sprintf("start %d", g.VMID), Waits: fmt.Sprintf("after %s (startup order)", p.starting.Ref)})
		return
	}
	call := proxmox.On(p.Have.Node).Start(g.VMID)
	_, cooling := p.Have.Memory.Cooling[g.Ref.String()+"/start"]
	p.creating[g.Ref.Name] = !cooling
	if cooling {
		p.unmet[g.Ref.Name] = "its start failed"
	}
	p.act(plan.Action{ID: g.Ref.String() + "/start", Object: g.Ref, Verb: "start", Symbol: plan.Power, Text: fmt.Sprintf("start %d", g.VMID), Detail: questions.MovedBy(p.Questions, g, state),
		Queue: Queue(g.VMID), Timeout: questions.Timeout(o, questions.ShortTask), Call: &call})
}

// startsSoon notes a guest that this plan starts, or makes and then starts: those
// with a higher startup order wait for it.
func (p *Planner) startsSoon(g *spec.Guest, state *node.GuestState) {
	if order, ok := questions.StartOrder(g, state); ok && g.State == spec.Running && p.creating[g.Ref.Name] && (p.starting == nil || order < p.startingAt) {
		p.starting, p.startingAt = g, order
	}
}
