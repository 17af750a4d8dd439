package planning

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// Seen says why the content of a storage cannot be known now, or nil. What cannot
// be seen is not absent.
func (p *Planner) Seen(storage string) *plan.Blocker {
	state := p.Have.Storages[storage]
	if state == nil {
		return &plan.Blocker{
			Reason: fmt.Sprintf("storage %s is not to be seen: it does not exist%s, or the token may not see it", storage, questions.DidYouMean(p.Questions, storage)),
			Fix:    []string{fmt.Sprintf("pvesm status; or give the token's role Datastore.Audit: %s", questions.AppendPrivilege("Datastore.Audit"))},
		}
	}
	if errors.Is(state.Err, node.ErrAmbiguous) {
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s is not used: %v", storage, state.Err), Fix: []string{"compare: pvesm status"}}
	}
	m, mounted := p.Have.MountOf(p.Want, storage)
	if m != nil && m.Storage == storage {
		if ob := questions.Misplaced(p.Questions, m); ob != nil {
			if questions.TellsItself(p.Questions, m) {
				ob.Fix = []string{"as " + m.Ref.String()}
			}
			return ob
		}
	}
	if m != nil && mounted {
		if ob := questions.Ejecting(p.Questions, m); ob != nil {
			return ob
		}
	}
	if m != nil && (!mounted || p.Have.Unread[m.Ref.Name]) {
		if p.mounting[m.Ref.Name] || mounted {
			return &plan.Blocker{Reason: fmt.Sprintf("mounts/%s is not mounted yet", m.Ref.Name), Mount: m.Ref.Name}
		}
		why, cure := questions.Away(p.Questions, m)
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s lies on mounts/%s, which is not mounted%s", storage, m.Ref.Name, why), Fix: cure}
	}
	if state.Conf.Disabled {
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s is disabled", storage), Fix: []string{fmt.Sprintf("pvesm set %s --disable 0", storage)}}
	}
	if state.Status == nil || !state.Status.Active {
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s is not active", storage), Fix: []string{"look: pvesm status"}}
	}
	if state.Err != nil {
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s cannot be read: %v", storage, state.Err), Fix: FixOf(state.Err, "look: pvesm list "+storage),
			Passes: proxmox.IsTransient(state.Err) && !proxmox.IsStuck(state.Err)} // what hangs may hang for hours
	}
	if !state.Read {
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s was not looked at", storage), Fix: []string{"run it again"}}
	}
	return nil
}

// allSeen says which storage's content cannot be known, of those that are to hold backups
// of a guest and of all that the token sees.
func (p *Planner) allSeen(g *spec.Guest) *plan.Blocker {
	for _, name := range slices.Sorted(maps.Keys(p.Want.Backups)) {
		b := p.Want.Backups[name]
		if !slices.Contains(p.Want.BackupGuests(b), g.Ref.Name) {
			continue
		}
		if o := p.Seen(b.Storage); o != nil { // it does not exist, say, or is disabled
			return o
		}
		if o := questions.ListsBackups(p.Questions, b.Storage); o != nil {
			return o
		}
	}
	for _, id := range questions.Storages(p.Questions) {
		if state := p.Have.Storages[id]; state.Conf.Disabled || !node.HoldsGuestData(state.Conf) {
			continue
		}
		if o := p.Seen(id); o != nil {
			return o
		}
		if o := questions.Visible(p.Questions, id); o != nil {
			return o
		}
	}
	return nil
}

// takesBackups says why a storage cannot take archives of ours, or nil.
func (p *Planner) takesBackups(storage string) *plan.Blocker {
	if o := p.Seen(storage); o != nil {
		return o
	}
	if m, mounted := p.Have.MountOf(p.Want, storage); m != nil && mounted && p.Have.Host != nil {
		if o := questions.ReadOnly(p.Questions, m); o != nil {
			return o
		}
	}
	conf := p.Have.Storages[storage].Conf
	if !slices.Contains(conf.Content, "backup") {
		return &plan.Blocker{
			Reason: fmt.Sprintf("storage %s does not take backups (content: %s)", storage, strings.Join(conf.Content, ", ")),
			Fix:    questions.ContentFix(conf, "backup"),
		}
	}
	if prune := conf.PruneBackups; prune != "" && prune != "keep-all=1" {
		return &plan.Blocker{
			Reason: fmt.Sprintf("storage %s has its own retention (%s): PVE would delete archives that are not ours, or refuse ours", storage, prune),
			Fix:    []string{fmt.Sprintf("set it off: pvesm set %s --prune-backups keep-all=1", storage)},
		}
	}
	for _, m := range p.Want.Mounts {
		if m.Storage != storage || !p.Have.HasMount(m) {
			continue
		}
		if conf.IsMountpoint == "" || !node.Within(m.Path, conf.Path) {
			return &plan.Blocker{
				Reason: fmt.Sprintf("storage %s does not say that %s is a mount point (path %s): with the disk away PVE would fill the root disk", storage, m.Path, conf.Path),
				Fix:    []string{fmt.Sprintf("pvesm set %s --is_mountpoint %s", storage, m.Path)},
			}
		}
	}
	if missing := questions.Missing(p.Questions, "/storage/"+storage, "Datastore.AllocateSpace"); missing != nil {
		return missing
	}
	return nil
}

// FixOf reads the fix out of an error of PVE, with a fallback.
func FixOf(err error, fallback string) []string {
	if proxmox.IsDenied(err) {
		if d := proxmox.DeniedBy(err); d != nil && len(d.Privileges) > 0 {
			return []string{questions.AppendPrivilege(d.Privileges[0])}
		}
	}
	return []string{fallback}
}

// holdUnread holds an object whose guest cannot be read; a read that only failed for the
// moment is waited for.
func (p *Planner) holdUnread(o *spec.Object, vmid proxmox.VMID, err error) {
	ob := &plan.Blocker{Reason: fmt.Sprintf("%d cannot be read: %v", vmid, err), Fix: FixOf(err, fmt.Sprintf("look: pct config %d", vmid)), Passes: proxmox.IsTransient(err)}
	p.holdFor(o, "vmid", ob, plan.Deferred{})
}

// holdFor holds an object for an obstacle, or lets it wait for a mount of this plan.
func (p *Planner) holdFor(o *spec.Object, field string, ob *plan.Blocker, waiting plan.Deferred) {
	if ob.Mount != "" {
		waiting.Object = o.Ref
		waiting.Waits = fmt.Sprintf("when mounts/%s is mounted", ob.Mount)
		p.later(waiting)
		return
	}
	held := len(p.Plan.Blocked)
	p.hold(o, field, ob.Reason, ob.Fix...)
	p.Plan.Blocked[held].Passing = ob.Passes
}
