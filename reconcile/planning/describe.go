package planning

import (
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// describe writes into a plan what it is of: the node and the files, the objects, what runs
// already, and the newest backups.
func describe(q questions.Questions, pl *plan.Plan) {
	want, have := q.Want, q.Have
	pl.Header = plan.PlanHeader{
		Node: have.Node, Version: have.Version, Refreshed: have.Now, Requests: have.Requests,
		Files: len(want.Files), Hash: want.Hash, Commit: want.Commit,
	}
	refs := want.Refs()
	pl.Objects = make([]spec.Ref, 0, len(refs))
	for _, ref := range refs {
		if have.Scope != nil && !have.Scope[ref] {
			continue
		}
		if node := questions.Elsewhere(q, ref); node != "" {
			pl.Header.Elsewhere = append(pl.Header.Elsewhere, ref.String()+" on "+node)
			continue
		}
		pl.Objects = append(pl.Objects, ref)
	}
	for _, ref := range pl.Objects {
		if ref.Kind == spec.KindRestore || ref.Kind == spec.KindGuest {
			pl.Guests = append(pl.Guests, ref)
		}
	}
	pl.Running = runs(q, func(ref spec.Ref) bool { return slices.Contains(pl.Objects, ref) })
	lastBackups(q, pl)
	pl.Storages = rooms(have)
	pl.Servers = serversSeen(q)
}

// runs are the operations of this agent that have been sent and have not ended, of the objects of a plan.
func runs(q questions.Questions, planned func(spec.Ref) bool) []plan.Running {
	running := []plan.Running{}
	for _, f := range q.Have.Memory.Flights {
		if planned(f.Object) {
			running = append(running, plan.Running{Object: f.Object, Verb: f.Verb, Text: f.Text, Since: f.Since.In(q.Have.Now.Location())})
		}
	}
	return running
}

// rooms is how much is free on the active storages.
func rooms(have *node.Observed) map[string]plan.Room {
	rooms := map[string]plan.Room{}
	for id, s := range have.Storages {
		if s.Status != nil && s.Status.Active && s.Status.Total > 0 {
			rooms[id] = plan.Room{Free: s.Status.Avail, Total: s.Status.Total}
		}
	}
	return rooms
}

// lastBackups notes the newest whole archive of every declared guest, by the node's clock.
func lastBackups(q questions.Questions, pl *plan.Plan) {
	guests := q.Want.AllGuests()
	disks := map[string]string{} // storage -> its disk, for people
	for _, g := range guests {
		var newest *proxmox.StorageContent
		for _, v := range slices.Backward(q.Have.ByGuest[g.VMID]) { // most often the newest first
			if v.CTime.IsZero() || newest != nil && v.CTime.Before(newest.CTime) || v.Content != "backup" || node.WholenessOf(q.Have, *v) != node.Whole || q.Have.Future(v.CTime) {
				continue
			}
			if m, _ := q.Have.MarkerOf(v.Notes); m.Facts["guest"] == g.Ref.Name {
				newest = v
			}
		}
		if newest == nil {
			continue
		}
		if pl.Backups == nil {
			pl.Backups = make(map[string]state.LastBackup, len(guests))
		}
		storage := text.ProxmoxStorage(newest.VolID)
		disk, known := disks[storage]
		if !known {
			disk = strings.TrimPrefix(strings.TrimPrefix(questions.Where(q, storage), storage), ", ")
			disks[storage] = disk
		}
		pl.Backups[g.Ref.Name] = state.LastBackup{Time: newest.CTime.In(q.Have.Now.Location()), Storage: storage, Disk: disk, Size: newest.Size}
	}
}
