package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// bindSource is the path on the host that a declared bind means.
func (p *planner) bindSource(declared spec.MountPoint) string {
	if declared.Host != "" {
		return declared.Host
	}
	return strings.TrimSuffix(p.want.Mounts[declared.Mount].Path, "/") + "/" + strings.Trim(declared.Folder, "/")
}

// bindReady says why a bind of a declared disk cannot be used now, or nil. PVE mounts
// whatever stands at the path, so a guest that is started while the disk is away
// writes to the root disk.
func (p *planner) bindReady(declared spec.MountPoint) *obstacle {
	if declared.Mount == "" {
		return nil
	}
	m := p.want.Mounts[declared.Mount]
	if p.mounting[declared.Mount] {
		return &obstacle{reason: fmt.Sprintf("mounts/%s is not mounted yet", declared.Mount), mount: declared.Mount}
	}
	if p.have.Host == nil {
		if state := p.have.Storages[m.Storage]; m.Storage != "" && state != nil && state.Status != nil && state.Status.Active && state.Conf.IsMountpoint != "" {
			return nil
		}
		return p.needsHost()
	}
	if _, mounted := p.have.mountedDisk(m); !mounted {
		why, cure := p.away(m)
		return &obstacle{reason: fmt.Sprintf("its %s lies on mounts/%s, which is not mounted%s: started now, it would write to the root disk", declared.Path, declared.Mount, why), cure: cure}
	}
	if ob := p.ejecting(m); ob != nil {
		return ob
	}
	folder, path := declared.Mount+"/"+declared.Folder, p.bindSource(declared)
	if why := p.have.Host.Barred[folder]; why != "" {
		return &obstacle{reason: fmt.Sprintf("the folder %s on mounts/%s cannot be bound: %s", declared.Folder, declared.Mount, why), cure: []string{"look at it as root: namei -l " + path}}
	}
	if there, looked := p.have.Host.Folders[folder]; looked && !there {
		return &obstacle{reason: fmt.Sprintf("there is no folder %s on mounts/%s", declared.Folder, declared.Mount),
			cure: []string{fmt.Sprintf("as root: mkdir -p %s && chown 100000:100000 %s", path, path)}}
	}
	return nil
}

// needsHost is why an act of the fence cannot be sent from here.
func (p *planner) needsHost() *obstacle {
	reason := fmt.Sprintf("needs the host %s", p.have.Node)
	if p.have.HostReason != "" {
		reason += ": " + p.have.HostReason
	}
	cure := "run the agent on " + p.have.Node + " with a runner (sudo, socket or direct)"
	if strings.Contains(p.have.HostReason, "does not answer") { // the reason says what is wrong with the way that there is
		cure = "whether it answers then: felhom-agent --selftest"
	}
	return &obstacle{reason: reason, cure: []string{cure}}
}

