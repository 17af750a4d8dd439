package planning

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/deliberate"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// planRollback plans the rollback that a guest's YAML asks for. It happens at most
// once, and the guest itself remembers: the request's time is first written into
// its marker, and only when that is read back is the rollback sent, by the agent
// whose journal shows the writing and no attempt. It reports whether anything else
// on the guest has to wait.
func (p *Planner) planRollback(g *spec.Guest, state *node.GuestState, mark marker.Marker) bool {
	r := g.Rollback
	if r == nil {
		return false
	}
	o := &g.Object
	key := rollbackKey(g.Ref, r.Requested)
	remembered := p.Have.Memory.Rollbacks[key]
	marked := false
	if text := mark.Facts["rollback"]; text != "" {
		at, err := time.Parse(time.RFC3339, text)
		marked = err != nil || !at.Before(r.Requested)
	}
	if marked && (remembered.Begun || !remembered.Marked) && !deliberate.Deliberate.RetryRollback {
		switch {
		case remembered.Begun && remembered.Result == journal.ResultOK:
		case remembered.Begun && remembered.Result == "":
			return true // it is under way
		case remembered.Begun:
			p.hold(o, "rollback", fmt.Sprintf("the rollback to %s requested %s is not known to have succeeded (%s)", r.To, r.RequestedText, remembered.Result),
				"look at the guest; to ask again: "+p.askAgain(g), "or remove rollback")
			return false
		default:
			p.note(o, "the rollback to %s requested %s was done or begun; nothing is sent again", r.To, r.RequestedText)
		}
		return false
	}
	if have, torn := ambiguousSnapshot(state); torn {
		p.hold(o, "rollback", fmt.Sprintf("PVE lists the snapshot %s of %s twice, with different values; nothing is rolled back", have.Name, g.Ref.Name),
			fmt.Sprintf("compare: pct listsnapshot %d", g.VMID))
		return false
	}
	snapshot, why, cure := p.RollbackTarget(g, state)
	if why != "" {
		if marked {
			return false // it was carried out, and its snapshot went away later
		}
		p.hold(o, "rollback", why, cure)
		return false
	}
	goes, lost := p.RollbackLoses(state)
	if missing := slices.DeleteFunc(slices.Clone(goes), func(mp string) bool { return slices.Contains(r.Loses, mp) }); len(missing) > 0 {
		p.hold(o, "rollback.loses", fmt.Sprintf("the rollback takes back %s too", text.List(missing)), fmt.Sprintf("if that is meant: loses: [%s]", strings.Join(goes, ", ")))
		return false
	}
	if p.amidBulk(o) {
		return true
	}
	since := p.Have.Date(snapshot.Time)
	text := fmt.Sprintf("%s back to %s (%s, %s ago). Lost: all writes since to %s.", g.Ref.Name, r.To, since, text.Ago(p.Have.Now.Sub(snapshot.Time)), text.List(lost))
	detail := p.ComesBackToo(state)
	if state.Status == "running" && g.State != spec.Running {
		detail = append(detail, "PVE kills it for that, and it stays stopped: the YAML does not say state: running")
	}
	destroys := fmt.Sprintf("all writes to %s (%s) since %s", g.Ref.Name, strings.Join(lost, ", "), since)
	if !marked {
		m := mark.With("rollback", r.Requested.UTC().Format(time.RFC3339)).With("want", "")
		call := proxmox.On(p.Have.Node).SetConfig(g.VMID, proxmox.ConfigChange{
			Set:    map[string]string{"description": marker.Describe(marker.WithoutMarker(state.Config.Description()), m)},
			Digest: state.Config.Digest,
		})
		p.act(plan.Action{ID: g.Ref.String() + "/rollback-mark", Object: g.Ref, Verb: "mark rollback", Symbol: plan.Power, Text: fmt.Sprintf("note in the marker of %d that it is rolled back to %s", g.VMID, r.To),
			Effect: plan.Disruptive, Lane: Lane(g.VMID), Timeout: timeout(o, ShortTask), Call: &call, Facts: map[string]string{"rollback-mark": key}})
		return true
	}
	call := proxmox.On(p.Have.Node).Rollback(g.VMID, r.To)
	p.act(plan.Action{ID: g.Ref.String() + "/rollback", Object: g.Ref, Verb: "roll back", Symbol: plan.Power, Text: text, Detail: detail, Effect: plan.Disruptive, Irreversible: true, Destroys: destroys,
		Lane: Lane(g.VMID), Timeout: timeout(o, ShortTask), Call: &call, Facts: map[string]string{"rollback": key, "restart": "1"}})
	return true
}

// askAgain is the command that prints the lines of a rollback that is asked for now. The
// time itself stands in no plan: a plan stays the same while it is blocked.
func (p *Planner) askAgain(g *spec.Guest) string {
	return fmt.Sprintf("felhom-agent --print-rollback %s/%s", g.Ref, g.Rollback.To)
}

// rollbackKey names one request: the object and its time.
func rollbackKey(ref spec.Ref, requested time.Time) string {
	return ref.String() + "@" + requested.UTC().Format(time.RFC3339)
}

