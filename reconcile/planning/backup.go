package planning

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/retention"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// planBackup plans the backups of every guest that the object covers, what is to be
// written into the notes of those just made, and the pruning of its own archives.
func (p *Planner) planBackup(b *spec.Backup) {
	o := &b.Object
	if ob := p.takesBackups(b.Storage); ob != nil {
		p.holdFor(o, "storage", ob, plan.Deferred{Verb: "back up", Symbol: plan.Create, Text: fmt.Sprintf("back up %s to %s, as far as it is due", strings.Join(p.Want.BackupGuests(b), ", "), b.Storage)})
		return
	}
	if m, mounted := p.Have.MountOf(p.Want, b.Storage); m != nil && mounted {
		if text := questions.Dying(p.Questions, m); text != "" {
			p.note(o, "%s", text)
		}
	}
	p.planRecords(o, b.Storage, func(m marker.Marker) bool {
		return m.Object == o.Ref.String() || o.Was != "" && m.Object == "backups/"+o.Was
	})
	var later []string // of guests that this plan makes
	p.shortages = nil
	for _, name := range p.Want.BackupGuests(b) {
		g := p.Want.Guest(name)
		if questions.Elsewhere(p.Questions, g.Ref) != "" {
			continue
		}
		if p.Have.Guests[g.VMID] == nil && p.creating[name] {
			later = append(later, name) // what is due shows when it is there: a restored guest keeps its birth
			continue
		}
		why, cure := questions.Frozen(p.Questions, g.Ref)
		if why != "" {
			why = fmt.Sprintf("%s: %s", g.Ref, why)
		}
		known := len(p.shortages)
		p.freezing(o, b.Ref.String(), why, cure, func() { p.planBackupOf(b, g) })
		if why != "" {
			p.shortages = p.shortages[:known]
		}
	}
	p.holdShort(b)
	if len(later) > 0 {
		waits := "when they exist"
		if len(later) == 1 {
			waits = fmt.Sprintf("when %s exists", p.Want.Guest(later[0]).Ref)
		}
		p.later(plan.Deferred{Object: o.Ref, Verb: "back up", Symbol: plan.Create, Text: fmt.Sprintf("back up %s to %s, as far as it is due", text.List(later), b.Storage), Waits: waits})
	}
}

// planBackupOf plans the backup of one guest where it is due, and the pruning of the
// archives that this object has made of it in its present life.
func (p *Planner) planBackupOf(b *spec.Backup, g *spec.Guest) {
	o := &b.Object
	if ob := p.Have.AmbiguousArchive(b.Storage, g.VMID); ob != nil {
		p.hold(o, "storage", fmt.Sprintf("%s; %s is not backed up and nothing of it is deleted", ob.Reason, g.Ref.Name), ob.Fix...)
		return
	}
	own := questions.OwnBackups(p.Questions, b, g)
	p.holdDamaged(b, g)
	state := p.Have.Guests[g.VMID]
	var born time.Time
	if state != nil && state.Config != nil {
		if m, ok := marker.OneMarker(state.Config.Description()); ok {
			born = m.Born
		}
	}
	lost, isLost := p.lost[g.Ref.Name]
	if isLost {
		born = lost.Born
	}
	due, slot := p.backupDue(b, own, born)
	if b.At != nil {
		p.Plan.DueAt(b.At.Next(p.Have.Now))
	} else if !due {
		p.Plan.DueAt(questions.NewestOwn(p.Questions, own, born).Add(b.Every))
	}
	if due && !p.wantedAgain(b, g, slot) {
		text := fmt.Sprintf("back up %s to %s", g.Ref.Name, b.Storage)
		state, marker, ok := p.ready(o, g, "back up", text)
		if !ok {
			return
		}
		if p.creating[g.Ref.Name] && g.State == spec.Running && state.Status != "running" {
			p.later(plan.Deferred{Object: o.Ref, Verb: "back up", Symbol: plan.Create, Text: text, Waits: fmt.Sprintf("when %s runs", g.Ref)})
			return
		}
		p.backUp(b, g, state, marker)
	}
	p.warnOverdue(b, g, own, born)
	p.noteFuture(b, g)
	if isLost || born.IsZero() {
		return
	}
	p.pruneBackups(b, g, own, born)
}

