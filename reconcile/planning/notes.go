package planning

import (
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// creationNotes remarks what differs and is fixed at birth, and what hurts one day.
func creationNotes(p *planner, g *spec.Guest, state *node.GuestState, marker marker.Marker) {
	config := state.Config
	if root := config.RootVolume(); root != "" && g.Storage != "" {
		moved(p, &g.Object, g.VMID, "rootfs", root, g.Storage)
	}
	mounts := config.MountPoints()
	for _, i := range text.Keys(g.Config.Mounts) {
		if want := g.Config.Mounts[i].Storage; want != "" && mounts[i].Kind() == proxmox.VolumeMount {
			moved(p, &g.Object, g.VMID, fmt.Sprintf("mp%d", i), mounts[i].Volume(), want)
		}
	}
	if g.Type.VM() {
		vmNotes(p, g, state)
	} else if !config.Unprivileged() {
		p.note(&g.Object, "%d is privileged: it can be backed up, but the token may not restore it", g.VMID)
	}
	if config.Protection() && g.Config.Values["protection"] == "" {
		p.note(&g.Object, "%d is protected: PVE refuses to change its %s or to restore over it", g.VMID, map[bool]string{false: "mount points", true: "disks"}[g.Type.VM()])
	}
	pendingNotes(p, g, config)
	restoreOver(p, g, config, marker)
	fromNotes(p, g)
	for _, i := range text.Keys(g.Config.Mounts) {
		if m := p.Want.Mounts[g.Config.Mounts[i].Mount]; m != nil {
			if text := questions.Dying(p.Questions, m); text != "" {
				p.note(&g.Object, "mp%d: %s", i, text)
			}
		}
	}
	var outside, binds, undeclared []string
	for _, i := range text.Keys(mounts) {
		mp := mounts[i]
		switch {
		case mp.Kind() != proxmox.VolumeMount:
			binds = append(binds, fmt.Sprintf("mp%d %s", i, mp.Path()))
			if !g.Config.Mounts[i].Bind() {
				undeclared = append(undeclared, fmt.Sprintf("mp%d", i))
			}
		case !mp.Backup():
			outside = append(outside, fmt.Sprintf("mp%d %s%s", i, mp.Path(), SizeNote(mp)))
		}
	}
	if len(outside) > 0 {
		p.note(&g.Object, "in no backup: %s", strings.Join(outside, ", "))
	}
	if len(binds) > 0 {
		back := ""
		switch {
		case len(g.From) == 0: // it is not brought back at all
		case len(undeclared) > 0:
			back = fmt.Sprintf("; lost, the guest comes back without %s, for the YAML does not declare it", text.List(undeclared))
		default:
			back = "; lost, the guest comes back with it only via the root helper"
		}
		p.note(&g.Object, "%s: a folder of the host, not in backups, no snapshots%s", strings.Join(binds, ", "), back)
	}
}

// SizeNote is a volume's size in brackets, as far as the config tells it.
func SizeNote(mp proxmox.MountPoint) string {
	if size, ok := mp.Size(); ok {
		return fmt.Sprintf(" (%s)", size)
	}
	return ""
}

// moved remarks a disk that lies on another storage than is declared.
func moved(p *planner, o *spec.Object, vmid proxmox.VMID, key, volume, want string) {
	if id, err := proxmox.ParseVolumeID(volume); err == nil && id.Storage != want {
		p.note(o, "its %s is on %s, the YAML says %s: fixed at creation. To move it: pct move-volume %d %s %s", key, id.Storage, want, vmid, key, want)
	}
}

// fromNotes remarks where a guest could not come back: its backups lie on a storage
// that its `from` does not name.
func fromNotes(p *planner, g *spec.Guest) {
	if slices.ContainsFunc(g.From, func(s spec.Source) bool { return node.IsOwn(g, s) }) {
		return
	}
	for _, v := range p.Have.ByGuest[g.VMID] {
		if v.Content != "backup" || node.WholenessOf(p.Have, *v) != node.Whole {
			continue
		}
		from := fmt.Sprintf("[{newest: %s}", text.ProxmoxStorage(v.VolID))
		for _, source := range g.From {
			if source.Golden != "" {
				from += fmt.Sprintf(", {golden: %s}", source.Golden)
			}
		}
		p.note(&g.Object, "lost, it would be blocked: its backups are on %s, which `from` does not name; from: %s]", text.ProxmoxStorage(v.VolID), from)
		return
	}
}

// restoreOver remarks that `from` differs and what a person would lose who makes up for
// it by restoring over the guest: PVE destroys every volume of it first.
func restoreOver(p *planner, g *spec.Guest, config *proxmox.GuestConfig, marker marker.Marker) {
	if !questions.MadeOtherwise(p.Questions, g, marker) {
		return
	}
	var volumes []string
	mounts := config.MountPoints()
	for _, i := range text.Keys(mounts) {
		if mounts[i].Kind() == proxmox.VolumeMount {
			volumes = append(volumes, fmt.Sprintf("mp%d", i))
		}
	}
	unused := config.Unused()
	for _, i := range text.Keys(unused) {
		volumes = append(volumes, fmt.Sprintf("unused%d", i))
	}
	lost := "all that is in it"
	if len(volumes) > 0 {
		lost = text.List(volumes) + " as well"
	}
	p.note(&g.Object, "it was made from %s, the YAML says %s: fixed at creation. Do not restore over %d in the web UI: PVE destroys %s", marker.Facts["from"], sources(g), g.VMID, lost)
}

// pendingNotes remarks changes of somebody else that wait for the next start: they are not
// declared, so nothing restarts the guest for them, and a restart for another reason brings
// them along.
func pendingNotes(p *planner, g *spec.Guest, config *proxmox.GuestConfig) {
	for _, key := range pendingKeys(config) {
		if declares(g, key) || key == "description" {
			continue
		}
		before, after := questions.People(key, config.Raw[key]), questions.People(key, config.Pending[key])
		if slices.Contains(config.Deleted, key) {
			after = "(unset)"
		}
		if key == "env" { // it may hold passwords
			before, after = "(not shown)", "(not shown)"
		}
		p.note(&g.Object, "pending, in force after the next start: %s %s -> %s (not declared)", key, before, after)
	}
}
