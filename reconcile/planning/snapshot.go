package planning

import (
	"fmt"
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/retention"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// planSnapshot plans a named snapshot, or the series of a periodic one.
func planSnapshot(p *planner, s *spec.Snapshot) {
	o := &s.Object
	g := p.Want.Guest(s.Guest)
	if g.Absent {
		return // they go with it
	}
	state, mark, ok := ready(p, o, g, "snapshot", fmt.Sprintf("snapshot of %s", s.Guest))
	if !ok {
		return
	}
	if state.Snapshots == nil {
		p.block(o, "guest", fmt.Sprintf("the snapshots of %d cannot be read", g.VMID), "see: "+g.Type.Tool()+" listsnapshot "+g.VMID.String())
		return
	}
	if have, torn := ambiguousSnapshot(state); torn {
		p.block(o, "guest", fmt.Sprintf("PVE lists the snapshot %s of %s twice, with different values; nothing is taken or deleted", have.Name, g.Ref.Name),
			fmt.Sprintf("compare: %s listsnapshot %d", g.Type.Tool(), g.VMID))
		return
	}
	if s.Every > 0 {
		planSeries(p, s, g, state, mark)
		return
	}
	name := s.Series()
	i := slices.IndexFunc(state.Snapshots.Snapshots, func(have proxmox.Snapshot) bool { return have.Name == name })
	switch {
	case i < 0 && s.Absent:
	case i < 0 && !timely(p, s):
	case i < 0:
		takeSnapshot(p, s, g, state, mark, name)
	default:
		have := state.Snapshots.Snapshots[i]
		m, marked := marker.OneMarker(have.Description)
		ours := marked && questions.OwnsSeries(p.Questions, m, o, g)
		isLost := p.of(g.Ref).lost != nil
		switch {
		case !ours:
			p.block(o, "guest", fmt.Sprintf("%s has an unmanaged snapshot %s of %s", g.Ref.Name, name, p.Have.Date(have.Time)), "choose another name")
		case have.State != "":
			p.block(o, "guest", fmt.Sprintf("the snapshot %s is not complete (%s): the rest of a crash", name, have.State), fmt.Sprintf("%s delsnapshot %d %s --force", g.Type.Tool(), g.VMID, name))
		case s.Absent && isLost:
			p.block(o, "ensure", fmt.Sprintf("the ownership marker of %s is missing: nothing of it is deleted", g.Ref), "see "+g.Ref.String())
		case s.Absent:
			deleteSnapshot(p, s, g, have, "ensure: absent", "ensure: absent")
		case have.Time.Before(s.Taken.In(p.Have.Now.Location())):
			p.block(o, "taken", fmt.Sprintf("%s is of %s, older than taken: %s; a snapshot is never replaced", name, p.Have.Date(have.Time), s.Taken), "choose another name, or delete it yourself")
		}
	}
}

// ambiguousSnapshot returns a snapshot of a guest that PVE's list names twice, with different
// values.
func ambiguousSnapshot(state *node.GuestState) (proxmox.Snapshot, bool) {
	for _, have := range state.Snapshots.Snapshots {
		if have.Ambiguous {
			return have, true
		}
	}
	return proxmox.Snapshot{}, false
}

// ready returns a guest that is here and ours, or says for what the object waits.
func ready(p *planner, o *spec.Object, g *spec.Guest, verb, s string) (*node.GuestState, marker.Marker, bool) {
	state := p.Have.Guests[g.VMID]
	known := p.of(g.Ref)
	wait := func(waits string) (*node.GuestState, marker.Marker, bool) {
		p.later(plan.Deferred{Object: o.Ref, Verb: verb, Symbol: plan.Create, Text: s, Waits: waits})
		return nil, marker.Marker{}, false
	}
	if state == nil || state.Config == nil {
		if known.coming {
			return wait(fmt.Sprintf("when %s exists", g.Ref))
		}
		p.block(o, "guest", fmt.Sprintf("%s: %s", g.Ref, text.OrElse(known.down, "it is not here")), "see "+g.Ref.String())
		return nil, marker.Marker{}, false
	}
	if known.locked {
		p.block(o, "guest", fmt.Sprintf("%s is locked (%s)", g.Ref, state.Lock), "see "+g.Ref.String())
		return nil, marker.Marker{}, false
	}
	m, ok := marker.OneMarker(state.Config.Description())
	if !ok || !node.Owns(p.Have, m, &g.Object, g.VMID) {
		if known.coming {
			return wait(fmt.Sprintf("when %s is adopted", g.Ref))
		}
		if known.lost != nil { // backups and snapshots go on
			return state, *known.lost, true
		}
		p.block(o, "guest", fmt.Sprintf("%s: %s", g.Ref, text.OrElse(known.down, "it is not managed")), "see "+g.Ref.String())
		return nil, marker.Marker{}, false
	}
	if t := p.Have.Task(g.VMID, proxmox.TasksOf("create", "restore", "destroy", "rollback", "migrate")...); t != nil {
		return wait(fmt.Sprintf("when %s has ended", t.Type))
	}
	return state, m, true
}

// planSeries takes the snapshot of the running period and prunes the own ones.
func planSeries(p *planner, s *spec.Snapshot, g *spec.Guest, state *node.GuestState, mark marker.Marker) {
	name, begin := node.SlotName(s, p.Have.Now)
	own := questions.Series(p.Questions, s, g, state)
	p.due(begin.Add(s.Every))
	taken := slices.ContainsFunc(own, func(have proxmox.Snapshot) bool { return have.Name == name || !have.Time.Before(begin) })
	for _, have := range state.Snapshots.Snapshots {
		m, ok := marker.OneMarker(have.Description)
		switch ours := ok && questions.OwnsSeries(p.Questions, m, &s.Object, g); {
		case ours && have.State != "" && p.Have.Task(g.VMID) != nil: // it is being made, or deleted
			taken = taken || have.Name == name
		case ours && have.State != "":
			p.block(&s.Object, "guest", fmt.Sprintf("the snapshot %s is not complete (%s): the rest of a crash", have.Name, have.State), fmt.Sprintf("%s delsnapshot %d %s --force", g.Type.Tool(), g.VMID, have.Name))
			taken = taken || have.Name == name
		case ours && p.Have.Future(have.Time):
			p.note(&s.Object, "the snapshot %s of %s is dated in the future (%s): it does not count and is never pruned", have.Name, g.Ref.Name, p.Have.Date(have.Time))
			taken = taken || have.Name == name // but its name is given
		case have.Name == name && !taken:
			p.block(&s.Object, "guest", fmt.Sprintf("%s has a snapshot %s that is incomplete or unmanaged", g.Ref.Name, name), fmt.Sprintf("see: %s listsnapshot %d", g.Type.Tool(), g.VMID))
			taken = true
		}
	}
	switch {
	case !taken:
		takeSnapshot(p, s, g, state, mark, name)
	case snapshotAtOnce(p, s, g, own):
		takeSnapshot(p, s, g, state, mark, s.Series()+"_"+p.Have.AtOnce.Since.UTC().Format("20060102_150405"))
	}
	if p.of(g.Ref).lost != nil {
		return // nothing is pruned meanwhile
	}
	var items []retention.KeptItem
	for _, have := range own {
		items = append(items, retention.KeptItem{ID: have.Name, Time: have.Time})
	}
	drop := retention.Retain(s.Keep, items, p.Have.Now.Location())
	drop = slices.DeleteFunc(drop, func(name string) bool { return g.Rollback != nil && g.Rollback.To == name })
	for _, name := range drop {
		i := slices.IndexFunc(own, func(have proxmox.Snapshot) bool { return have.Name == name })
		deleteSnapshot(p, s, g, own[i], "keep", "beyond "+s.Keep.String())
	}
}

func takeSnapshot(p *planner, s *spec.Snapshot, g *spec.Guest, state *node.GuestState, mark marker.Marker, name string) {
	if g.Guard != nil && node.GuardSnapshot(p.Have, g, state) != nil { // on ZFS only the newest one can be rolled back to
		p.later(plan.Deferred{Object: s.Ref, Verb: "snapshot", Symbol: plan.Create, Text: fmt.Sprintf("snapshot of %s", g.Ref.Name), Waits: fmt.Sprintf("when the change of %s has proved itself", g.Ref)})
		return
	}
	if state.CanSnapshot != nil && !*state.CanSnapshot {
		remove := "or remove the mount point"
		if g.Type.VM() {
			remove = "or move the disk to a storage with snapshots"
		}
		p.block(&s.Object, "guest", fmt.Sprintf("%s cannot be snapshotted: %s", g.Ref, questions.WithoutSnapshots(p.Questions, state)),
			"use backups for it, "+remove)
		return
	}
	if ob := questions.Missing(p.Questions, fmt.Sprintf("/vms/%d", g.VMID), "VM.Snapshot"); ob != nil {
		p.block(&s.Object, "guest", ob.Reason, ob.Fix...)
		return
	}
	if neverUp(p, s, g, state) {
		p.later(plan.Deferred{Object: s.Ref, Verb: "snapshot", Symbol: plan.Create, Text: fmt.Sprintf("snapshot of %s", g.Ref.Name), Waits: fmt.Sprintf("when %s runs", g.Ref)})
		return
	}
	m := marker.Marker{Object: spec.Ref{Kind: s.Ref.Kind, Name: s.Series()}.String(), VMID: g.VMID, Owner: p.Have.Owner, Born: mark.Born, Facts: map[string]string{"guest": g.Ref.Name}}
	description := m.String()
	if s.Description != "" {
		description = s.Description + "\n" + description
	}
	id, _ := proxmox.ParseVolumeID(firstVolume(state.Config))
	call := questions.Calls(p.Questions, g).Snapshot(g.VMID, name, description)
	p.add(plan.Action{ID: s.Ref.String() + "/create", Object: s.Ref, Verb: "snapshot", Symbol: plan.Create, Text: fmt.Sprintf("snapshot %s of %s (%d)", name, g.Ref.Name, g.VMID),
		Queue: Queue(g.VMID), Limit: "snapshot " + id.Storage, Timeout: questions.Timeout(&s.Object, questions.ShortTask), Call: &call})
}

func deleteSnapshot(p *planner, s *spec.Snapshot, g *spec.Guest, have proxmox.Snapshot, cause, why string) {
	call := questions.Calls(p.Questions, g).DeleteSnapshot(g.VMID, have.Name)
	p.add(plan.Action{ID: s.Ref.String() + "/delete/" + have.Name, Object: s.Ref, Guest: g.Ref.Name, Verb: "delete snapshot", Symbol: plan.Delete,
		Text:   fmt.Sprintf("delete the snapshot %s of %s of %s: %s", have.Name, g.Ref.Name, p.Have.Date(have.Time), why),
		Effect: plan.Deleting, Irreversible: true, Cause: cause, Queue: Queue(g.VMID), Timeout: questions.Timeout(&s.Object, questions.ShortTask), Call: &call})
}
