package questions

import (
	"fmt"
	"maps"
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/compare"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// OnlyReports reports whether changes that are made elsewhere are shown and not
// healed: what the object says, else agent.yaml, else what is usual for its kind.
func OnlyReports(q Questions, g *spec.Guest) bool {
	switch {
	case g.Drift != "":
		return g.Drift == spec.DriftReport
	case q.Have.Drift != "":
		return q.Have.Drift == spec.DriftReport
	}
	return g.Adopt
}

// Differences lists in words everything but the run state in which a guest differs from
// its YAML.
func Differences(q Questions, g *spec.Guest, state *node.GuestState, marker marker.Marker) []string {
	var all []string
	for _, f := range CompareConfig(q, &g.Object, g.Config, state, marker, "").Fields {
		all = append(all, fmt.Sprintf("%s %s -> %s", f.Name, f.New, f.Old))
	}
	if want, have := Protection(g, state); want != have {
		all = append(all, fmt.Sprintf("protection %s -> %s", want, have))
	}
	if root, ok := state.Config.RootFS(); ok && g.RootFS.Size > 0 {
		if size, known := root.Size(); known && size != g.RootFS.Size {
			all = append(all, fmt.Sprintf("rootfs %s -> %s", g.RootFS.Size, size))
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(g.Config.Drives), compare.CompareKeys) {
		if size, known := state.Config.Drives()[key].Size(); !known || size != g.Config.Drives[key] {
			all = append(all, fmt.Sprintf("%s %s -> %s", key, g.Config.Drives[key], DriveText(state.Config, key)))
		}
	}
	live := EffectiveMounts(state.Config)
	for _, i := range text.Keys(g.Config.Mounts) {
		declared := g.Config.Mounts[i]
		mp, there := live[i]
		if !there {
			all = append(all, fmt.Sprintf("mp%d %s is not attached", i, declared.Path))
		} else if !sameMount(q, mp, declared) {
			all = append(all, fmt.Sprintf("mp%d is %s", i, mp))
		}
	}
	values := node.Effective(state.Config)
	for _, i := range text.Keys(g.Config.Devices) {
		key, declared := fmt.Sprintf("dev%d", i), g.Config.Devices[i]
		if values[key] == "" {
			all = append(all, fmt.Sprintf("%s %s is not passed", key, declared["path"]))
		} else if device, _ := proxmox.ParseDevice(values[key]); !SameDevice(device, declared) {
			all = append(all, fmt.Sprintf("%s is %s", key, values[key]))
		}
	}
	return all
}

// sameMount reports whether a mount point is what is declared, with its options.
func sameMount(q Questions, live proxmox.MountPoint, declared spec.MountPoint) bool {
	size, _ := live.Size()
	switch {
	case declared.Bind() != (live.Kind() != proxmox.VolumeMount):
		return false
	case declared.Bind():
		return live.Volume() == BindSource(q, declared) && SameBind(live, declared)
	case declared.Volume != "" && live.Volume() != declared.Volume, declared.Size > 0 && size != declared.Size:
		return false
	}
	old, new := compare.Overlay(maps.Clone(live), VolumeOptions(declared))
	return old == "" && new == ""
}

// WhoMoved says who started or stopped a guest, and when, where the task list still tells
// it, and whether that was us.
func WhoMoved(q Questions, g *spec.Guest, state *node.GuestState) (who string, ours bool) {
	stops, starts := []string{"stop", "shutdown"}, []string{"start", "reboot"}
	if state.Status == "running" {
		stops, starts = starts, stops
	}
	starts = append(starts, "create", "restore", "rollback")
	for _, t := range q.Have.Tasks { // newest first
		switch {
		case t.ID != g.VMID.String() || !t.OK():
		case slices.Contains(stops, proxmox.TaskAct(t.Type)):
			return fmt.Sprintf("%s (%s, %s)", t.Owner(), t.Type, q.Have.Date(t.EndTime)), t.Owner() == q.Have.TokenID
		case slices.Contains(starts, proxmox.TaskAct(t.Type)): // it moved since, and that from inside or by a crash
			return Unknown, false
		}
	}
	return Unknown, false
}

// MovedBy is the line below a start or a stop that undoes what somebody else did.
func MovedBy(q Questions, g *spec.Guest, state *node.GuestState) []string {
	who, ours := WhoMoved(q, g, state)
	if who == Unknown || ours {
		return nil
	}
	what := "stopped"
	if state.Status == "running" {
		what = "started"
	}
	return []string{fmt.Sprintf("it was %s by %s", what, who)}
}

// Unknown is who did what leaves no task: a change of a config, or of long ago.
const Unknown = "unknown"
