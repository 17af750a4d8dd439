package planning

import (
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// blockCreation holds a creation for what cannot be seen now, or lets it wait for the
// disk that this plan mounts.
func blockCreation(p *planner, g *spec.Guest, source spec.Source, ob *plan.Blocker) outcome {
	if ob.Mount == "" {
		p.block(&g.Object, "from", ob.Reason+fmt.Sprintf(": nothing after `%s` in from is taken", sourceText(source)), ob.Fix...)
		return outcome{}
	}
	p.later(plan.Deferred{Object: g.Ref, Verb: "restore", Symbol: plan.Create,
		Text:  fmt.Sprintf("create %d from its newest backup, else %s", g.VMID, restOf(g, source)),
		Waits: fmt.Sprintf("when mounts/%s is mounted", ob.Mount)})
	return outcome{coming: true}
}

// restOf names the sources after one, in people's words.
func restOf(g *spec.Guest, source spec.Source) string {
	var rest []string
	for i, s := range g.From {
		if s == source {
			for _, after := range g.From[i+1:] {
				rest = append(rest, sourceText(after))
			}
		}
	}
	if len(rest) == 0 {
		return "not at all"
	}
	return strings.Join(rest, ", else ")
}

func sourceText(s spec.Source) string {
	switch {
	case s.Golden != "":
		return "golden/" + s.Golden
	case s.Archive != "":
		return s.Archive
	case s.VMID != 0:
		return fmt.Sprintf("newest of %d on %s", s.VMID, s.Newest)
	}
	return "newest: " + s.Newest
}

func sources(g *spec.Guest) string {
	var all []string
	for _, s := range g.From {
		all = append(all, sourceText(s))
	}
	return strings.Join(all, ", ")
}

// planRestore plans the restore of one archive as this guest.
func planRestore(p *planner, g *spec.Guest, source spec.Source, c *node.Choice) outcome {
	own := node.IsOwnBackup(p.Have, g, source, c)
	if out, ok := mayBeRestored(p, g, source, own, c); !ok {
		return out
	}
	if g.Type.VM() {
		return planVMRestore(p, g, source, own, c)
	}
	b, ob := questions.Creation(p.Questions, g, source, own, c)
	if ob != nil {
		p.block(&g.Object, "storage", ob.Reason, ob.Fix...)
		return outcome{}
	}
	if createdTwice(p, g, c, b) {
		return outcome{}
	}
	if ob := questions.RoomFor(p.Questions, b.Storage, c.Volume); ob != nil {
		p.block(&g.Object, "storage", ob.Reason, ob.Fix...)
		return outcome{}
	}
	return restoreFrom(p, g, source, own, c, b, proxmox.On(p.Have.Node).RestoreLXC(b.Spec), fmt.Sprintf("create %d", g.VMID))
}

// restoreFrom plans the call that makes a guest of either type from an archive; what begins its text.
func restoreFrom(p *planner, g *spec.Guest, source spec.Source, own bool, c *node.Choice, b *questions.CreationPlan, call proxmox.Call, what string) outcome {
	p.add(plan.Action{
		ID: g.Ref.String() + "/create", Object: g.Ref, Verb: "restore", Symbol: plan.Create,
		Text: what + " from " + archiveText(p.Questions, g, source, own, c), Detail: slices.Concat(b.Detail, serverDetail(p.Have, c.Volume), c.Notes),
		Queue: Queue(g.VMID), Limit: "create " + b.Storage, Timeout: questions.Timeout(&g.Object, longTask), Call: &call,
		Facts: map[string]string{"reads": c.Volume.VolID, "makes": g.VMID.String()},
	})
	return outcome{coming: true}
}

// mayBeRestored blocks a restore beside volumes that may be newer than the archive, and one of
// an archive that a token may not restore, or that nobody could start.
func mayBeRestored(p *planner, g *spec.Guest, source spec.Source, own bool, c *node.Choice) (out outcome, ok bool) {
	volumes, _ := questions.Traces(p.Questions, g)
	if len(volumes) > 0 && (own || source.Archive != "") {
		p.block(&g.Object, "from", fmt.Sprintf("%d has no config, but %s: it may be newer than the backup of %s", g.VMID, questions.TracesText(p.Questions, volumes, nil), p.Have.Date(c.Volume.CTime)),
			fmt.Sprintf("inspect it as root: pvesm path %s", volumes[0].VolID),
			"go ahead beside it: "+despiteNow)
		return out, false
	}
	if (own || source.Archive != "") && !questions.Released(p.Questions, g) {
		if ob := questions.VolumesHidden(p.Questions, p.mounting, g, c); ob != nil && ob.Mount != "" {
			return blockCreation(p, g, source, ob), false
		} else if ob != nil {
			p.block(&g.Object, "from", fmt.Sprintf("%s: a volume of %d may be there, newer than the backup of %s", ob.Reason, g.VMID, p.Have.Date(c.Volume.CTime)),
				ob.Fix...)
			return out, false
		}
	}
	if !own && source.Golden == "" && source.Archive == "" { // another guest's archive is an empty guest too
		if out, ok := mayBeEmpty(p, g, fmt.Sprintf("create %d from %s", g.VMID, sourceText(source))); !ok {
			return out, false
		}
	}
	if ob := questions.Missing(p.Questions, fmt.Sprintf("/vms/%d", g.VMID), "VM.Allocate"); ob != nil {
		p.block(&g.Object, "vmid", ob.Reason, ob.Fix...)
		return out, false
	}
	if !g.Type.VM() && !c.Inside.Unprivileged() {
		p.block(&g.Object, "from", fmt.Sprintf("the archive %s is of a privileged container, which a token may not restore", c.Volume.VolID),
			fmt.Sprintf("restore it as root: pct restore %d %s --storage %s", g.VMID, c.Volume.VolID, text.OrElse(g.Storage, "STORAGE")))
		return out, false
	}
	if c.Inside.Template() {
		p.block(&g.Object, "from", fmt.Sprintf("the archive %s is of a template, and would become a template again, which cannot be started", c.Volume.VolID),
			"name an archive of a "+g.Type.Noun(), fmt.Sprintf("or make one, as root: %s clone %d NEW-VMID --full, and back that up", g.Type.Tool(), c.Volume.VMID))
		return out, false
	}
	return out, true
}

// archiveText names an archive, with its age and size.
func archiveText(q questions.Questions, g *spec.Guest, source spec.Source, own bool, c *node.Choice) string {
	of, v := q.Have, c.Volume
	switch {
	case own:
		return fmt.Sprintf("its backup of %s (%s, %s, %s)", of.Date(v.CTime), questions.Where(q, text.ProxmoxStorage(v.VolID)), of.Age(v.CTime), v.Size.Human()) + node.TestedIn(of, g.Ref.Name, v.VolID)
	case source.Newest != "":
		return fmt.Sprintf("the backup of %d of %s (%s, %s, %s)", source.VMID, of.Date(v.CTime), questions.Where(q, source.Newest), of.Age(v.CTime), v.Size.Human())
	case source.Archive != "":
		return source.Archive + fmt.Sprintf(" (%s, %s)", of.Age(v.CTime), v.Size.Human())
	}
	return "golden/" + source.Golden
}
