package questions

import (
	"fmt"
	"slices"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// AskAgain is the command that prints the lines of a rollback that is asked for now. The
// time itself stands in no plan: a plan stays the same while it is blocked.
func AskAgain(q Questions, g *spec.Guest) string {
	return fmt.Sprintf("felhom-agent --print-rollback %s/%s", g.Ref, g.Rollback.To)
}

// RollbackTarget finds the snapshot, or says why the request is held.
func RollbackTarget(q Questions, g *spec.Guest, state *node.GuestState) (snapshot proxmox.Snapshot, why, fix string) {
	r := g.Rollback
	again := AskAgain(q, g)
	switch {
	case !r.Zoned:
		return snapshot, fmt.Sprintf("requested %s has no zone, so the time is ambiguous", r.RequestedText), "lines with a zone: " + again
	case q.Have.Future(r.Requested):
		return snapshot, fmt.Sprintf("requested %s is in the future by the node's clock", r.RequestedText), "ask again: " + again
	case q.Have.Now.Sub(r.Requested) > 24*time.Hour:
		return snapshot, fmt.Sprintf("requested %s is older than a day: too late to be sure that it is still meant", r.RequestedText), "ask again: " + again + ", or remove rollback"
	}
	if state.Snapshots == nil {
		return snapshot, "its snapshots cannot be read", "see: " + g.Type.Tool() + " listsnapshot " + g.VMID.String()
	}
	i := slices.IndexFunc(state.Snapshots.Snapshots, func(s proxmox.Snapshot) bool { return s.Name == r.To })
	if i < 0 {
		return snapshot, fmt.Sprintf("%d has no snapshot %s", g.VMID, r.To), "see: " + g.Type.Tool() + " listsnapshot " + g.VMID.String()
	}
	snapshot = state.Snapshots.Snapshots[i]
	switch {
	case snapshot.State != "":
		return snapshot, fmt.Sprintf("the snapshot %s is not complete (%s)", r.To, snapshot.State), "choose another"
	case !snapshot.Time.Before(r.Requested):
		return snapshot, fmt.Sprintf("the snapshot %s of %s is not older than the request of %s", r.To, q.Have.Date(snapshot.Time), r.RequestedText), "ask again if it is meant: " + again
	}
	for _, id := range rollsBackOn(q, state) {
		if s := q.Have.Storages[id]; s == nil || s.Conf.Type != "zfspool" {
			continue
		}
		for _, other := range state.Snapshots.Snapshots {
			if other.Time.After(snapshot.Time) && other.Name != "vzdump" {
				return snapshot, fmt.Sprintf("%s is on ZFS (%s), which rolls back to the newest snapshot only, and %s is newer", g.Ref.Name, id, other.Name), "newer ones are never deleted to make way: delete them yourself, or restore a backup"
			}
		}
	}
	return snapshot, "", ""
}

// rollsBackOn lists the storages of the volumes that a rollback takes back.
func rollsBackOn(q Questions, state *node.GuestState) []string {
	var on []string
	add := func(mp proxmox.MountPoint) {
		if id, err := proxmox.ParseVolumeID(mp.Volume()); err == nil && !slices.Contains(on, id.Storage) {
			on = append(on, id.Storage)
		}
	}
	if root, ok := state.Config.RootFS(); ok {
		add(root)
	}
	for _, drive := range state.Config.Drives() {
		add(proxmox.MountPoint{"volume": drive.Volume()})
	}
	if state.Rollback != nil {
		then := state.Rollback.MountPoints()
		for _, i := range text.Keys(then) {
			add(then[i])
		}
	}
	return on
}

// RollbackLoses lists the volumes besides rootfs that go back (for `loses`), and
// all that loses its writes, in people's words.
func RollbackLoses(q Questions, state *node.GuestState) (goes, lost []string) {
	lost = []string{"rootfs"}
	if state.Type.VM() {
		return drivesBack(state)
	}
	if state.Rollback == nil {
		return nil, lost
	}
	then := state.Rollback.MountPoints()
	for _, i := range text.Keys(then) {
		mp := then[i]
		if mp.Kind() != proxmox.VolumeMount {
			continue
		}
		size, _ := mp.Size()
		goes = append(goes, fmt.Sprintf("mp%d", i))
		lost = append(lost, fmt.Sprintf("mp%d %s %s", i, mp.Path(), size))
	}
	return goes, lost
}

// ComesBackToo names what a rollback changes besides the volumes that it takes back:
// volumes that were added since are detached, and config comes back that is then made
// as the YAML says.
func ComesBackToo(q Questions, state *node.GuestState) []string {
	if state.Rollback == nil {
		return nil
	}
	var all []string
	then := state.Rollback.MountPoints()
	now := state.Config.MountPoints()
	for _, i := range text.Keys(now) {
		if mp := now[i]; mp.Kind() == proxmox.VolumeMount && then[i].Volume() != mp.Volume() {
			size, _ := mp.Size()
			all = append(all, fmt.Sprintf("mp%d %s %s was added since: it is detached (%s) and keeps its data", i, mp.Path(), size, mp.Volume()))
		}
	}
	before := state.Rollback.Drives()
	for _, key := range drives(state.Config) {
		if volume := state.Config.Drives()[key].Volume(); before[key].Volume() != volume {
			all = append(all, fmt.Sprintf("%s was added since: it is detached (%s) and keeps its data", DriveText(state.Config, key), volume))
		}
	}
	for _, key := range []string{"memory", "tags", "onboot"} {
		if then, now := state.Rollback.Raw[key], state.Config.Raw[key]; then != now {
			all = append(all, fmt.Sprintf("%s %s -> %s comes back too, and is then as the YAML says", key, text.OrElse(now, "(unset)"), text.OrElse(then, "(unset)")))
		}
	}
	return all
}
