package planning

import (
	"fmt"
	"slices"
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

// planRollback plans the rollback that a guest's YAML asks for. It happens at most
// once, and the guest itself remembers: the request's time is first written into
// its marker, and only when that is read back is the rollback sent, by the agent
// whose journal shows the writing and no attempt. It reports whether anything else
// on the guest has to wait.
func planRollback(p *planner, g *spec.Guest, state *node.GuestState, mark marker.Marker) bool {
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
	if marked && (remembered.Begun || !remembered.Marked) {
		switch {
		case remembered.Begun && remembered.Result == journal.ResultOK:
		case remembered.Begun && remembered.Result == "":
			return true // it is under way
		case remembered.Begun:
			p.block(o, "rollback", fmt.Sprintf("the rollback to %s requested %s is not known to have succeeded (%s)", r.To, r.RequestedText, remembered.Result),
				"check the guest; to ask again: "+questions.AskAgain(p.Questions, g), "or remove rollback")
			return false
		default:
			p.note(o, "the rollback to %s requested %s was done or begun; nothing is sent again", r.To, r.RequestedText)
		}
		return false
	}
	if have, torn := ambiguousSnapshot(state); torn {
		p.block(o, "rollback", fmt.Sprintf("PVE lists the snapshot %s of %s twice, with different values; nothing is rolled back", have.Name, g.Ref.Name),
			fmt.Sprintf("compare: %s listsnapshot %d", g.Type.Tool(), g.VMID))
		return false
	}
	snapshot, why, fix := questions.RollbackTarget(p.Questions, g, state)
	if why != "" {
		if marked {
			return false // it was carried out, and its snapshot went away later
		}
		p.block(o, "rollback", why, fix)
		return false
	}
	goes, lost := questions.RollbackLoses(p.Questions, state)
	if missing := slices.DeleteFunc(slices.Clone(goes), func(mp string) bool { return slices.Contains(r.Loses, mp) }); len(missing) > 0 {
		p.block(o, "rollback.loses", fmt.Sprintf("the rollback takes back %s too", text.List(missing)), fmt.Sprintf("if that is meant: loses: [%s]", strings.Join(goes, ", ")))
		return false
	}
	if amidBulk(p, o) {
		return true
	}
	if !marked {
		markRollback(p, g, state, mark, key)
		return true
	}
	rollBack(p, g, state, snapshot, lost, key)
	return true
}

// markRollback writes the time of the request into the guest's marker.
func markRollback(p *planner, g *spec.Guest, state *node.GuestState, mark marker.Marker, key string) {
	m := mark.With("rollback", g.Rollback.Requested.UTC().Format(time.RFC3339)).With("want", "")
	call := questions.Calls(p.Questions, g).SetConfig(g.VMID, proxmox.ConfigChange{
		Set:    map[string]string{"description": marker.Describe(marker.WithoutMarker(state.Config.Description()), m)},
		Digest: state.Config.Digest,
	})
	p.add(plan.Action{ID: g.Ref.String() + "/rollback-mark", Object: g.Ref, Verb: "mark rollback", Symbol: plan.Power, Text: fmt.Sprintf("note in the ownership marker of %d that it is rolled back to %s", g.VMID, g.Rollback.To),
		Effect: plan.Disruptive, Queue: Queue(g.VMID), Timeout: questions.Timeout(&g.Object, questions.ShortTask), Call: &call, Facts: map[string]string{"rollback-mark": key}})
}

// rollBack sends the rollback itself.
func rollBack(p *planner, g *spec.Guest, state *node.GuestState, snapshot proxmox.Snapshot, lost []string, key string) {
	since, to := p.Have.Date(snapshot.Time), g.Rollback.To
	text := fmt.Sprintf("%s back to %s (%s, %s ago). Lost: all writes since to %s.", g.Ref.Name, to, since, text.Ago(p.Have.Now.Sub(snapshot.Time)), text.List(lost))
	detail := questions.ComesBackToo(p.Questions, state)
	if state.Status == "running" && g.State != spec.Running {
		detail = append(detail, "PVE kills it for that, and it stays stopped: the YAML does not say state: running")
	}
	destroys := fmt.Sprintf("all writes to %s (%s) since %s", g.Ref.Name, strings.Join(lost, ", "), since)
	call := questions.Calls(p.Questions, g).Rollback(g.VMID, to)
	p.add(plan.Action{ID: g.Ref.String() + "/rollback", Object: g.Ref, Verb: "roll back", Symbol: plan.Power, Text: text, Detail: detail, Effect: plan.Disruptive, Irreversible: true, Destroys: destroys,
		Queue: Queue(g.VMID), Timeout: questions.Timeout(&g.Object, questions.ShortTask), Call: &call, Facts: map[string]string{"rollback": key, "restart": "1"}})
}

// rollbackKey names one request: the object and its time.
func rollbackKey(ref spec.Ref, requested time.Time) string {
	return ref.String() + "@" + requested.UTC().Format(time.RFC3339)
}