// holdDamaged names the archives of a guest that are not all there, which nobody else would:
// PVE lists them like any other.
func (p *Planner) holdDamaged(b *spec.Backup, g *spec.Guest) {
	for _, v := range p.Have.ByGuest[g.VMID] {
		if v.Content != "backup" || text.ProxmoxStorage(v.VolID) != b.Storage || p.Have.Wholeness(*v) != node.Damaged {
			continue
		}
		m, ok := marker.OneMarker(v.Notes)
		if !ok { // they were lost with the rest
			m, ok = marker.OneMarker(p.Have.Memory.Archives[v.VolID].Marker)
		}
		if ok && questions.OwnsSeries(p.Questions, m, &b.Object, g) {
			p.hold(&b.Object, "storage", fmt.Sprintf("the archive %s of %s is damaged (%s); it does not count as a backup", v.VolID, g.Ref.Name, p.Have.Damage(*v)),
				"when nothing in it is needed: pvesm free "+v.VolID)
		}
	}
}

// backupDue reports whether a backup is due, and the slot that it is for. `every`
// counts from the newest one; `at` wants one since its last slot, which is made up
// once while it is not too late. A guest that was born after the slot waits for the
// next one.
func (p *Planner) backupDue(b *spec.Backup, own []questions.OwnBackup, born time.Time) (bool, time.Time) {
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
		p.noteLate(b, slot)
		return false, slot
	}
	return true, slot
}

// noteFuture names the archives that a wrong clock has dated.
func (p *Planner) noteFuture(b *spec.Backup, g *spec.Guest) {
	for _, v := range p.Have.ByGuest[g.VMID] {
		if m, ok := marker.OneMarker(v.Notes); ok && v.Content == "backup" && p.Have.Future(v.CTime) && text.ProxmoxStorage(v.VolID) == b.Storage && questions.OwnsSeries(p.Questions, m, &b.Object, g) {
			p.note(&b.Object, "the archive %s of %s is dated in the future (%s): it does not count and is never pruned", v.VolID, g.Ref.Name, p.Have.Date(v.CTime))
		}
	}
}

// wantedAgain says that a backup is due although it was made often enough since it
// became due: PVE does not show the archives, or something takes them away. Going on
// would fill the disk.
func (p *Planner) wantedAgain(b *spec.Backup, g *spec.Guest, slot time.Time) (held bool) {
	if b.At == nil {
		slot = slot.Add(-b.Every)
	}
	made := 0
	for _, t := range p.Have.Memory.BackedUp[b.Ref.String()+"/"+g.Ref.Name+"/create"] {
		if t.After(slot) && !p.Have.Future(t) { // what a clock that was ahead has dated says nothing
			made++
		}
	}
	if made < journal.RepeatLimit {
		return false
	}
	p.hold(&b.Object, "storage", fmt.Sprintf("%s was backed up %d times since %s, and %s shows no such archive", g.Ref.Name, made, p.Have.Date(slot), b.Storage),
		fmt.Sprintf("look what becomes of them: pvesm list %s --vmid %d; felhom-agent --history --only %s", b.Storage, g.VMID, b.Ref))
	return true
}

// noteLate says once per object that a slot was missed.
func (p *Planner) noteLate(b *spec.Backup, slot time.Time) {
	if !p.late[b.Ref] {
		p.late[b.Ref] = true
		p.note(&b.Object, "the backup of %s was not made within %s; it waits for %s", p.Have.Date(slot), text.Ago(b.Late), p.Have.Date(b.At.Next(p.Have.Now)))
	}
}

