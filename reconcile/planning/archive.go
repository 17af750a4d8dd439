package planning

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/retention"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// planVerified writes into the notes of our archives how long they are: the proof, by
// which later passes know a whole archive from one that a pulled disk has cut off.
// Only archives count whose task ended well and that have been written out since.
func planVerified(p *planner, o *spec.Object, storage string, mine func(marker.Marker) bool) {
	for _, v := range p.Have.Storages[storage].Content {
		state := node.WholenessOf(p.Have, v)
		if v.Content != "backup" || node.Ambiguous(v) || state == node.Damaged || state == node.Unfinished || state != node.Unproven && v.Notes != "" {
			continue
		}
		made, known := p.Have.Memory.Archives[v.VolID]
		m, marked := p.Have.MarkerOf(v.Notes)
		if !marked && known {
			m, marked = marker.OneMarker(made.Marker) // the notes were lost: vzdump writes them after the archive
		}
		if !marked || m.Owner != p.Have.Owner || !mine(m) {
			continue
		}
		if !known || !made.Whole {
			if !known {
				p.note(o, "the archive %s has no size in its notes and its task is not known: it does not count as verified", v.VolID)
			}
			continue
		}
		call := proxmox.On(p.Have.Node).SetNotes(v.VolID, m.With("size", strconv.FormatInt(int64(v.Size), 10)).With("begun", questions.BegunOf(p.Questions, v, made)).String())
		p.add(plan.Action{ID: o.Ref.String() + "/record/" + v.VolID, Object: o.Ref, Verb: "record", Symbol: plan.Change,
			Text: fmt.Sprintf("note the size of the archive of %d of %s: %s", v.VMID, p.Have.Date(v.CTime), v.Size.Human()), Queue: "archive/" + v.VolID, Timeout: questions.Timeout(o, questions.ShortTask), Call: &call,
			Facts: questions.DumpFacts(p.Questions, storage)})
	}
}

// pruneBackups deletes what keep does not keep, one archive at a time, for the token
// may not let PVE prune. It stays within the guest's present birth; the newest whole
// archive, protected ones and those that a restore reads are never deleted. Beside an archive
// that is ahead of the clock nothing is: which one is the newest shows when its time has come.
func pruneBackups(p *planner, b *spec.Backup, g *spec.Guest, own []questions.OwnBackup, born time.Time) {
	if rivals := node.GuestRivals(p.Have, g, b.Storage, g.VMID); rivals != nil {
		decided, ok := node.Decided(p.Have, rivals, g)
		if !ok || !decided.Born.Equal(born) {
			ob := node.RivalBlocker(p.Have, rivals, true)
			p.block(&b.Object, "keep", ob.Reason+"; nothing is deleted", ob.Fix...)
			return
		}
		own = slices.DeleteFunc(own, func(have questions.OwnBackup) bool {
			of, ok := node.GenerationOf(p.Have, have.Volume)
			return !ok || of != decided
		})
	}
	var items []retention.KeptItem
	ahead := false
	for _, have := range own {
		if p.Have.Ahead(have.Volume) {
			ahead = true
			p.due(have.Volume.CTime)
		}
		if have.State == node.Whole && !have.Volume.Protected && have.Marker.Born.Equal(born) {
			items = append(items, retention.KeptItem{ID: have.Volume.VolID, Time: have.Volume.CTime})
		}
	}
	if ahead {
		return
	}
	drop := slices.DeleteFunc(retention.Retain(b.Keep, items, p.Have.Now.Location()), func(volid string) bool { return read(p, volid) })
	for _, volid := range drop {
		deleteArchive(p, &b.Object, g.Ref.Name, *p.Have.Volume(volid), "keep", fmt.Sprintf("of %s: beyond %s", g.Ref.Name, b.Keep))
	}
}

// read reports whether an archive is needed: the YAML names it, or a restore that runs,
// or that this plan holds, reads it. Which one somebody else's restore reads PVE does
// not tell, so that one reads them all.
func read(p *planner, volid string) bool {
	file := p.Have.File(volid)
	same := func(other string) bool { return other != "" && p.Have.File(other) == file }
	for _, g := range p.Want.AllGuests() {
		if slices.ContainsFunc(g.From, func(s spec.Source) bool { return same(s.Archive) }) {
			return true
		}
	}
	for reading := range p.Have.Memory.Reading {
		if same(reading) {
			return true
		}
	}
	return slices.ContainsFunc(p.plan.Actions, func(a plan.Action) bool { return same(a.Facts["reads"]) }) ||
		slices.ContainsFunc(p.Have.TasksOf(proxmox.TasksOf("restore")...), func(t proxmox.Task) bool {
			vmid, err := proxmox.ParseVMID(t.ID)
			_, ours := p.Have.Memory.Making[vmid]
			return err != nil || !ours
		})
}

func deleteArchive(p *planner, o *spec.Object, guest string, v proxmox.StorageContent, cause, why string) {
	call := proxmox.On(p.Have.Node).DeleteVolume(v.VolID)
	p.add(plan.Action{ID: o.Ref.String() + "/delete/" + v.VolID, Object: o.Ref, Guest: guest, Verb: "delete archive", Symbol: plan.Delete,
		Text: fmt.Sprintf("delete the archive of %s %s", p.Have.Date(v.CTime), why), Effect: plan.Deleting, Irreversible: true, Cause: cause, VolID: v.VolID, Queue: "archive/" + v.VolID, Limit: "delete from " + text.ProxmoxStorage(v.VolID), Timeout: questions.Timeout(o, questions.ShortTask), Call: &call})
}
