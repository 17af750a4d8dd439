package planning

import (
	"fmt"
	"maps"
	"slices"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/compare"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// bindReady says why a bind of a declared disk cannot be used now, or nil. PVE mounts
// whatever stands at the path, so a guest that is started while the disk is away
// writes to the root disk.
func (p *Planner) bindReady(declared spec.MountPoint) *plan.Blocker {
	if declared.Mount == "" {
		return nil
	}
	m := p.Want.Mounts[declared.Mount]
	if p.mounting[declared.Mount] {
		return &plan.Blocker{Reason: fmt.Sprintf("mounts/%s is not mounted yet", declared.Mount), Mount: declared.Mount}
	}
	if p.Have.Host == nil {
		if state := p.Have.Storages[m.Storage]; m.Storage != "" && state != nil && state.Status != nil && state.Status.Active && state.Conf.IsMountpoint != "" {
			return nil
		}
		return questions.NeedsHost(p.Questions)
	}
	if _, mounted := p.Have.MountedDisk(m); !mounted {
		why, cure := questions.Away(p.Questions, m)
		return &plan.Blocker{Reason: fmt.Sprintf("its %s lies on mounts/%s, which is not mounted%s: started now, it would write to the root disk", declared.Path, declared.Mount, why), Fix: cure}
	}
	if ob := questions.Ejecting(p.Questions, m); ob != nil {
		return ob
	}
	folder, path := declared.Mount+"/"+declared.Folder, questions.BindSource(p.Questions, declared)
	if why := p.Have.Host.Barred[folder]; why != "" {
		return &plan.Blocker{Reason: fmt.Sprintf("the folder %s on mounts/%s cannot be bound: %s", declared.Folder, declared.Mount, why), Fix: []string{"look at it as root: namei -l " + path}}
	}
	if there, looked := p.Have.Host.Folders[folder]; looked && !there {
		return &plan.Blocker{Reason: fmt.Sprintf("there is no folder %s on mounts/%s", declared.Folder, declared.Mount),
			Fix: []string{fmt.Sprintf("as root: mkdir -p %s && chown 100000:100000 %s", path, path)}}
	}
	return nil
}

// planBinds plans binds and devices, which PVE allows only to root, through the fence.
func (p *Planner) planBinds(g *spec.Guest, state *node.GuestState) {
	o := &g.Object
	live := questions.EffectiveMounts(state.Config)
	for _, i := range slices.Sorted(maps.Keys(g.Config.Mounts)) {
		declared := g.Config.Mounts[i]
		if !declared.Bind() {
			continue
		}
		key, field := fmt.Sprintf("mp%d", i), fmt.Sprintf("config.mp%d", i)
		source := questions.BindSource(p.Questions, declared)
		mp, there := live[i]
		if there && mp.Kind() == proxmox.VolumeMount {
			p.hold(o, field, fmt.Sprintf("%s is the volume %s now, and a folder of the host is declared", key, mp.Volume()), fmt.Sprintf("detach the volume as a person: pct set %d --delete %s", g.VMID, key))
			continue
		}
		if there && mp.Volume() == source && questions.SameBind(mp, declared) {
			if p.planReplugged(g, state, i, declared) {
				return
			}
			continue
		}
		if ob := p.bindReady(declared); ob != nil {
			p.holdFor(o, field, ob, plan.Deferred{Verb: "bind", Symbol: plan.Change, Text: fmt.Sprintf("bind %s at %s", source, declared.Path)})
			p.unmet[g.Ref.Name] = ob.Reason
			continue
		}
		if p.Have.Host == nil {
			ob := questions.NeedsHost(p.Questions)
			p.hold(o, field, ob.Reason, ob.Fix...)
			continue
		}
		if p.protected(g, state, key, field) || !p.unique(g, state, map[string]string{key: proxmox.MountPoint{"volume": source, "mp": declared.Path}.String()}) {
			continue
		}
		options := map[string]string{}
		if there && mp.Volume() == source { // what is not declared stays
			maps.Copy(options, mp)
			for _, key := range []string{"volume", "mp", "ro", "size"} {
				delete(options, key)
			}
		}
		maps.Copy(options, declared.Options)
		b := privileged.BindSpec{VMID: int(g.VMID), Object: g.Ref.Name, Owner: p.Have.Owner, Index: i, Source: source, Target: declared.Path,
			ReadOnly: declared.ReadOnly, Options: options}
		if declared.Mount != "" {
			b.Mount = p.Want.Mounts[declared.Mount].Path
		}
		op := privileged.BindMount(p.Have.Node, b)
		when := "now"
		if there && state.Status == "running" {
			when = "needs a restart"
		}
		p.act(plan.Action{ID: g.Ref.String() + "/" + key, Object: g.Ref, Verb: "bind", Symbol: plan.Change, Text: fmt.Sprintf("%s: %s at %s", key, source, declared.Path),
			When: when, Queue: Queue(g.VMID), Timeout: questions.Timeout(o, questions.ShortTask), Op: &op})
		return
	}
	p.planDevices(g, state)
}

// planReplugs looks whether a guest still has disks as they were before they were
// re-plugged, where all else of it is only reported.
func (p *Planner) planReplugs(g *spec.Guest, state *node.GuestState) {
	live := questions.EffectiveMounts(state.Config)
	for _, i := range slices.Sorted(maps.Keys(g.Config.Mounts)) {
		declared := g.Config.Mounts[i]
		if declared.Bind() && live[i].Volume() == questions.BindSource(p.Questions, declared) && p.planReplugged(g, state, i, declared) {
			return
		}
	}
}

// planReplugged finds a guest that still has the disk as it was before it was pulled
// and plugged in again: the host sees the files, the guest an empty folder and I/O
// errors, until it is restarted. The device numbers of both mounts tell.
func (p *Planner) planReplugged(g *spec.Guest, state *node.GuestState, i int, declared spec.MountPoint) bool {
	if declared.Mount == "" || state.Status != "running" || p.Have.Host == nil {
		return false
	}
	m := p.Want.Mounts[declared.Mount]
	if _, mounted := p.Have.MountedDisk(m); !mounted {
		return false
	}
	at := slices.IndexFunc(p.Have.Host.Mounts, func(have privileged.Mount) bool { return have.Path == m.Path && have.Mounted })
	in := slices.IndexFunc(state.Mounts, func(have privileged.GuestMount) bool { return have.Path == declared.Path })
	if at < 0 || in < 0 {
		return false
	}
	host, guest := p.Have.Host.Mounts[at], state.Mounts[in]
	if host.Major == guest.Major && host.Minor == guest.Minor {
		return false
	}
	why := fmt.Sprintf("its %s is not the disk that is mounted now: the guest started before it was mounted, or it was reconnected since", declared.Path)
	if g.Restart == spec.RestartAuto && state.HA == "" {
		p.restart(g, state, nil, why)
		return true
	}
	p.hold(&g.Object, fmt.Sprintf("config.mp%d", i), why, fmt.Sprintf("pct reboot %d", g.VMID), "or restart: auto")
	return false
}

// planDevices passes the declared host devices through.
func (p *Planner) planDevices(g *spec.Guest, state *node.GuestState) {
	values := node.Effective(state.Config)
	for _, i := range slices.Sorted(maps.Keys(g.Config.Devices)) {
		declared := g.Config.Devices[i]
		key := fmt.Sprintf("dev%d", i)
		device, s := maps.Clone(declared), fmt.Sprintf("%s: %s", key, declared["path"])
		if live, _ := proxmox.ParseDevice(values[key]); live["path"] == declared["path"] {
			if questions.SameDevice(live, declared) {
				continue
			}
			device = maps.Clone(live) // what is not declared stays
			old, new := compare.Overlay(device, declared)
			s += fmt.Sprintf(", %s -> %s", text.OrElse(old, "(unset)"), new)
		}
		if p.Have.Host == nil {
			ob := questions.NeedsHost(p.Questions)
			p.hold(&g.Object, "config."+key, ob.Reason, ob.Fix...)
			continue
		}
		if !p.unique(g, state, map[string]string{key: device.String()}) {
			continue
		}
		d := privileged.DeviceSpec{VMID: int(g.VMID), Object: g.Ref.Name, Owner: p.Have.Owner, Index: i, Path: device["path"], Mode: device["mode"],
			DenyWrite: device["deny-write"] == "1"}
		fmt.Sscan(device["uid"], &d.UID)
		fmt.Sscan(device["gid"], &d.GID)
		op := privileged.PassDevice(p.Have.Node, d)
		p.act(plan.Action{ID: g.Ref.String() + "/" + key, Object: g.Ref, Verb: "pass device", Symbol: plan.Change, Text: s,
			Queue: Queue(g.VMID), Timeout: questions.Timeout(&g.Object, questions.ShortTask), Op: &op})
		return
	}
}
