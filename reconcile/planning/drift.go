package planning

import (
	"fmt"
	"maps"
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/compare"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// onlyReports reports whether changes that are made elsewhere are shown and not
// healed: what the object says, else agent.yaml, else what is usual for its kind.
func (p *Planner) onlyReports(g *spec.Guest) bool {
	switch {
	case g.Drift != "":
		return g.Drift == spec.DriftReport
	case p.Have.Drift != "":
		return p.Have.Drift == spec.DriftReport
	}
	return g.Adopt
}

// wishHash stands for the object's YAML as it was last carried out whole. It is what
// tells an edit of the YAML, which is always carried out, from a change made
// elsewhere.
func wishHash(g *spec.Guest) string { return text.ShortHash(g.Canonical()) }

// Differences lists in words everything but the run state in which a guest differs from
// its YAML.
func (p *Planner) Differences(g *spec.Guest, state *node.GuestState, marker marker.Marker) []string {
	var all []string
	for _, f := range p.compareConfig(&g.Object, g.Config, state, marker, "").fields {
		all = append(all, fmt.Sprintf("%s %s -> %s", f.Name, f.New, f.Old))
	}
	if want, have := protection(g, state); want != have {
		all = append(all, fmt.Sprintf("protection %s -> %s", want, have))
	}
	if root, ok := state.Config.RootFS(); ok && g.RootFS.Size > 0 {
		if size, known := root.Size(); known && size != g.RootFS.Size {
			all = append(all, fmt.Sprintf("rootfs %s -> %s", g.RootFS.Size, size))
		}
	}
	live := effectiveMounts(state.Config)
	for _, i := range slices.Sorted(maps.Keys(g.Config.Mounts)) {
		declared := g.Config.Mounts[i]
		mp, there := live[i]
		if !there {
			all = append(all, fmt.Sprintf("mp%d %s is not attached", i, declared.Path))
		} else if !p.sameMount(mp, declared) {
			all = append(all, fmt.Sprintf("mp%d is %s", i, mp))
		}
	}
	values := node.Effective(state.Config)
	for _, i := range slices.Sorted(maps.Keys(g.Config.Devices)) {
		key, declared := fmt.Sprintf("dev%d", i), g.Config.Devices[i]
		if values[key] == "" {
			all = append(all, fmt.Sprintf("%s %s is not passed", key, declared["path"]))
		} else if device, _ := proxmox.ParseDevice(values[key]); !sameDevice(device, declared) {
			all = append(all, fmt.Sprintf("%s is %s", key, values[key]))
		}
	}
	return all
}

// sameMount reports whether a mount point is what is declared, with its options.
func (p *Planner) sameMount(live proxmox.MountPoint, declared spec.MountPoint) bool {
	size, _ := live.Size()
	switch {
	case declared.Bind() != (live.Kind() != proxmox.VolumeMount):
		return false
	case declared.Bind():
		return live.Volume() == p.bindSource(declared) && sameBind(live, declared)
	case declared.Volume != "" && live.Volume() != declared.Volume, declared.Size > 0 && size != declared.Size:
		return false
	}
	old, new := compare.Overlay(maps.Clone(live), volumeOptions(declared))
	return old == "" && new == ""
}

// whoMoved says who started or stopped a guest, and when, where the task list still tells
// it, and whether that was us.
func (p *Planner) whoMoved(g *spec.Guest, state *node.GuestState) (who string, ours bool) {
	stops, starts := []string{"vzstop", "vzshutdown"}, []string{"vzstart", "vzreboot"}
	if state.Status == "running" {
		stops, starts = starts, stops
	}
	starts = append(starts, "vzcreate", "vzrestore", "vzrollback")
	for _, t := range p.Have.Tasks { // newest first
		switch {
		case t.ID != g.VMID.String() || !t.OK():
		case slices.Contains(stops, t.Type):
			return fmt.Sprintf("%s (%s, %s)", t.Owner(), t.Type, p.Have.Date(t.EndTime)), t.Owner() == p.Have.TokenID
		case slices.Contains(starts, t.Type): // it moved since, and that from inside or by a crash
			return unknown, false
		}
	}
	return unknown, false
}

// movedBy is the line below a start or a stop that undoes what somebody else did.
func (p *Planner) movedBy(g *spec.Guest, state *node.GuestState) []string {
	who, ours := p.whoMoved(g, state)
	if who == unknown || ours {
		return nil
	}
	what := "stopped"
	if state.Status == "running" {
		what = "started"
	}
	return []string{fmt.Sprintf("it was %s by %s", what, who)}
}

// unknown is who did what leaves no task: a change of a config, or of long ago.
const unknown = "unknown"

// reportDrift notes what differs without carrying it out.
func (p *Planner) reportDrift(g *spec.Guest, state *node.GuestState, marker marker.Marker) {
	report := func(text, by string) {
		n := plan.Note{Object: g.Ref, Drift: true, Text: text, By: by}
		if since, ok := p.Have.Stored.Drift[plan.DriftKey(n)]; ok {
			n.Since = since.In(p.Have.Now.Location())
		}
		p.Plan.Notes = append(p.Plan.Notes, n)
	}
	for _, text := range p.Differences(g, state, marker) {
		report(text, unknown)
	}
	if movedRunState(g, state) {
		who, _ := p.whoMoved(g, state)
		report(fmt.Sprintf("it is %s, not %s", state.Status, g.State), who)
	}
}

// movedRunState reports whether a guest runs that is to be stopped, or the other way round.
func movedRunState(g *spec.Guest, state *node.GuestState) bool {
	return g.State != "" && string(g.State) != state.Status && state.HA == ""
}

// planWish writes into the marker that the YAML, as it is now, has been carried out
// whole.
func (p *Planner) planWish(g *spec.Guest, state *node.GuestState, mark marker.Marker) {
	m := mark.With("want", wishHash(g))
	call := proxmox.On(p.Have.Node).SetConfig(g.VMID, proxmox.ConfigChange{
		Set:    map[string]string{"description": marker.Describe(marker.WithoutMarker(state.Config.Description()), m)},
		Digest: state.Config.Digest,
	})
	p.act(plan.Action{ID: g.Ref.String() + "/wish", Object: g.Ref, Verb: "note", Symbol: plan.Change,
		Text: fmt.Sprintf("note in the marker of %d that its YAML is carried out", g.VMID), Lane: Lane(g.VMID), Timeout: timeout(&g.Object, ShortTask), Call: &call})
}
