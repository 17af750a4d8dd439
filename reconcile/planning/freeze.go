package planning

import (
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// freezing plans something and, where it is frozen, takes back what that has added:
// one line stays, that says why and how many changes wait.
func (p *Planner) freezing(o *spec.Object, name, why, cure string, pl func()) {
	if why == "" {
		pl()
		return
	}
	actions, laters, held, notes := len(p.Plan.Actions), len(p.Plan.Deferred), len(p.Plan.Blocked), len(p.Plan.Notes)
	starting, startingAt := p.starting, p.startingAt
	pl()
	waits := len(p.Plan.Actions) - actions + len(p.Plan.Deferred) - laters
	p.Plan.Actions, p.Plan.Deferred, p.Plan.Blocked, p.Plan.Notes = p.Plan.Actions[:actions], p.Plan.Deferred[:laters], p.Plan.Blocked[:held], p.Plan.Notes[:notes]
	delete(p.creating, name)
	delete(p.mounting, name)
	p.starting, p.startingAt = starting, startingAt // nobody waits for the start of what is frozen
	p.unmet[name] = why
	if waits > 0 {
		why += "; " + text.Count(waits, "change waits", "changes wait")
	}
	if last, ok := p.Have.Stored.Backups[name]; ok {
		why += fmt.Sprintf("; last good backup %s on %s", p.Have.Date(last.Time), last.Storage)
	}
	p.hold(o, "paused", why, cure)
	p.Plan.Blocked[len(p.Plan.Blocked)-1].Kind = plan.BlockedFrozen
}

// destroyed finds a guest that somebody else destroyed: a vzdestroy that is newer than
// the last creation of that VMID. It waits for a person, for what was destroyed on
// purpose is not to come back by itself.
func (p *Planner) destroyed(o *spec.Object, vmid proxmox.VMID) bool {
	if p.Have.Named[o.Ref] {
		return false
	}
	by, at := "", time.Time{}
	for _, t := range p.Have.Tasks { // newest first
		if t.ID != vmid.String() || t.Running() || !t.OK() {
			continue
		}
		if t.Type == "vzdestroy" {
			by, at = t.Owner(), t.EndTime
			break
		}
		if t.Type == "vzcreate" || t.Type == "vzrestore" || t.Type == "vzclone" {
			break
		}
	}
	if h, ok := p.Have.Stored.Hold(o, state.HoldDestroyed, p.Have.Now); ok && at.IsZero() && h.Name != "all" {
		by, at = h.By, h.Since
	}
	if at.IsZero() {
		return false
	}
	p.Plan.Seen = append(p.Plan.Seen, state.Hold{Name: o.Ref.String(), Kind: state.HoldDestroyed, By: by, Since: at})
	p.hold(o, "vmid", fmt.Sprintf("%d was destroyed by %s on %s", vmid, by, p.Have.Date(at)),
		fmt.Sprintf("to have it again: felhom-agent --once --only %s", o.Ref), "to let it go: remove it from the YAML")
	return true
}

// lastBackups notes the newest whole archive of every declared guest, by the node's clock.
func (p *Planner) lastBackups() {
	for _, g := range node.GuestsOf(p.Want) {
		for _, v := range p.Have.ByGuest[g.VMID] {
			if v.Content != "backup" || p.Have.Wholeness(*v) != node.Whole || p.Have.Future(v.CTime) {
				continue
			}
			if m, _ := marker.OneMarker(v.Notes); m.Facts["guest"] != g.Ref.Name {
				continue
			}
			if p.Plan.Backups == nil {
				p.Plan.Backups = map[string]state.LastBackup{}
			}
			if p.Plan.Backups[g.Ref.Name].Time.Before(v.CTime) {
				storage := text.ProxmoxStorage(v.VolID)
				p.Plan.Backups[g.Ref.Name] = state.LastBackup{Time: v.CTime.In(p.Have.Now.Location()), Storage: storage, Disk: strings.TrimPrefix(strings.TrimPrefix(questions.Where(p.Questions, storage), storage), ", ")}
			}
		}
	}
}
