package planning

import (
	"fmt"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// wishHash stands for the object's YAML as it was last carried out whole. It is what
// tells an edit of the YAML, which is always carried out, from a change made
// elsewhere.
func wishHash(g *spec.Guest) string { return text.ShortHash(g.Canonical()) }

// reportDrift notes what differs without carrying it out.
func reportDrift(p *planner, g *spec.Guest, state *node.GuestState, marker marker.Marker) {
	for _, text := range questions.Differences(p.Questions, g, state, marker) {
		p.drift(&g.Object, text, questions.Unknown)
	}
	if movedRunState(p.Questions, g, state) {
		who, _ := questions.WhoMoved(p.Questions, g, state)
		p.drift(&g.Object, questions.RunStateDrift(g, state), who)
	}
}

// movedRunState reports whether a guest runs that is to be stopped, or the other way round.
func movedRunState(q questions.Questions, g *spec.Guest, state *node.GuestState) bool {
	return g.State != "" && string(g.State) != state.Status && state.HA == "" && questions.DownForBackup(q, g) == ""
}

// planWish writes into the marker that the YAML, as it is now, has been carried out
// whole.
func planWish(p *planner, g *spec.Guest, state *node.GuestState, mark marker.Marker) {
	m := mark.With("want", wishHash(g))
	call := questions.Calls(p.Questions, g).SetConfig(g.VMID, proxmox.ConfigChange{
		Set:    map[string]string{"description": marker.Describe(marker.WithoutMarker(state.Config.Description()), m)},
		Digest: state.Config.Digest,
	})
	p.add(plan.Action{ID: g.Ref.String() + "/wish", Object: g.Ref, Verb: "note", Symbol: plan.Change,
		Text: fmt.Sprintf("note in the ownership marker of %d that its YAML is carried out", g.VMID), Queue: Queue(g.VMID), Timeout: questions.Timeout(&g.Object, questions.ShortTask), Call: &call})
}