func (p *Planner) warnOverdue(b *spec.Backup, g *spec.Guest, own []questions.OwnBackup, born time.Time) {
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
		p.hold(&b.Object, "warn-after", fmt.Sprintf("no whole backup of %s since %s", g.Ref.Name, p.Have.Date(last)), "look why: felhom-agent --history --only "+b.Ref.String())
		p.Plan.Blocked[len(p.Plan.Blocked)-1].Kind = plan.BlockedOverdue
	}
}

// backUp sends one vzdump: with remove=0, else PVE prunes archives that are not ours
// by the storage's retention; with mode and compress, whose defaults in the API are
// a silent fall back to suspend and a plain tar; and with the marker as notes.
func (p *Planner) backUp(b *spec.Backup, g *spec.Guest, state *node.GuestState, mark marker.Marker) {
	o := &b.Object
	if ob := questions.Missing(p.Questions, fmt.Sprintf("/vms/%d", g.VMID), "VM.Backup"); ob != nil {
		p.hold(o, "guests", ob.Reason, ob.Fix...)
		return
	}
	if state.HA != "" && b.Mode == "stop" && state.Status == "running" {
		p.hold(o, "mode", fmt.Sprintf("PVE refuses mode stop for %s, which HA has started", g.Ref.Name), "use mode: snapshot")
		return
	}
	if b.Mode == "stop" && state.Status == "running" && p.amidBulk(o) {
		return
	}
	if ob := p.staysDown(g); ob != nil && b.Mode == "stop" && state.Status == "running" {
		p.hold(o, "mode", fmt.Sprintf("mode stop would leave %s down, for it could not be started again: %s", g.Ref.Name, ob.Reason), append(ob.Fix, "or mode: snapshot")...)
		return
	}
	if s, ok := questions.Short(p.Questions, b, g); ok {
		p.shortages = append(p.shortages, s)
		return
	}
	m := marker.Marker{Object: b.Ref.String(), VMID: g.VMID, Owner: p.Have.Owner, Born: mark.Born, Facts: map[string]string{"guest": g.Ref.Name, "host": p.Have.Node}}
	call := questions.Vzdump(p.Questions, g.VMID, b.Storage, b.Mode, b.Compress, m)
	a := plan.Action{ID: b.Ref.String() + "/" + g.Ref.Name + "/create", Object: b.Ref, Guest: g.Ref.Name, Verb: "back up", Symbol: plan.Create,
		Text: fmt.Sprintf("back up %s to %s", g.Ref.Name, questions.Where(p.Questions, b.Storage)), Queue: Queue(g.VMID), Limit: "vzdump", Timeout: questions.Timeout(o, longTask), Call: &call,
		Facts: questions.DumpFacts(p.Questions, b.Storage)}
	if b.Mode == "stop" && state.Status == "running" {
		a.Effect = plan.Disruptive
		a.Detail = []string{fmt.Sprintf("PVE shuts %d down for that and starts it again", g.VMID)}
	}
	p.act(a)
}

// planRecords writes into the notes of our archives how long they are: the proof, by
// which later passes know a whole archive from one that a pulled disk has cut off.
// Only archives count whose task ended well and that have been written out since.
func (p *Planner) planRecords(o *spec.Object, storage string, mine func(marker.Marker) bool) {
	for _, v := range p.Have.Storages[storage].Content {
		state := p.Have.Wholeness(v)
		if v.Content != "backup" || node.Ambiguous(v) || state == node.Damaged || state != node.Unproven && v.Notes != "" {
			continue
		}
		made, known := p.Have.Memory.Archives[v.VolID]
		m, marked := marker.OneMarker(v.Notes)
		if !marked && known {
			m, marked = marker.OneMarker(made.Marker) // the notes were lost: vzdump writes them after the archive
		}
		if !marked || m.Owner != p.Have.Owner || !mine(m) {
			continue
		}
		if !known || !made.Whole {
			if !known {
				p.note(o, "the archive %s has no size in its notes and its task is not known: it does not count as whole", v.VolID)
			}
			continue
		}
		call := proxmox.On(p.Have.Node).SetNotes(v.VolID, m.With("size", strconv.FormatInt(int64(v.Size), 10)).With("begun", questions.BegunOf(p.Questions, v, made)).String())
		p.act(plan.Action{ID: o.Ref.String() + "/record/" + v.VolID, Object: o.Ref, Verb: "record", Symbol: plan.Change,
			Text: fmt.Sprintf("note the size of the archive of %d of %s: %s", v.VMID, p.Have.Date(v.CTime), v.Size.Human()), Queue: "archive/" + v.VolID, Timeout: questions.Timeout(o, questions.ShortTask), Call: &call,
			Facts: questions.DumpFacts(p.Questions, storage)})
	}
}

