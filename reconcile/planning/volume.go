package planning

import (
	"fmt"
	"maps"
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/compare"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// planVolumes plans what is to be done to rootfs and the volume mount points, one
// act at a time: growth by resize (a PUT of a larger size is a 200 that changes
// nothing), a missing volume, changed options.
func planVolumes(p *planner, g *spec.Guest, state *node.GuestState) {
	o := &g.Object
	if g.Type.VM() {
		planDrives(p, g, state)
		return
	}
	if g.RootFS.Size > 0 {
		if root, ok := state.Config.RootFS(); ok && planResize(p, g, "rootfs", "rootfs.size", root, g.RootFS.Size) {
			return
		}
	}
	if len(g.Config.Mounts) == 0 {
		return
	}
	live := questions.EffectiveMounts(state.Config)
	for _, i := range text.Keys(g.Config.Mounts) {
		declared := g.Config.Mounts[i]
		if declared.Bind() {
			continue
		}
		key, field := fmt.Sprintf("mp%d", i), fmt.Sprintf("config.mp%d", i)
		mp, there := live[i]
		switch {
		case !there && declared.Volume != "":
			if attach(p, g, state, i, declared) {
				return
			}
		case !there:
			if allocate(p, g, state, i, declared) {
				return
			}
		case mp.Kind() != proxmox.VolumeMount:
			p.block(o, field, fmt.Sprintf("%s is %s on the host now, and a volume is declared", key, mp.Volume()), "remove the one that is not wanted: pct set "+g.VMID.String()+" -delete "+key)
		case declared.Volume != "" && mp.Volume() != declared.Volume:
			p.block(o, field, fmt.Sprintf("%s is %s now, and %s is declared", key, mp.Volume(), declared.Volume), fmt.Sprintf("detach the one that is not wanted: pct set %d --delete %s (it becomes unusedN)", g.VMID, key))
		default:
			if declared.Size > 0 && planResize(p, g, key, field+".size", mp, declared.Size) {
				return
			}
			if setOptions(p, g, state, key, mp, declared) {
				return
			}
		}
	}
}

// planResize grows a volume, and refuses to shrink one.
func planResize(p *planner, g *spec.Guest, disk, field string, live proxmox.MountPoint, want proxmox.Size) bool {
	o, vmid := &g.Object, g.VMID
	have, known := live.Size()
	if !known || want == have {
		return false
	}
	if want < have {
		p.block(o, field, fmt.Sprintf("%s has %s, and a volume never shrinks (%s is declared)", disk, have, want), fmt.Sprintf("write size: %s", have))
		return false
	}
	call := questions.Calls(p.Questions, g).Resize(vmid, disk, want)
	p.add(plan.Action{ID: o.Ref.String() + "/resize-" + disk, Object: o.Ref, Verb: "resize", Symbol: plan.Change, Irreversible: true,
		Fields: []plan.Field{{Name: disk, Old: have.String(), New: want.String(), When: "now"}}, Queue: Queue(vmid), Timeout: questions.Timeout(o, questions.ShortTask), Call: &call})
	return true
}

// allocate adds a declared volume that the guest lacks: never while another volume
// of it lies about, for that is the one with the data.
func allocate(p *planner, g *spec.Guest, state *node.GuestState, i int, declared spec.MountPoint) bool {
	key, field := fmt.Sprintf("mp%d", i), fmt.Sprintf("config.mp%d", i)
	if mp, err := proxmox.ParseMountPoint(state.Config.Raw[key]); err == nil && mp.Volume() != "" {
		p.block(&g.Object, field, fmt.Sprintf("%s (%s) is detached when %d stops, because it was deleted; not creating an empty one in its place", key, mp.Volume(), g.VMID),
			fmt.Sprintf("to keep it: pct set %d --revert %s", g.VMID, key), "to let it go: remove it from the YAML")
		return false
	}
	loose := slices.DeleteFunc(questions.Loose(p.Questions, state), func(volid string) bool {
		v := p.Have.Volume(volid)
		return v != nil && questions.Disregarded(p.Questions, &g.Object, *v)
	})
	if len(loose) > 0 {
		size := ""
		if v := p.Have.Volume(loose[0]); v != nil {
			size = ", " + v.Size.String()
		}
		p.block(&g.Object, field, fmt.Sprintf("%s is not attached, but %s%s of %d exists and is attached nowhere; not creating an empty one", key, loose[0], size, g.VMID),
			fmt.Sprintf("attach it: %s: {volume: %s, mp: %s, backup: %t}", key, loose[0], declared.Path, declared.Backup))
		return false
	}
	if ob := questions.VolumesSeen(p.Questions, p.mounting); ob != nil && !questions.Released(p.Questions, g) {
		p.block(&g.Object, field, ob.Reason, ob.Fix...)
		return false
	}
	if protected(p, g, state, key, field) {
		return false
	}
	if ob := questions.TakesVolumes(p.Questions, declared.Storage); ob != nil {
		p.block(&g.Object, field, ob.Reason, ob.Fix...)
		return false
	}
	if !unique(p, g, state, map[string]string{key: questions.NewVolume(declared).String()}) {
		return false
	}
	putMount(p, g, state, key, questions.NewVolume(declared), fmt.Sprintf("new empty volume %s on %s for %s", declared.Size, declared.Storage, declared.Path), "create "+declared.Storage)
	return true
}

// attach brings a volume of the guest's own back.
func attach(p *planner, g *spec.Guest, state *node.GuestState, i int, declared spec.MountPoint) bool {
	key, field := fmt.Sprintf("mp%d", i), fmt.Sprintf("config.mp%d", i)
	id, err := proxmox.ParseVolumeID(declared.Volume)
	if err != nil {
		p.block(&g.Object, field, err.Error(), "name a volume of this guest")
		return false
	}
	if owner, ok := id.Owner(); !ok || owner != g.VMID {
		p.block(&g.Object, field, fmt.Sprintf("%s is not a volume of %d: PVE would attach it, and destroy it with either guest", declared.Volume, g.VMID), "name a volume of its own")
		return false
	}
	if !slices.Contains(questions.Loose(p.Questions, state), declared.Volume) {
		p.block(&g.Object, field, fmt.Sprintf("there is no loose volume %s", declared.Volume), fmt.Sprintf("see: pvesm list %s --vmid %d", id.Storage, g.VMID))
		return false
	}
	if protected(p, g, state, key, field) {
		return false
	}
	mp := questions.MountOptions(declared)
	mp["volume"] = declared.Volume
	if !unique(p, g, state, map[string]string{key: mp.String()}) {
		return false
	}
	putMount(p, g, state, key, mp, fmt.Sprintf("attach %s at %s again", declared.Volume, declared.Path), "")
	return true
}

// setOptions brings the declared sub-keys of an existing volume mount point, keeping
// the volume and all that is not declared.
func setOptions(p *planner, g *spec.Guest, state *node.GuestState, key string, live proxmox.MountPoint, declared spec.MountPoint) bool {
	mp := maps.Clone(live)
	old, new := compare.Overlay(mp, questions.VolumeOptions(declared))
	if old == "" && new == "" {
		return false
	}
	if protected(p, g, state, key, "config."+key) || !unique(p, g, state, map[string]string{key: mp.String()}) {
		return false
	}
	call := questions.Calls(p.Questions, g).SetConfig(g.VMID, proxmox.ConfigChange{Set: map[string]string{key: mp.String()}, Digest: state.Config.Digest})
	when := "now"
	if state.Status == "running" {
		when = "needs a restart"
	}
	p.add(plan.Action{ID: g.Ref.String() + "/" + key, Object: g.Ref, Verb: "set", Symbol: plan.Change,
		Fields: []plan.Field{{Name: key, Old: old, New: new, When: when}}, Queue: Queue(g.VMID), Timeout: questions.Timeout(&g.Object, questions.ShortTask), Call: &call})
	return true
}

// protected holds a change of mount points of a guest that PVE protects from it.
func protected(p *planner, g *spec.Guest, state *node.GuestState, key, field string) bool {
	if !state.Config.Protection() {
		return false
	}
	p.block(&g.Object, field, fmt.Sprintf("%d is protected, so PVE refuses to change its %s", g.VMID, key), fmt.Sprintf("pct set %d --protection 0, and set it again afterwards", g.VMID))
	return true
}

func putMount(p *planner, g *spec.Guest, state *node.GuestState, key string, mp proxmox.MountPoint, text, limit string) {
	call := questions.Calls(p.Questions, g).SetConfig(g.VMID, proxmox.ConfigChange{Set: map[string]string{key: mp.String()}, Digest: state.Config.Digest})
	p.add(plan.Action{ID: g.Ref.String() + "/" + key, Object: g.Ref, Verb: "add " + key, Symbol: plan.Change, Text: key + ": " + text,
		Queue: Queue(g.VMID), Limit: limit, Timeout: questions.Timeout(&g.Object, questions.ShortTask), Call: &call})
}
