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

// planBinds plans binds and devices, which PVE allows only to root, via the root helper. It
// says why the guest will not run, where a disk that is not ready keeps it from that.
func planBinds(p *planner, g *spec.Guest, state *node.GuestState) (down string) {
	var live map[int]proxmox.MountPoint
	if len(g.Config.Mounts) > 0 {
		live = questions.EffectiveMounts(state.Config)
	}
	for _, i := range text.Keys(g.Config.Mounts) {
		declared := g.Config.Mounts[i]
		if !declared.Bind() {
			continue
		}
		field, source := fmt.Sprintf("config.mp%d", i), questions.BindSource(p.Questions, declared)
		mp, there := live[i]
		switch {
		case there && mp.Kind() == proxmox.VolumeMount:
			p.block(&g.Object, field, fmt.Sprintf("mp%d is the volume %s now, and a folder of the host is declared", i, mp.Volume()), fmt.Sprintf("detach the volume: pct set %d --delete mp%d", g.VMID, i))
			continue
		case there && mp.Volume() == source && questions.SameBind(mp, declared):
			if planReplugged(p, g, state, i, declared) {
				return down
			}
			continue
		}
		if blocker := questions.BindReady(p.Questions, p.mounting, declared); blocker != nil {
			p.blockFor(&g.Object, field, blocker, plan.Deferred{Verb: "bind", Symbol: plan.Change, Text: fmt.Sprintf("bind %s at %s", source, declared.Path)})
			down = blocker.Reason
			continue
		}
		if bind(p, g, state, i, mp) {
			return down
		}
	}
	planDevices(p, g, state)
	return down
}

// bind binds a folder of the host, in the place of what is there at its key, and reports
// whether it does.
func bind(p *planner, g *spec.Guest, state *node.GuestState, i int, live proxmox.MountPoint) bool {
	declared := g.Config.Mounts[i]
	key, field, source := fmt.Sprintf("mp%d", i), fmt.Sprintf("config.mp%d", i), questions.BindSource(p.Questions, declared)
	if p.Have.Host == nil {
		blocker := questions.NeedsHost(p.Questions)
		p.block(&g.Object, field, blocker.Reason, blocker.Fix...)
		return false
	}
	if protected(p, g, state, key, field) || !unique(p, g, state, map[string]string{key: proxmox.MountPoint{"volume": source, "mp": declared.Path}.String()}) {
		return false
	}
	options, when := map[string]string{}, "now"
	if live != nil && live.Volume() == source { // what is not declared stays
		maps.Copy(options, live)
		for _, key := range []string{"volume", "mp", "ro", "size"} {
			delete(options, key)
		}
	}
	if live != nil && state.Status == "running" {
		when = "needs a restart"
	}
	maps.Copy(options, declared.Options)
	b := privileged.BindSpec{VMID: int(g.VMID), Object: g.Ref.Name, Owner: p.Have.Owner, Index: i, Source: source, Target: declared.Path,
		ReadOnly: declared.ReadOnly, Options: options}
	if declared.Mount != "" {
		b.Mount = p.Want.Mounts[declared.Mount].Path
	}
	op := privileged.BindMount(p.Have.Node, b)
	p.add(plan.Action{ID: g.Ref.String() + "/" + key, Object: g.Ref, Verb: "bind", Symbol: plan.Change, Text: fmt.Sprintf("%s: %s at %s", key, source, declared.Path),
		When: when, Queue: Queue(g.VMID), Timeout: questions.Timeout(&g.Object, questions.ShortTask), Op: &op})
	return true
}

// planReplugs looks whether a guest still has disks as they were before they were
// re-plugged, where all else of it is only reported.
func planReplugs(p *planner, g *spec.Guest, state *node.GuestState) {
	live := questions.EffectiveMounts(state.Config)
	for _, i := range text.Keys(g.Config.Mounts) {
		declared := g.Config.Mounts[i]
		if declared.Bind() && live[i].Volume() == questions.BindSource(p.Questions, declared) && planReplugged(p, g, state, i, declared) {
			return
		}
	}
}

// planReplugged finds a guest that still has the disk as it was before it was pulled
// and plugged in again: the host sees the files, the guest an empty folder and I/O
// errors, until it is restarted. The device numbers of both mounts tell.
func planReplugged(p *planner, g *spec.Guest, state *node.GuestState, i int, declared spec.MountPoint) bool {
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
		restart(p, g, state, nil, why)
		return true
	}
	p.block(&g.Object, fmt.Sprintf("config.mp%d", i), why, fmt.Sprintf("pct reboot %d", g.VMID), "or restart: auto")
	return false
}

// planDevices passes the declared host devices through.
func planDevices(p *planner, g *spec.Guest, state *node.GuestState) {
	values := node.Effective(state.Config)
	for _, i := range text.Keys(g.Config.Devices) {
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
			p.block(&g.Object, "config."+key, ob.Reason, ob.Fix...)
			continue
		}
		if !unique(p, g, state, map[string]string{key: device.String()}) {
			continue
		}
		d := privileged.DeviceSpec{VMID: int(g.VMID), Object: g.Ref.Name, Owner: p.Have.Owner, Index: i, Path: device["path"], Mode: device["mode"],
			DenyWrite: device["deny-write"] == "1"}
		fmt.Sscan(device["uid"], &d.UID)
		fmt.Sscan(device["gid"], &d.GID)
		op := privileged.PassDevice(p.Have.Node, d)
		p.add(plan.Action{ID: g.Ref.String() + "/" + key, Object: g.Ref, Verb: "pass device", Symbol: plan.Change, Text: s,
			Queue: Queue(g.VMID), Timeout: questions.Timeout(&g.Object, questions.ShortTask), Op: &op})
		return
	}
}
