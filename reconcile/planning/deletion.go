package planning

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// toBeDeleted is why a guest with ensure: absent is down.
const toBeDeleted = "it has ensure: absent"

// planAbsent plans the deletion of a guest, one step at a time: it is stopped, which fixes what it last wrote; then
// backed up, unless an archive has all of that; then deleted. Nothing is stopped that could not be deleted afterwards.
func planAbsent(p *planner, g *spec.Guest, s *node.GuestState) outcome {
	o, out := &g.Object, outcome{down: toBeDeleted}
	if _, named := p.Have.Named[g.Ref]; p.Have.Scope != nil && !named {
		return out // it is here only because something else that was named needs it
	}
	switch ob := questions.OtherType(p.Questions, g.Type, g.VMID); {
	case ob != nil:
		p.block(o, "type", ob.Reason, ob.Fix...)
	case s == nil:
		unseen(p, g)
	case s.Err != nil:
		blockUnread(p, o, g.VMID, g.Type, s.Err)
	case s.Config == nil:
		p.await(o, fmt.Sprintf("the configuration of %d was not read", g.VMID), "run it again")
	case stale(p, o, s):
	default:
		if ob := questions.StaysUndeleted(p.Questions, g, s); ob != nil {
			p.blockFor(o, "ensure", ob, plan.Deferred{})
			return out
		}
		m, _ := marker.OneMarker(s.Config.Description())
		d := &deletion{p, g, s, m, questions.LossOf(s)}
		d.next()
	}
	return out
}

// unseen blocks a guest of which is not known whether it is gone: PVE hides what the token may not see.
func unseen(p *planner, g *spec.Guest) {
	if p.Have.Memory.Done[deletionID(g)] {
		return // with the guest PVE takes away all entries on its path
	}
	if ob := questions.Missing(p.Questions, fmt.Sprintf("/vms/%d", g.VMID), "VM.Audit"); ob != nil {
		p.block(&g.Object, "vmid", ob.Reason, ob.Fix...)
	}
}

func deletionID(g *spec.Guest) string { return g.Ref.String() + "/delete" }

// A deletion is one guest that is here, is ours, and is to go.
type deletion struct {
	*planner
	g    *spec.Guest
	s    *node.GuestState
	mark marker.Marker
	loss questions.Loss
}

// next plans the next step.
func (d *deletion) next() {
	var to *spec.Backup
	last, pending := questions.LastBackup(d.Questions, d.g, d.mark.Born)
	running := d.s.Status != "stopped"
	if running {
		last, pending = nil, nil
	}
	if last != nil || d.g.NoBackup {
		pending = nil
	}
	if !d.g.NoBackup && last == nil && pending == nil {
		var ok bool
		if to, ok = d.target(); !ok {
			return
		}
	}
	switch {
	case running:
		call, wait := questions.Shutdown(d.Questions, d.g, d.s)
		d.step(plan.Action{ID: deletionID(d.g) + "/stop", Verb: "stop", Symbol: plan.Power, Text: fmt.Sprintf("shut down %d, to delete it", d.g.VMID), Effect: plan.Disruptive, Timeout: wait, Call: &call})
	case pending != nil:
		d.due(d.Have.Now.Add(time.Minute))
		a := d.delete(pending)
		d.later(plan.Defer(&a, "when its last backup is verified"))
	case to != nil:
		d.backUp(to)
	default:
		d.step(d.delete(last))
	}
}

// step adds a step of the deletion, all of which wait for a person who has seen the deletion in a plan.
func (d *deletion) step(a plan.Action) {
	a.Object, a.Queue = d.g.Ref, Queue(d.g.VMID)
	if a.Facts == nil {
		a.Facts = map[string]string{}
	}
	a.Facts[journal.FactDeletes] = d.g.VMID.String()
	d.add(a)
}

// target is the declared backup by which the last archive is made; of several the first that can take it. ok is false
// where there is none, which is said.
func (d *deletion) target() (b *spec.Backup, ok bool) {
	var why *plan.Blocker
	for _, b := range d.Want.LastBackups(d.g.Ref.Name) {
		if questions.Elsewhere(d.Questions, b.Ref) != "" {
			continue
		}
		ob := questions.TakesLast(d.Questions, d.mounting, b, d.g, d.s)
		if ob == nil {
			return b, true
		}
		if why == nil {
			why = ob
		}
	}
	if why == nil {
		why = &plan.Blocker{Reason: fmt.Sprintf("no declared backup names %s, so none can be made of it before it is deleted", d.g.Ref.Name), Fix: []string{"name it under backups:", "or delete it without one: backup: none"}}
	} else if why.Mount == "" {
		why = &plan.Blocker{Reason: fmt.Sprintf("%d is not deleted without its last backup: %s", d.g.VMID, why.Reason), Fix: why.Fix, Passes: why.Passes}
	}
	d.blockFor(&d.g.Object, "backup", why, plan.Deferred{Verb: journal.VerbDelete, Symbol: plan.Delete, Text: fmt.Sprintf("back up and delete %d", d.g.VMID)})
	return nil, false
}

