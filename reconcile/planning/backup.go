package planning

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// planBackup plans the backups of every guest that the object covers, what is to be
// written into the notes of those just made, and the pruning of its own archives.
func planBackup(p *planner, b *spec.Backup) {
	o := &b.Object
	if ob := questions.TakesBackups(p.Questions, p.mounting, b.Storage); ob != nil {
		p.blockFor(o, "storage", ob, plan.Deferred{Verb: journal.VerbBackUp, Symbol: plan.Create, Text: fmt.Sprintf("back up to %s if due: %s", b.Storage, strings.Join(questions.BackupGuests(p.Questions, b), ", "))})
		return
	}
	if m, mounted := p.Have.MountOf(p.Want, b.Storage); m != nil && mounted {
		if text := questions.Dying(p.Questions, m); text != "" {
			p.note(o, "%s", text)
		}
	}
	planVerified(p, o, b.Storage, func(m marker.Marker) bool {
		if part := p.Have.Part[b.Ref]; part != nil && !slices.ContainsFunc(part, func(name string) bool { return p.Want.Guest(name).VMID == m.VMID }) {
			return false
		}
		return m.Object == o.Ref.String() || o.Was != "" && m.Object == "backups/"+o.Was
	})
	describeServer(p, b)
	var later []string // of guests that this plan makes
	var found ofGuests
	for _, name := range questions.BackupGuests(p.Questions, b) {
		g := p.Want.Guest(name)
		if questions.Elsewhere(p.Questions, g.Ref) != "" {
			continue
		}
		if p.Have.Guests[g.VMID] == nil && p.of(g.Ref).coming {
			later = append(later, name) // what is due shows when it is there: a restored guest keeps its birth
			continue
		}
		why, fix := questions.Frozen(p.Questions, g.Ref)
		if why != "" {
			why = fmt.Sprintf("%s: %s", g.Ref, why)
		}
		before := found
		p.paused(o, b.Ref.String(), why, fix, func() { planBackupOf(p, b, g, &found) })
		if why != "" {
			found = before
		}
	}
	blockShort(p, b, found.short)
	blockUnowned(p, b, found.unowned)
	if len(later) > 0 {
		waits := "when they exist"
		if len(later) == 1 {
			waits = fmt.Sprintf("when %s exists", p.Want.Guest(later[0]).Ref)
		}
		p.later(plan.Deferred{Object: o.Ref, Verb: journal.VerbBackUp, Symbol: plan.Create, Text: fmt.Sprintf("back up to %s if due: %s", b.Storage, strings.Join(later, ", ")), Waits: waits})
	}
}

// ofGuests is what is said once for all guests that a backup covers.
type ofGuests struct {
	late  bool               // that its slot was missed has been noted
	short []refresh.Shortage // for whose archives the storage has no room
	// unowned are those whose backups belong to another user of the backup server, with its words.
	unowned []unowned
}

// planBackupOf plans the backup of one guest where it is due, and the pruning of the
// archives that this object has made of it in its present life.
func planBackupOf(p *planner, b *spec.Backup, g *spec.Guest, found *ofGuests) {
	o := &b.Object
	if ob := node.AmbiguousArchive(p.Have, b.Storage, g.VMID); ob != nil {
		p.block(o, "storage", fmt.Sprintf("%s; %s is not backed up and nothing of it is deleted", ob.Reason, g.Ref.Name), ob.Fix...)
		return
	}
	own := questions.OwnBackups(p.Questions, b, g)
	blockDamaged(p, b, g)
	noteUnfinished(p, b, g)
	state := p.Have.Guests[g.VMID]
	var born time.Time
	if state != nil && state.Config != nil {
		if m, ok := marker.OneMarker(state.Config.Description()); ok {
			born = m.Born
		}
	}
	lost := p.of(g.Ref).lost
	if lost != nil {
		born = lost.Born
	}
	scheduled := slices.DeleteFunc(slices.Clone(own), func(have questions.OwnBackup) bool { return node.ByHand(have.Marker) })
	due, slot := backupDue(p, b, scheduled, born, found)
	if b.At != nil {
		p.due(b.At.Next(p.Have.Now))
	} else if !due {
		p.due(questions.NewestOwn(p.Questions, scheduled, born).Add(b.Every))
	}
	byHand := !due && wantedAtOnce(p, b, g, own, born)
	if byHand {
		due, slot = true, p.Have.AtOnce.Since
	}
	if says := questions.ServerOwnedBy(p.Questions, b, g); says != "" && state != nil {
		found.unowned = append(found.unowned, unowned{g.Ref.Name, says})
		due = false
	}
	if flight := p.Have.Memory.FlightOn(g.VMID); flight != nil && flight.ID == backupID(b, g, byHand) {
		due = false // it is being made
	}
	if due && !wantedAgain(p, b, g, slot, byHand) {
		text := fmt.Sprintf("back up %s to %s", g.Ref.Name, b.Storage)
		state, marker, ok := ready(p, o, g, journal.VerbBackUp, text)
		if !ok {
			return
		}
		if p.of(g.Ref).coming && g.State == spec.Running && state.Status != "running" {
			p.later(plan.Deferred{Object: o.Ref, Verb: journal.VerbBackUp, Symbol: plan.Create, Text: text, Waits: fmt.Sprintf("when %s runs", g.Ref)})
			return
		}
		if short := backUp(p, b, g, state, marker, byHand); short != nil {
			found.short = append(found.short, *short)
		}
	}
	warnOverdue(p, b, g, own, born)
	noteFuture(p, b, g)
	if lost != nil || born.IsZero() || questions.ServerKeeps(p.Questions, b) {
		return
	}
	pruneBackups(p, b, g, own, born)
}