// pruneBackups deletes what keep does not keep, one archive at a time, for the token
// may not let PVE prune. It stays within the guest's present birth; the newest whole
// archive, protected ones and those that a restore reads are never deleted.
func (p *Planner) pruneBackups(b *spec.Backup, g *spec.Guest, own []questions.OwnBackup, born time.Time) {
	if rivals := p.Have.GuestRivals(g, b.Storage, g.VMID); rivals != nil {
		decided, ok := p.Have.Decided(rivals, g)
		if !ok || !decided.Born.Equal(born) {
			ob := p.Have.RivalBlocker(rivals, true)
			p.hold(&b.Object, "keep", ob.Reason+"; nothing is deleted", ob.Fix...)
			return
		}
		own = slices.DeleteFunc(own, func(have questions.OwnBackup) bool {
			of, ok := p.Have.GenerationOf(have.Volume)
			return !ok || of != decided
		})
	}
	var items []retention.KeptItem
	for _, have := range own {
		if have.State == node.Whole && !have.Volume.Protected && have.Marker.Born.Equal(born) {
			items = append(items, retention.KeptItem{ID: have.Volume.VolID, Time: have.Volume.CTime})
		}
	}
	drop := slices.DeleteFunc(retention.Retain(b.Keep, items, p.Have.Now.Location()), p.read)
	for _, volid := range drop {
		p.deleteArchive(&b.Object, g.Ref.Name, *p.Have.Volume(volid), "keep", fmt.Sprintf("of %s: beyond %s", g.Ref.Name, b.Keep))
	}
}

// read reports whether an archive is needed: the YAML names it, or a restore that runs,
// or that this plan holds, reads it. Which one somebody else's restore reads PVE does
// not tell, so that one reads them all.
func (p *Planner) read(volid string) bool {
	file := p.Have.File(volid)
	same := func(other string) bool { return other != "" && p.Have.File(other) == file }
	for _, g := range node.GuestsOf(p.Want) {
		if slices.ContainsFunc(g.From, func(s spec.Source) bool { return same(s.Archive) }) {
			return true
		}
	}
	for reading := range p.Have.Memory.Reading {
		if same(reading) {
			return true
		}
	}
	return slices.ContainsFunc(p.Plan.Actions, func(a plan.Action) bool { return same(a.Facts["reads"]) }) ||
		slices.ContainsFunc(p.Have.TasksOf("vzrestore"), func(t proxmox.Task) bool {
			vmid, err := proxmox.ParseVMID(t.ID)
			_, ours := p.Have.Memory.Making[vmid]
			return err != nil || !ours
		})
}

func (p *Planner) deleteArchive(o *spec.Object, guest string, v proxmox.StorageContent, cause, why string) {
	call := proxmox.On(p.Have.Node).DeleteVolume(v.VolID)
	p.act(plan.Action{ID: o.Ref.String() + "/delete/" + v.VolID, Object: o.Ref, Guest: guest, Verb: "delete archive", Symbol: plan.Delete,
		Text: fmt.Sprintf("delete the archive of %s %s", p.Have.Date(v.CTime), why), Effect: plan.Deleting, Irreversible: true, Cause: cause, VolID: v.VolID, Queue: "archive/" + v.VolID, Limit: "delete from " + text.ProxmoxStorage(v.VolID), Timeout: questions.Timeout(o, questions.ShortTask), Call: &call})
}
