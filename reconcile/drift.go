package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// onlyReports reports whether changes that are made elsewhere are shown and not
// healed: what the object says, else agent.yaml, else what is usual for its kind.
func (p *planner) onlyReports(g *spec.Guest) bool {
	switch {
	case g.Drift != "":
		return g.Drift == spec.DriftReport
	case p.have.Drift != "":
		return p.have.Drift == spec.DriftReport
	}
	return g.Adopt
}

// wishHash stands for the object's YAML as it was last carried out whole. It is what
// tells an edit of the YAML, which is always carried out, from a change made
// elsewhere.
func wishHash(g *spec.Guest) string { return shortHash(g.Canonical()) }

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// differences lists in words everything in which a guest differs from its YAML.
func (p *planner) differences(g *spec.Guest, state *GuestState, marker Marker) []string {
	var all []string
	for _, f := range p.compareConfig(&g.Object, g.Config, state, marker, "").fields {
		all = append(all, fmt.Sprintf("%s %s -> %s", f.Name, f.New, f.Old))
	}
	live := effectiveMounts(state.Config)
	for _, i := range slices.Sorted(maps.Keys(g.Config.Mounts)) {
		declared := g.Config.Mounts[i]
		mp, there := live[i]
		if !there {
			all = append(all, fmt.Sprintf("mp%d %s is not attached", i, declared.Path))
			continue
		}
		size, _ := mp.Size()
		if declared.Bind() != (mp.Kind() != proxmox.VolumeMount) || mp.Path() != declared.Path || !declared.Bind() && declared.Size > 0 && size != declared.Size {
			all = append(all, fmt.Sprintf("mp%d is %s", i, mp))
		}
	}
	if g.State != "" && string(g.State) != state.Status && state.HA == "" {
		all = append(all, fmt.Sprintf("it is %s, not %s (%s)", state.Status, g.State, p.whoMoved(g, state)))
	}
	return all
}

// whoMoved says who started or stopped a guest, where the task list still tells it. A
// change of a config leaves no task.
func (p *planner) whoMoved(g *spec.Guest, state *GuestState) string {
	types := []string{"vzstop", "vzshutdown"}
	if state.Status == "running" {
		types = []string{"vzstart"}
	}
	for _, t := range p.have.Tasks { // newest first
		if t.ID == g.VMID.String() && slices.Contains(types, t.Type) && t.OK() {
			return fmt.Sprintf("%s by %s, %s", t.Type, t.Owner(), p.have.date(t.EndTime))
		}
	}
	return "by whom is unknown"
}

// reportDrift notes what differs without carrying it out.
func (p *planner) reportDrift(g *spec.Guest, state *GuestState, marker Marker) {
	for _, text := range p.differences(g, state, marker) {
		if !strings.HasSuffix(text, ")") {
			text += ", by unknown" // a change of a config leaves no task
		}
		p.plan.Notes = append(p.plan.Notes, Note{Object: g.Ref, Drift: true,
			Text: fmt.Sprintf("drift: %s (reported, not healed; to heal it: felhom-agent --once --only %s)", text, g.Ref)})
	}
}

// planWish writes into the marker that the YAML, as it is now, has been carried out
// whole.
func (p *planner) planWish(g *spec.Guest, state *GuestState, marker Marker) {
	m := marker.with("want", wishHash(g))
	call := proxmox.On(p.have.Node).SetConfig(g.VMID, proxmox.ConfigChange{
		Set:    map[string]string{"description": describe(withoutMarker(state.Config.Description()), m)},
		Digest: state.Config.Digest,
	})
	p.act(Action{ID: g.Ref.String() + "/wish", Object: g.Ref, Verb: "note", Symbol: Change,
		Text: fmt.Sprintf("note in the marker of %d that its YAML is carried out", g.VMID), Lane: lane(g.VMID), Timeout: timeout(&g.Object, shortTask), Call: &call})
}