// RollbackTarget finds the snapshot, or says why the request is held.
func (p *Planner) RollbackTarget(g *spec.Guest, state *node.GuestState) (snapshot proxmox.Snapshot, why, cure string) {
	r := g.Rollback
	again := p.askAgain(g)
	switch {
	case !r.Zoned:
		return snapshot, fmt.Sprintf("requested %s has no zone, so nobody can tell when that is", r.RequestedText), "lines with a zone: " + again
	case p.Have.Future(r.Requested):
		return snapshot, fmt.Sprintf("requested %s is in the future by the node's clock", r.RequestedText), "ask again: " + again
	case p.Have.Now.Sub(r.Requested) > 24*time.Hour:
		return snapshot, fmt.Sprintf("requested %s is older than a day: too late to be sure that it is still meant", r.RequestedText), "ask again: " + again + ", or remove rollback"
	}
	if state.Snapshots == nil {
		return snapshot, "its snapshots cannot be read", "look: pct listsnapshot " + g.VMID.String()
	}
	i := slices.IndexFunc(state.Snapshots.Snapshots, func(s proxmox.Snapshot) bool { return s.Name == r.To })
	if i < 0 {
		return snapshot, fmt.Sprintf("%d has no snapshot %s", g.VMID, r.To), "look: pct listsnapshot " + g.VMID.String()
	}
	snapshot = state.Snapshots.Snapshots[i]
	switch {
	case snapshot.State != "":
		return snapshot, fmt.Sprintf("the snapshot %s is not complete (%s)", r.To, snapshot.State), "choose another"
	case !snapshot.Time.Before(r.Requested):
		return snapshot, fmt.Sprintf("the snapshot %s of %s is not older than the request of %s", r.To, p.Have.Date(snapshot.Time), r.RequestedText), "ask again if it is meant: " + again
	}
	for _, id := range p.rollsBackOn(state) {
		if s := p.Have.Storages[id]; s == nil || s.Conf.Type != "zfspool" {
			continue
		}
		for _, other := range state.Snapshots.Snapshots {
			if other.Time.After(snapshot.Time) && other.Name != "vzdump" {
				return snapshot, fmt.Sprintf("%s lies on ZFS (%s), which rolls back to the newest snapshot only, and %s is newer", g.Ref.Name, id, other.Name), "newer ones are never deleted to make way: delete them yourself, or restore a backup"
			}
		}
	}
	return snapshot, "", ""
}

// rollsBackOn lists the storages of the volumes that a rollback takes back.
func (p *Planner) rollsBackOn(state *node.GuestState) []string {
	var on []string
	add := func(mp proxmox.MountPoint) {
		if id, err := proxmox.ParseVolumeID(mp.Volume()); err == nil && !slices.Contains(on, id.Storage) {
			on = append(on, id.Storage)
		}
	}
	if root, ok := state.Config.RootFS(); ok {
		add(root)
	}
	if state.Rollback != nil {
		then := state.Rollback.MountPoints()
		for _, i := range slices.Sorted(maps.Keys(then)) {
			add(then[i])
		}
	}
	return on
}

// RollbackLoses lists the volumes besides rootfs that go back (for `loses`), and
// all that loses its writes, in people's words.
func (p *Planner) RollbackLoses(state *node.GuestState) (goes, lost []string) {
	lost = []string{"rootfs"}
	if state.Rollback == nil {
		return nil, lost
	}
	then := state.Rollback.MountPoints()
	for _, i := range slices.Sorted(maps.Keys(then)) {
		mp := then[i]
		if mp.Kind() != proxmox.VolumeMount {
			continue
		}
		size, _ := mp.Size()
		goes = append(goes, fmt.Sprintf("mp%d", i))
		lost = append(lost, fmt.Sprintf("mp%d %s %s", i, mp.Path(), size))
	}
	return goes, lost
}

// ComesBackToo names what a rollback changes besides the volumes that it takes back:
// volumes that were added since are detached, and config comes back that is then made
// as the YAML says.
func (p *Planner) ComesBackToo(state *node.GuestState) []string {
	if state.Rollback == nil {
		return nil
	}
	var all []string
	then := state.Rollback.MountPoints()
	now := state.Config.MountPoints()
	for _, i := range slices.Sorted(maps.Keys(now)) {
		if mp := now[i]; mp.Kind() == proxmox.VolumeMount && then[i].Volume() != mp.Volume() {
			size, _ := mp.Size()
			all = append(all, fmt.Sprintf("mp%d %s %s was added since: it is detached (%s) and keeps its data", i, mp.Path(), size, mp.Volume()))
		}
	}
	for _, key := range []string{"memory", "tags", "onboot"} {
		if then, now := state.Rollback.Raw[key], state.Config.Raw[key]; then != now {
			all = append(all, fmt.Sprintf("%s %s -> %s comes back too, and is then as the YAML says", key, text.OrElse(now, "(unset)"), text.OrElse(then, "(unset)")))
		}
	}
	return all
}
