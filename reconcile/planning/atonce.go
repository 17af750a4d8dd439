package planning

import (
	"slices"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// wantedAtOnce reports whether a person wants a backup of a guest now that has not been made since.
func wantedAtOnce(p *planner, b *spec.Backup, g *spec.Guest, own []questions.OwnBackup, born time.Time) bool {
	if !p.Have.AtOnce.Wants(b.Ref, g.Ref.Name) {
		return false
	}
	newest := questions.NewestOwn(p.Questions, own, born)
	return newest.IsZero() || !p.Have.AtOnce.Made(newest)
}

// backupID names the action: what is made by hand does not count among what the schedule made.
func backupID(b *spec.Backup, g *spec.Guest, byHand bool) string {
	if byHand {
		return b.Ref.String() + "/" + g.Ref.Name + "/now"
	}
	return b.Ref.String() + "/" + g.Ref.Name + "/create"
}

// snapshotAtOnce is the same of a periodic snapshot.
func snapshotAtOnce(p *planner, s *spec.Snapshot, g *spec.Guest, own []proxmox.Snapshot) bool {
	return p.Have.AtOnce.Wants(s.Ref, g.Ref.Name) && !slices.ContainsFunc(own, func(have proxmox.Snapshot) bool { return p.Have.AtOnce.Made(have.Time) })
}

// limitToAtOnce leaves in a plan what a person wants now, and the disks that it needs: who wants a backup before a
// change does not want the change first.
func limitToAtOnce(p *plan.Plan, have *node.Observed) {
	if len(have.AtOnce.Names) == 0 {
		return
	}
	other := func(ref spec.Ref) bool { return ref.Kind != spec.KindMount && !have.AtOnce.Objects(ref) }
	p.Objects = slices.DeleteFunc(p.Objects, other)
	p.Guests = slices.DeleteFunc(p.Guests, other)
	p.Actions = slices.DeleteFunc(p.Actions, func(a plan.Action) bool { return other(a.Object) })
	p.Deferred = slices.DeleteFunc(p.Deferred, func(d plan.Deferred) bool { return other(d.Object) })
	p.Running = slices.DeleteFunc(p.Running, func(r plan.Running) bool { return other(r.Object) })
	p.Blocked = slices.DeleteFunc(p.Blocked, func(b plan.Blocked) bool { return other(b.Object) })
	p.Notes = slices.DeleteFunc(p.Notes, func(n plan.Note) bool { return other(n.Object) })
}
