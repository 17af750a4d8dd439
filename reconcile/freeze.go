package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// holdTag is the tag by which anybody who may edit a guest in the web UI stops the
// agent on it.
const holdTag = "felhom-hold"

// frozen says why an object is to be left alone, and how it is let go: the YAML, a
// hold, or the tag on its guest. What is frozen is planned all the same, so that its
// line can say how much waits.
func (p *planner) frozen(ref spec.Ref) (why, cure string) {
	o := p.want.Object(ref)
	if deliberate.ignoreHolds {
		return "", ""
	}
	if o.Paused {
		return "paused by the YAML", "remove `paused: true` when it may go on"
	}
	if h, ok := p.have.Stored.hold(o, HoldPerson, p.have.Now); ok {
		return p.holdText(h), "felhom-agent --release " + h.Name
	}
	if vmid, ok := p.vmid(ref); ok {
		if state := p.have.Guests[vmid]; state != nil && slices.Contains(state.Tags, holdTag) {
			return fmt.Sprintf("tag %s on %d", holdTag, vmid), "remove it in the web UI"
		}
	}
	if ref.Kind == spec.KindSnapshot { // a hold on a guest stops its snapshots too
		if g := p.want.Guest(p.want.Snapshots[ref.Name].Guest); g != nil {
			if why, cure := p.frozen(g.Ref); why != "" {
				return fmt.Sprintf("%s: %s", g.Ref, why), cure
			}
		}
	}
	return "", ""
}

func (p *planner) holdText(h Hold) string {
	text := "held"
	if h.Name == "all" {
		text = "everything is held"
	}
	if h.By != "" {
		text += " by " + h.By
	}
	text += " since " + p.have.date(h.Since)
	if !h.Until.IsZero() {
		text += " until " + p.have.date(h.Until)
	}
	if h.Why != "" {
		text += fmt.Sprintf(" (%s)", h.Why)
	}
	return text
}

// freezing plans something and, where it is frozen, takes back what that has added:
// one line stays, that says why and how many changes wait.
func (p *planner) freezing(o *spec.Object, name, why, cure string, plan func()) {
	if why == "" {
		plan()
		return
	}
	actions, laters, held, notes := len(p.plan.Actions), len(p.plan.Laters), len(p.plan.Held), len(p.plan.Notes)
	starting, startingAt, surplus := p.starting, p.startingAt, len(p.surplus)
	plan()
	waits := len(p.plan.Actions) - actions + len(p.plan.Laters) - laters
	p.plan.Actions, p.plan.Laters, p.plan.Held, p.plan.Notes = p.plan.Actions[:actions], p.plan.Laters[:laters], p.plan.Held[:held], p.plan.Notes[:notes]
	delete(p.creating, name)
	delete(p.mounting, name)
	p.starting, p.startingAt = starting, startingAt // nobody waits for the start of what is frozen
	p.surplus = p.surplus[:surplus]
	p.unmet[name] = why
	if waits > 0 {
		why += "; " + count(waits, "change waits", "changes wait")
	}
	if last, ok := p.have.Stored.Backups[name]; ok {
		why += fmt.Sprintf("; last good backup %s on %s", p.have.date(last.Time), last.Storage)
	}
	p.hold(o, "paused", why, cure)
	p.plan.Held[len(p.plan.Held)-1].Kind = HeldFrozen
}

// waitsForPerson says why an act waits for somebody to look, in watch mode: nobody has
// yet run the agent on this node, with this journal, under this major version of PVE.
func (p *planner) waitsForPerson(a *Action) (why string, cure []string) {
	stored := p.have.Stored
	here := stored.Trusted != "" && stored.TrustedOn == p.have.Node
	if !p.have.Watching || a.Effect == Safe || here && stored.Trusted == major(p.have.Version) {
		return "", nil
	}
	why = "nobody has looked yet at what this agent does on this node"
	if here {
		why = fmt.Sprintf("PVE has changed from version %s to %s since somebody looked", stored.Trusted, major(p.have.Version))
	}
	return fmt.Sprintf("%s: %s", why, orElse(a.Text, a.Verb)), []string{"look at it: felhom-agent --plan", "let it: felhom-agent --once"}
}

// destroyed finds a guest that somebody else destroyed: a vzdestroy that is newer than
// the last creation of that VMID. It waits for a person, for what was destroyed on
// purpose is not to come back by itself.
func (p *planner) destroyed(o *spec.Object, vmid proxmox.VMID) bool {
	if p.have.Named[o.Ref] {
		return false
	}
	by, at := "", time.Time{}
	for _, t := range p.have.Tasks { // newest first
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
	if h, ok := p.have.Stored.hold(o, HoldDestroyed, p.have.Now); ok && at.IsZero() && h.Name != "all" {
		by, at = h.By, h.Since
	}
	if at.IsZero() {
		return false
	}
	p.plan.Seen = append(p.plan.Seen, Hold{Name: o.Ref.String(), Kind: HoldDestroyed, By: by, Since: at})
	p.hold(o, "vmid", fmt.Sprintf("%d was destroyed by %s on %s", vmid, by, p.have.date(at)),
		fmt.Sprintf("to have it again: felhom-agent --once --only %s", o.Ref), "to let it go: remove it from the YAML")
	return true
}

// lastBackups notes the newest whole archive of every declared guest, by the node's clock.
func (p *planner) lastBackups() {
	for _, g := range guestsOf(p.want) {
		for _, v := range p.have.byGuest[g.VMID] {
			if v.Content != "backup" || p.have.wholeness(*v) != whole || p.have.future(v.CTime) {
				continue
			}
			if m, _ := oneMarker(v.Notes); m.Facts["guest"] != g.Ref.Name {
				continue
			}
			if p.plan.Backups == nil {
				p.plan.Backups = map[string]LastBackup{}
			}
			if p.plan.Backups[g.Ref.Name].Time.Before(v.CTime) {
				storage := proxmoxStorage(v.VolID)
				p.plan.Backups[g.Ref.Name] = LastBackup{Time: v.CTime.In(p.have.Now.Location()), Storage: storage, Disk: strings.TrimPrefix(strings.TrimPrefix(p.where(storage), storage), ", ")}
			}
		}
	}
}
