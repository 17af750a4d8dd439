package planning

import (
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// A guarded change is one guest whose changes must prove themselves. It begins with a snapshot; then come the changes;
// when none is left and the guest runs, the probes are asked. If they hold, the snapshot is deleted; else the guest is
// rolled back to it, and the change is blocked until the YAML changes. Where it stands shows in the snapshot and in the
// journal, so it goes on wherever it was cut off.
type guarded struct {
	*planner
	g     *spec.Guest
	s     *node.GuestState
	owned marker.Marker
	want  string // what of the YAML is tried
	snap  *proxmox.Snapshot
}

// planGuarded plans the next step of a guest's configuration, guarded where its YAML says so.
func planGuarded(p *planner, g *spec.Guest, s *node.GuestState, mark marker.Marker) (down string) {
	if g.Guard == nil {
		return planConfigured(p, g, s, mark)
	}
	c := &guarded{p, g, s, mark, text.ShortHash(g.Canonical() + fmt.Sprintf("%+v", *g.Guard)), node.GuardSnapshot(p.Have, g, s)}
	return c.next()
}

func (c *guarded) next() (down string) {
	before := c.mark()
	failed, back := c.failed()
	switch {
	case c.snap != nil && c.snap.State != "":
		if c.Have.Task(c.g.VMID) == nil {
			c.block(&c.g.Object, "guard", fmt.Sprintf("the snapshot %s of %d is not complete (%s): the rest of a crash", c.snap.Name, c.g.VMID, c.snap.State), unlockGuard(c.g, c.snap.Name))
		}
		return ""
	case c.snap != nil && back && c.s.Status != "running" && c.Have.Memory.Cooling[c.g.Ref.String()+"/start"].Text == "":
		return "" // it is started first
	case c.snap != nil && back:
		c.end("its change was taken back")
		return ""
	case failed != nil && c.snap != nil: // of an earlier change, whose proof the edit of the YAML has cut off
		c.takeBack("its probes had not passed yet, and what the YAML asks for now was taken back before")
		return ""
	case failed != nil:
		c.hold(failed)
		return ""
	}
	down = planConfigured(c.planner, c.g, c.s, c.owned)
	switch {
	case c.snap != nil && !c.acted(before) && len(c.blocked(before)) == 0:
		c.prove()
	case c.snap == nil && c.acted(before) && hurts(c.plan.Actions[before.actions:]):
		c.begin(before)
	}
	return down
}

func unlockGuard(g *spec.Guest, name string) string {
	return fmt.Sprintf("as root: %s unlock %d; %s delsnapshot %d %s --force", g.Type.Tool(), g.VMID, g.Type.Tool(), g.VMID, name)
}

// failed is what is known of a change that was taken back, if it is the one that the YAML still asks for. back reports
// whether the rollback to the snapshot that is there has been carried out.
func (c *guarded) failed() (failed *state.GuardFailure, back bool) {
	last, known := c.Have.Memory.TakenBack[c.g.Ref.String()]
	if known && last.Result == journal.ResultOK {
		back = c.snap != nil && last.Snapshot == c.snap.Name
		failed = &state.GuardFailure{Want: last.Want, Why: last.Why}
	} else if stored, ok := c.Have.Stored.Guards[c.g.Ref.String()]; ok {
		failed = &stored
	}
	if failed == nil || failed.Want != c.want {
		return nil, back
	}
	if c.plan.Guards == nil {
		c.plan.Guards = map[string]state.GuardFailure{}
	}
	c.plan.Guards[c.g.Ref.String()] = *failed
	return failed, back
}

// hold blocks a change that was taken back, whatever it is.
func (c *guarded) hold(failed *state.GuardFailure) {
	before := c.mark()
	planConfigured(c.planner, c.g, c.s, c.owned)
	if !c.acted(before) {
		return
	}
	c.rewind(before)
	c.blockAs(plan.BlockedFailed, &c.g.Object, "guard", fmt.Sprintf("its change was taken back, and is not tried again: %s", failed.Why), "correct the YAML; then the change is tried again", "see felhom-agent --history --only "+c.g.Ref.String())
	c.plan.Blocked[len(c.plan.Blocked)-1].Failed = true
}

// calmKeys are what can be changed without a guard: nothing that runs notices.
var calmKeys = []string{"description", "tags", "onboot", "startup", "protection", "console", "tty", "cmode", "debug"}

// hurts reports whether a step can hurt what runs in a guest.
func hurts(actions []plan.Action) bool {
	return slices.ContainsFunc(actions, func(a plan.Action) bool {
		if a.Verb == "resize" {
			return false // which no rollback undoes
		}
		return a.Verb != "set" || slices.ContainsFunc(a.Fields, func(f plan.Field) bool {
			key, _, _ := strings.Cut(f.Name, ".")
			return !slices.Contains(calmKeys, key)
		})
	})
}

// begin lets a change begin with a snapshot, or says why that is not possible.
func (c *guarded) begin(before mark) {
	o := &c.g.Object
	if c.s.Closed != nil { // else the change would be made only to be taken back
		c.rewind(before)
		c.block(o, "guard", fmt.Sprintf("its change is not made, for its probes cannot be asked: %s", c.s.Closed.Reason), c.s.Closed.Fix)
		return
	}
	if why, fix := c.impossible(); why != "" {
		if c.g.Guard.Require {
			c.rewind(before)
			c.block(o, "guard", fmt.Sprintf("its change is not made, for it cannot be guarded: %s", why), append(fix, "or remove guard.require")...)
			return
		}
		c.note(o, "its change is not guarded: %s", why)
		return
	}
	c.rewind(before)
	name := node.GuardPrefix + c.Have.Now.UTC().Format("20060102_150405")
	m := marker.Marker{Object: node.GuardObject(c.g), VMID: c.g.VMID, Owner: c.Have.Owner, Born: c.owned.Born, Facts: map[string]string{"guest": c.g.Ref.Name}}
	id, _ := proxmox.ParseVolumeID(firstVolume(c.s.Config))
	call := questions.Calls(c.Questions, c.g).Snapshot(c.g.VMID, name, m.String())
	c.add(plan.Action{ID: c.g.Ref.String() + "/guard", Object: c.g.Ref, Verb: "snapshot", Symbol: plan.Change, Text: fmt.Sprintf("snapshot %s of %d, to take the change back if its probes do not hold", name, c.g.VMID),
		Queue: Queue(c.g.VMID), Limit: "snapshot " + id.Storage, Timeout: questions.Timeout(o, questions.ShortTask), Call: &call, Facts: map[string]string{journal.FactGuard: name}})
}

// impossible says why a change cannot be guarded now.
func (c *guarded) impossible() (why string, fix []string) {
	if ob := questions.Missing(c.Questions, fmt.Sprintf("/vms/%d", c.g.VMID), "VM.Snapshot"); ob != nil {
		return ob.Reason, ob.Fix
	}
	switch {
	case c.s.Snapshots == nil:
		return fmt.Sprintf("the snapshots of %d cannot be read", c.g.VMID), []string{"see: " + c.g.Type.Tool() + " listsnapshot " + c.g.VMID.String()}
	case c.s.CanSnapshot != nil && !*c.s.CanSnapshot:
		return questions.WithoutSnapshots(c.Questions, c.s), []string{"remove the folder of the host, or move the volume to a storage with snapshots"}
	case c.Have.Host == nil:
		return "nothing can be probed without the root helper", questions.NeedsHost(c.Questions).Fix
	}
	return "", nil
}

// prove has the probes asked, and takes the change back where they do not hold.
func (c *guarded) prove() {
	name, key := c.snap.Name, c.snap.Name+" "+c.want
	verdict := c.Have.Memory.Guards[key]
	if start, cooling := c.Have.Memory.Cooling[c.g.Ref.String()+"/start"]; cooling && c.s.Status != "running" {
		verdict = journal.TestProbes{Verdict: state.VerdictFails, Why: "it does not start: " + start.Text}
	}
	switch {
	case verdict.Verdict == state.VerdictWorks:
		c.end("its probes have passed for " + text.Ago(c.g.Guard.Hold))
	case verdict.Verdict != "":
		c.takeBack(verdict.Why)
	case c.s.Status == "running":
		if frozen, _ := questions.Frozen(c.Questions, c.g.Ref); frozen == "" && c.Have.Foretold == nil {
			c.plan.Watches = append(c.plan.Watches, plan.Watch{Guest: c.g.Ref, Key: key})
		}
		c.later(plan.Deferred{Object: c.g.Ref, Verb: "delete snapshot", Symbol: plan.Delete, Text: fmt.Sprintf("delete the snapshot %s, or take the change back", name), Effect: plan.Deleting, Cause: "guard", Queue: Queue(c.g.VMID),
			Waits: fmt.Sprintf("when its probes have passed for %s, within %s", text.Ago(c.g.Guard.Hold), text.Ago(c.g.Guard.Within))})
	}
}

// takeBack rolls the guest back to the snapshot with which the change began.
func (c *guarded) takeBack(why string) {
	name, since := c.snap.Name, c.Have.Date(c.snap.Time)
	call := questions.Calls(c.Questions, c.g).Rollback(c.g.VMID, name)
	c.add(plan.Action{ID: c.g.Ref.String() + "/guard-back", Object: c.g.Ref, Verb: journal.VerbGuardBack, Symbol: plan.Power, Text: fmt.Sprintf("take the change of %d back, to %s: %s", c.g.VMID, name, why),
		Effect: plan.Disruptive, Irreversible: true, Destroys: fmt.Sprintf("all writes to %s since %s", c.g.Ref.Name, since), Queue: Queue(c.g.VMID), Timeout: questions.Timeout(&c.g.Object, questions.ShortTask), Call: &call,
		Facts: map[string]string{journal.FactGuard: name, journal.FactWant: c.want, journal.FactWhy: why, "restart": "1"}})
}

// end deletes the snapshot with which a change began.
func (c *guarded) end(why string) {
	call := questions.Calls(c.Questions, c.g).DeleteSnapshot(c.g.VMID, c.snap.Name)
	c.add(plan.Action{ID: c.g.Ref.String() + "/guard-end/" + c.snap.Name, Object: c.g.Ref, Verb: "delete snapshot", Symbol: plan.Delete, Text: fmt.Sprintf("delete the snapshot %s of %d: %s", c.snap.Name, c.g.VMID, why),
		Effect: plan.Deleting, Irreversible: true, Cause: "guard", Queue: Queue(c.g.VMID), Timeout: questions.Timeout(&c.g.Object, questions.ShortTask), Call: &call, Facts: map[string]string{journal.FactGuard: c.snap.Name}})
}
