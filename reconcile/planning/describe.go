package planning

import (
	"strings"

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
	for _, ref := range want.Refs() {
		if have.Scope != nil && !have.Scope[ref] {
			continue
		}
		if node := questions.Elsewhere(q, ref); node != "" {
			pl.Header.Elsewhere = append(pl.Header.Elsewhere, ref.String()+" on "+node)
			continue
		}
		pl.Objects = append(pl.Objects, ref)
	}
	in := map[spec.Ref]bool{}
	for _, ref := range pl.Objects {
		in[ref] = true
		if ref.Kind == spec.KindRestore || ref.Kind == spec.KindGuest {
			pl.Guests = append(pl.Guests, ref)
		}
	}
	for _, f := range have.Memory.Flights {
		if in[f.Object] {
			pl.Running = append(pl.Running, plan.Running{Object: f.Object, Verb: f.Verb, Text: f.Text, Since: f.Since.In(have.Now.Location())})
		}
	}
	lastBackups(q, pl)
	pl.Storages = map[string]plan.Room{}
	for id, s := range have.Storages {
		if s.Status != nil && s.Status.Active && s.Status.Total > 0 {
			pl.Storages[id] = plan.Room{Free: s.Status.Avail, Total: s.Status.Total}
		}
	}
	pl.Servers = serversSeen(q)
}

// lastBackups notes the newest whole archive of every declared guest, by the node's clock.
func lastBackups(q questions.Questions, pl *plan.Plan) {
	for _, g := range node.GuestsOf(q.Want) {
		for _, v := range q.Have.ByGuest[g.VMID] {
			if v.Content != "backup" || node.WholenessOf(q.Have, *v) != node.Whole || q.Have.Future(v.CTime) {
				continue
			}
			if m, _ := q.Have.MarkerOf(v.Notes); m.Facts["guest"] != g.Ref.Name {
				continue
			}
			if pl.Backups == nil {
				pl.Backups = map[string]state.LastBackup{}
			}
			if pl.Backups[g.Ref.Name].Time.Before(v.CTime) {
				storage := text.ProxmoxStorage(v.VolID)
				pl.Backups[g.Ref.Name] = state.LastBackup{Time: v.CTime.In(q.Have.Now.Location()), Storage: storage, Disk: strings.TrimPrefix(strings.TrimPrefix(questions.Where(q, storage), storage), ", "), Size: v.Size}
			}
		}
	}
}