// blockDamaged names the archives of a guest that are not all there, which nobody else would:
// PVE lists them like any other.
func blockDamaged(p *planner, b *spec.Backup, g *spec.Guest) {
	for _, v := range p.Have.ByGuest[g.VMID] {
		if v.Content != "backup" || text.ProxmoxStorage(v.VolID) != b.Storage || node.WholenessOf(p.Have, *v) != node.Damaged {
			continue
		}
		m, ok := p.Have.MarkerOf(v.Notes)
		if !ok { // they were lost with the rest
			m, ok = marker.OneMarker(p.Have.Memory.Archives[v.VolID].Marker)
		}
		if ok && questions.OwnsSeries(p.Questions, m, &b.Object, g) {
			p.block(&b.Object, "storage", fmt.Sprintf("the archive %s of %s is damaged (%s); it does not count as a backup", v.VolID, g.Ref.Name, node.Damage(p.Have, *v)),
				"when nothing in it is needed: pvesm free "+v.VolID)
		}
	}
}

// backupDue reports whether a backup is due, and the slot that it is for. `every`
// counts from the newest one; `at` wants one since its last slot, which is made up
// once while it is not too late. A guest that was born after the slot waits for the
// next one.
func backupDue(p *planner, b *spec.Backup, own []questions.OwnBackup, born time.Time, found *ofGuests) (bool, time.Time) {
	now := p.Have.Now
	newest := questions.NewestOwn(p.Questions, own, born)
	if b.At == nil {
		return newest.IsZero() || now.Sub(newest) >= b.Every, now
	}
	slot := b.At.Last(now)
	if !newest.Before(slot) || born.After(slot) && !p.Have.Future(born) {
		return false, slot
	}
	if b.Late > 0 && now.Sub(slot) > b.Late {
		if !found.late {
			found.late = true
			p.note(&b.Object, "the backup of %s was not made within %s; it waits for %s", p.Have.Date(slot), text.Ago(b.Late), p.Have.Date(b.At.Next(now)))
		}
		return false, slot
	}
	return true, slot
}

// noteFuture names the archives that a wrong clock has dated.
func noteFuture(p *planner, b *spec.Backup, g *spec.Guest) {
	for _, v := range p.Have.ByGuest[g.VMID] {
		if m, ok := p.Have.MarkerOf(v.Notes); ok && v.Content == "backup" && p.Have.Future(v.CTime) && text.ProxmoxStorage(v.VolID) == b.Storage && questions.OwnsSeries(p.Questions, m, &b.Object, g) {
			p.note(&b.Object, "the archive %s of %s is dated in the future (%s): it does not count and is never pruned", v.VolID, g.Ref.Name, p.Have.Date(v.CTime))
			p.due(v.CTime)
		}
	}
}