// planBinds plans binds and devices, which PVE allows only to root, through the fence.
func (p *planner) planBinds(g *spec.Guest, state *GuestState) {
	o := &g.Object
	live := effectiveMounts(state.Config)
	for _, i := range slices.Sorted(maps.Keys(g.Config.Mounts)) {
		declared := g.Config.Mounts[i]
		if !declared.Bind() {
			continue
		}
		key, field := fmt.Sprintf("mp%d", i), fmt.Sprintf("config.mp%d", i)
		source := p.bindSource(declared)
		mp, there := live[i]
		if there && mp.Kind() == proxmox.VolumeMount {
			p.hold(o, field, fmt.Sprintf("%s is the volume %s now, and a folder of the host is declared", key, mp.Volume()), fmt.Sprintf("detach the volume as a person: pct set %d --delete %s", g.VMID, key))
			continue
		}
		if there && mp.Volume() == source && sameBind(mp, declared) {
			if p.planReplugged(g, state, i, declared) {
				return
			}
			continue
		}
		if ob := p.bindReady(declared); ob != nil {
			p.holdFor(o, field, ob, Later{Verb: "bind", Symbol: Change, Text: fmt.Sprintf("bind %s at %s", source, declared.Path)})
			p.unmet[g.Ref.Name] = ob.reason
			continue
		}
		if p.have.Host == nil {
			ob := p.needsHost()
			p.hold(o, field, ob.reason, ob.cure...)
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
		b := privileged.BindSpec{VMID: int(g.VMID), Object: g.Ref.Name, Owner: p.have.Owner, Index: i, Source: source, Target: declared.Path,
			ReadOnly: declared.ReadOnly, Options: options}
		if declared.Mount != "" {
			b.Mount = p.want.Mounts[declared.Mount].Path
		}
		op := privileged.BindMount(p.have.Node, b)
		when := "now"
		if there && state.Status == "running" {
			when = "needs a restart"
		}
		p.act(Action{ID: g.Ref.String() + "/" + key, Object: g.Ref, Verb: "bind", Symbol: Change, Text: fmt.Sprintf("%s: %s at %s", key, source, declared.Path),
			When: when, Lane: lane(g.VMID), Timeout: timeout(o, shortTask), Op: &op})
		return
	}
	p.planDevices(g, state)
}

// planReplugs looks whether a guest still has disks as they were before they were
// re-plugged, where all else of it is only reported.
func (p *planner) planReplugs(g *spec.Guest, state *GuestState) {
	live := effectiveMounts(state.Config)
	for _, i := range slices.Sorted(maps.Keys(g.Config.Mounts)) {
		declared := g.Config.Mounts[i]
		if declared.Bind() && live[i].Volume() == p.bindSource(declared) && p.planReplugged(g, state, i, declared) {
			return
		}
	}
}

// planReplugged finds a guest that still has the disk as it was before it was pulled
// and plugged in again: the host sees the files, the guest an empty folder and I/O
// errors, until it is restarted. The device numbers of both mounts tell.
func (p *planner) planReplugged(g *spec.Guest, state *GuestState, i int, declared spec.MountPoint) bool {
	if declared.Mount == "" || state.Status != "running" || p.have.Host == nil {
		return false
	}
	m := p.want.Mounts[declared.Mount]
	if _, mounted := p.have.mountedDisk(m); !mounted {
		return false
	}
	at := slices.IndexFunc(p.have.Host.Mounts, func(have privileged.Mount) bool { return have.Path == m.Path && have.Mounted })
	in := slices.IndexFunc(state.Mounts, func(have privileged.GuestMount) bool { return have.Path == declared.Path })
	if at < 0 || in < 0 {
		return false
	}
	host, guest := p.have.Host.Mounts[at], state.Mounts[in]
	if host.Major == guest.Major && host.Minor == guest.Minor {
		return false
	}
	why := fmt.Sprintf("its %s is the disk as it was before it was re-plugged: the guest sees nothing of it", declared.Path)
	if g.Restart == spec.RestartAuto && state.HA == "" {
		p.restart(g, state, nil, why)
		return true
	}
	p.hold(&g.Object, fmt.Sprintf("config.mp%d", i), why, fmt.Sprintf("pct reboot %d", g.VMID), "or restart: auto")
	return false
}

// sameBind reports whether a bind has the declared place and options.
func sameBind(live proxmox.MountPoint, declared spec.MountPoint) bool {
	want := mountOptions(declared)
	want["ro"] = cmp.Or(want["ro"], "0")
	old, new := overlay(maps.Clone(live), want)
	return old == "" && new == ""
}

// sameDevice reports whether a passed device is the declared one, with its options.
func sameDevice(live, declared proxmox.Device) bool {
	old, new := overlay(maps.Clone(live), declared)
	return old == "" && new == ""
}

// planDevices passes the declared host devices through.
func (p *planner) planDevices(g *spec.Guest, state *GuestState) {
	values := effective(state.Config)
	for _, i := range slices.Sorted(maps.Keys(g.Config.Devices)) {
		declared := g.Config.Devices[i]
		key := fmt.Sprintf("dev%d", i)
		device, text := maps.Clone(declared), fmt.Sprintf("%s: %s", key, declared["path"])
		if live, _ := proxmox.ParseDevice(values[key]); live["path"] == declared["path"] {
			if sameDevice(live, declared) {
				continue
			}
			device = maps.Clone(live) // what is not declared stays
			old, new := overlay(device, declared)
			text += fmt.Sprintf(", %s -> %s", orElse(old, "(unset)"), new)
		}
		if p.have.Host == nil {
			ob := p.needsHost()
			p.hold(&g.Object, "config."+key, ob.reason, ob.cure...)
			continue
		}
		if !p.unique(g, state, map[string]string{key: device.String()}) {
			continue
		}
		d := privileged.DeviceSpec{VMID: int(g.VMID), Object: g.Ref.Name, Owner: p.have.Owner, Index: i, Path: device["path"], Mode: device["mode"],
			DenyWrite: device["deny-write"] == "1"}
		fmt.Sscan(device["uid"], &d.UID)
		fmt.Sscan(device["gid"], &d.GID)
		op := privileged.PassDevice(p.have.Node, d)
		p.act(Action{ID: g.Ref.String() + "/" + key, Object: g.Ref, Verb: "pass device", Symbol: Change, Text: text,
			Lane: lane(g.VMID), Timeout: timeout(&g.Object, shortTask), Op: &op})
		return
	}
}
