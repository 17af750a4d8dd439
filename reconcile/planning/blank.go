package planning

import (
	"fmt"

	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// planFromGolden makes a blank from the golden's published archive.
func planFromGolden(p *planner, g *spec.Guest, source spec.Source, passed []string) outcome {
	golden := p.Want.Golden[source.Golden]
	if unfit(p, g, golden) {
		return outcome{}
	}
	text := fmt.Sprintf("create %d from golden/%s", g.VMID, source.Golden)
	if out, ok := mayBeEmpty(p, g, text); !ok {
		return out
	}
	wait := func(waits string) outcome {
		p.later(plan.Deferred{Object: g.Ref, Verb: "restore", Symbol: plan.Create, Waits: waits, Text: text, Detail: passed})
		return outcome{coming: true, awaits: golden.Ref}
	}
	if ob := questions.Seen(p.Questions, p.mounting, golden.Publish.Storage); ob != nil {
		if ob.Mount != "" {
			return wait(fmt.Sprintf("when mounts/%s is mounted", ob.Mount))
		}
		p.block(&g.Object, "from", ob.Reason, ob.Fix...)
		return outcome{}
	}
	if ob := node.GoldenBlocker(p.Have, golden); ob != nil {
		p.block(&g.Object, "from", ob.Reason+"; nothing is restored from it", ob.Fix...)
		return outcome{}
	}
	archive := node.Published(p.Have, golden)
	if archive == nil {
		if why := p.of(golden.Ref).down; why != "" {
			p.block(&g.Object, "from", fmt.Sprintf("golden/%s is not published: %s", source.Golden, why), fmt.Sprintf("see golden/%s", source.Golden))
			return outcome{}
		}
		return wait("when the golden image is published")
	}
	if ob := node.KeyMissing(p.Have, *archive); ob != nil {
		p.block(&g.Object, "from", ob.Reason, ob.Fix...)
		return outcome{}
	}
	inside := p.Have.Inside[archive.VolID]
	if inside.Err != nil {
		p.block(&g.Object, "from", fmt.Sprintf("the config inside %s cannot be read: %v", archive.VolID, inside.Err), questions.FixOf(inside.Err, "publish the golden image again: raise its revision")...)
		return outcome{}
	}
	return planRestore(p, g, source, &node.Choice{Volume: *archive, Inside: inside.Config, Notes: passed})
}

// mayBeEmpty applies the rule that a tool must never break: no blank guest where
// data of it exists, or may exist on a storage that cannot be seen.
func mayBeEmpty(p *planner, g *spec.Guest, text string) (out outcome, ok bool) {
	if !releasedFrom(p, g) {
		return out, false
	}
	if questions.Released(p.Questions, g) {
		return out, true
	}
	ob := questions.Missing(p.Questions, fmt.Sprintf("/vms/%d", g.VMID), "VM.Backup", "VM.Config.Disk")
	if ob == nil {
		ob = questions.AllSeen(p.Questions, p.mounting, g)
	}
	if ob == nil {
		for _, source := range g.From {
			if first := questions.NeverListed(p.Questions, source.Newest, g); first != nil {
				return blockCreation(p, g, source, first), false
			}
		}
	}
	if ob != nil {
		if ob.Mount != "" {
			p.later(plan.Deferred{Object: g.Ref, Verb: "restore", Symbol: plan.Create, Waits: fmt.Sprintf("when mounts/%s is mounted", ob.Mount),
				Text: text})
			return outcome{coming: true}, false
		}
		p.block(&g.Object, "from", ob.Reason+fmt.Sprintf(": it may hold data of %d, so no empty guest is made", g.VMID),
			ob.Fix...)
		return out, false
	}
	if last, ok := p.Have.Stored.Backups[g.Ref.Name]; ok && last.Time.After(g.Despite) {
		p.block(&g.Object, "from", fmt.Sprintf("%s has a verified backup of %s on %s, which is not there now; not creating an empty guest", g.Ref.Name, p.Have.Date(last.Time), questions.LastPlace(p.Questions, last)),
			"connect the disk, or let the storage show it: pvesm list "+last.Storage, "really start empty: "+despiteNow)
		return out, false
	}
	return out, true
}

const despiteNow = questions.DespiteNow

// releasedFrom holds a blank while volumes or archives of the VMID, or archives with
// the object's marker, exist that are younger than `despite`.
func releasedFrom(p *planner, g *spec.Guest) bool {
	volumes, archives := questions.Traces(p.Questions, g)
	if len(volumes)+len(archives) == 0 {
		return true
	}
	p.block(&g.Object, "from", fmt.Sprintf("guest %d no longer exists, but %s; not creating an empty one", g.VMID, questions.TracesText(p.Questions, volumes, archives)),
		questions.BringBack(p.Questions, g, archives), "really start empty: "+despiteNow)
	return false
}