// backUp plans the last backup. The guest is stopped, and that is noted in the archive.
func (d *deletion) backUp(b *spec.Backup) {
	m := marker.Marker{Object: b.Ref.String(), VMID: d.g.VMID, Owner: d.Have.Owner, Born: d.mark.Born,
		Facts: map[string]string{"guest": d.g.Ref.Name, "host": d.Have.Node, questions.StoppedFact: d.Have.Now.UTC().Format(time.RFC3339)}}
	call := questions.Vzdump(d.Questions, d.g.VMID, b.Storage, b.Mode, b.Compress, m)
	if b.ChangeDetection != "" {
		call.Params["pbs-change-detection-mode"] = b.ChangeDetection
	}
	facts := questions.DumpFacts(d.Questions, b.Storage)
	maps.Copy(facts, questions.ServerFacts(d.Questions, b.Storage, d.g))
	d.step(plan.Action{ID: deletionID(d.g) + "/backup", Guest: d.g.Ref.Name, Verb: journal.VerbBackUp, Symbol: plan.Create, Text: fmt.Sprintf("back up %s to %s, to delete it", d.g.Ref.Name, questions.Where(d.Questions, b.Storage)),
		Limit: "vzdump", Timeout: questions.Timeout(&d.g.Object, longTask), Call: &call, Facts: facts})
}

// delete is the deletion itself; last is the archive that holds all that the guest has written, or nil.
func (d *deletion) delete(last *proxmox.StorageContent) plan.Action {
	call := questions.Calls(d.Questions, d.g).DestroyGuest(d.g.VMID)
	facts := map[string]string{journal.FactHostname: d.s.Config.Hostname(), journal.FactDigest: d.s.Config.Digest, journal.FactMarker: questions.OwnMarker(d.mark),
		journal.FactStorages: strings.Join(d.loss.Storages, " ")}
	if last != nil && !d.g.NoBackup {
		facts[journal.FactBackup], facts[journal.FactSize] = last.VolID, strconv.FormatInt(int64(last.Size), 10)
	}
	goes := fmt.Sprintf("%s %d (%s) with its volumes", d.g.Type.Noun(), d.g.VMID, d.s.Config.Hostname())
	if d.s.Snapshots != nil && len(d.s.Snapshots.Snapshots) > 0 {
		goes += " and " + text.Count(len(d.s.Snapshots.Snapshots), "snapshot", "snapshots")
	}
	return plan.Action{ID: deletionID(d.g), Object: d.g.Ref, Queue: Queue(d.g.VMID), Verb: journal.VerbDelete, Symbol: plan.Delete, Text: "delete " + goes, Detail: d.detail(last), Effect: plan.Destroying,
		Irreversible: last == nil, Destroys: goes, Cause: "ensure: absent", Timeout: questions.Timeout(&d.g.Object, questions.ShortTask), Call: &call, Facts: facts}
}

// detail says how the guest comes back, and what does not.
func (d *deletion) detail(last *proxmox.StorageContent) (lines []string) {
	ref, kept := d.g.Ref, d.Have.Stored.Backups[d.g.Ref.Name]
	again := fmt.Sprintf("remove ensure: absent, then felhom-agent --once --only %s", ref)
	if len(d.g.From) == 0 {
		again = fmt.Sprintf("write from: instead of ensure: absent, then felhom-agent --once --only %s", ref)
	}
	switch {
	case last != nil:
		lines = append(lines, fmt.Sprintf("to have it again, from its backup of %s on %s: %s", d.Have.Date(last.CTime), text.ProxmoxStorage(last.VolID), again))
	case !kept.Time.IsZero():
		lines = append(lines, fmt.Sprintf("what it wrote since its backup of %s on %s is lost (backup: none); to have that one again: %s", d.Have.Date(kept.Time), kept.Storage, again))
	default:
		lines = append(lines, "nothing brings it back: it has no backup (backup: none)")
	}
	if len(d.loss.Lost) > 0 {
		lines = append(lines, "in no backup, and lost: "+strings.Join(d.loss.Lost, ", "))
	}
	if len(d.loss.Kept) > 0 {
		lines = append(lines, "folders of the host, which stay: "+strings.Join(d.loss.Kept, ", "))
	}
	return lines
}