// wantedAgain says that a backup is due although it was made often enough since it
// became due: PVE does not show the archives, or something takes them away. Going on
// would fill the disk.
func wantedAgain(p *planner, b *spec.Backup, g *spec.Guest, slot time.Time, byHand bool) (held bool) {
	if b.At == nil && !byHand {
		slot = slot.Add(-b.Every)
	}
	made := 0
	for _, t := range p.Have.Memory.BackedUp[backupID(b, g, byHand)] {
		if t.After(slot) && !p.Have.Future(t) { // what a clock that was ahead has dated says nothing
			made++
		}
	}
	if made < journal.RepeatLimit {
		return false
	}
	p.block(&b.Object, "storage", fmt.Sprintf("%s was backed up %d times since %s, and %s shows no such archive", g.Ref.Name, made, p.Have.Date(slot), b.Storage),
		fmt.Sprintf("see what becomes of them: pvesm list %s --vmid %d; felhom-agent --history --only %s", b.Storage, g.VMID, b.Ref))
	return true
}

// warnOverdue says that a guest has had no complete backup for longer than warn-after.
func warnOverdue(p *planner, b *spec.Backup, g *spec.Guest, own []questions.OwnBackup, born time.Time) {
	if b.WarnAfter == 0 {
		return
	}
	last := born
	for _, have := range own {
		if have.State == node.Whole {
			last = have.Volume.CTime
			break
		}
	}
	if age := p.Have.Now.Sub(last); !last.IsZero() && age > b.WarnAfter {
		p.blockAs(plan.BlockedOverdue, &b.Object, "warn-after", fmt.Sprintf("no verified backup of %s since %s", g.Ref.Name, p.Have.Date(last)), "see why: felhom-agent --history --only "+b.Ref.String())
	}
}

// backUp sends one vzdump: with remove=0, else PVE prunes archives that are not ours
// by the storage's retention; with mode and compress, whose defaults in the API are
// a silent fall back to suspend and a plain tar; and with the marker as notes. Where the
// storage has no room for the archive, it says so instead.
func backUp(p *planner, b *spec.Backup, g *spec.Guest, state *node.GuestState, mark marker.Marker, byHand bool) *refresh.Shortage {
	o := &b.Object
	if ob := questions.Missing(p.Questions, fmt.Sprintf("/vms/%d", g.VMID), "VM.Backup"); ob != nil {
		p.block(o, "guests", ob.Reason, ob.Fix...)
		return nil
	}
	if state.HA != "" && b.Mode == "stop" && state.Status == "running" {
		p.block(o, "mode", fmt.Sprintf("PVE refuses mode stop for %s, which HA has started", g.Ref.Name), "use mode: snapshot")
		return nil
	}
	if b.Mode == "stop" && state.Status == "running" && amidBulk(p, o) {
		return nil
	}
	if ob := questions.StaysDown(p.Questions, p.mounting, g); ob != nil && b.Mode == "stop" && state.Status == "running" {
		p.block(o, "mode", fmt.Sprintf("mode stop would leave %s down, for it could not be started again: %s", g.Ref.Name, ob.Reason), append(ob.Fix, "or mode: snapshot")...)
		return nil
	}
	if s, ok := questions.Short(p.Questions, b, g); ok {
		return &s
	}
	if ob := questions.MemoryShort(p.Questions, g, state); ob != nil {
		p.blockFor(o, "guests", ob, plan.Deferred{})
		return nil
	}
	m := marker.Marker{Object: b.Ref.String(), VMID: g.VMID, Owner: p.Have.Owner, Born: mark.Born, Facts: map[string]string{"guest": g.Ref.Name, "host": p.Have.Node}}
	if byHand {
		m.Facts[node.Unscheduled] = "yes"
	}
	call := questions.Vzdump(p.Questions, g.VMID, b.Storage, b.Mode, b.Compress, m)
	if b.Fleecing != "" && g.Type.VM() {
		call.Params["fleecing"] = "enabled=1,storage=" + b.Fleecing
	}
	if b.ChangeDetection != "" {
		call.Params["pbs-change-detection-mode"] = b.ChangeDetection
	}
	a := plan.Action{ID: backupID(b, g, byHand), Object: b.Ref, Guest: g.Ref.Name, Verb: journal.VerbBackUp, Symbol: plan.Create,
		Text: fmt.Sprintf("back up %s to %s", g.Ref.Name, questions.Where(p.Questions, b.Storage)), Queue: Queue(g.VMID), Limit: "vzdump", Timeout: questions.Timeout(o, longTask), Call: &call,
		Facts: questions.DumpFacts(p.Questions, b.Storage)}
	maps.Copy(a.Facts, questions.ServerFacts(p.Questions, b.Storage, g))
	if b.Mode == "stop" && state.Status == "running" {
		a.Effect = plan.Disruptive
		a.Detail = []string{fmt.Sprintf("PVE shuts %d down for that and starts it again", g.VMID)}
	}
	p.add(a)
	return nil
}
