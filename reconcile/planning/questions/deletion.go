package questions

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// StoppedFact is the fact in the marker of an archive that says since when, at the latest, its guest had been stopped
// when the archive was made: it is the last one before a deletion.
const StoppedFact = "stopped"

// StaysUndeleted says why a guest that is here must not be deleted; nil: it is ours, of the declared name, and nothing
// of PVE or of a person holds it.
func StaysUndeleted(q Questions, g *spec.Guest, s *node.GuestState) *plan.Blocker {
	tool, found := s.Type.Tool(), marker.FindMarkers(s.Config.Description())
	byHand := fmt.Sprintf("to delete it yourself, as root: %s destroy %d", tool, g.VMID)
	switch {
	case !strings.EqualFold(s.Config.Hostname(), g.Hostname()):
		return &plan.Blocker{Reason: fmt.Sprintf("%d is called %s, not %s; it is not deleted", g.VMID, text.OrElse(s.Config.Hostname(), "nothing"), g.Hostname()), Fix: []string{"correct the vmid", fmt.Sprintf("if it is the one you mean: is: %s", s.Config.Hostname())}}
	case len(found) == 1 && node.Owns(q.Have, found[0], &g.Object, g.VMID) && strings.Count(s.Config.Description(), OwnMarker(found[0])) == 1:
	case len(found) > 0:
		return &plan.Blocker{Reason: fmt.Sprintf("the ownership marker in the Notes of %d is not the one of %s; it is not deleted", g.VMID, g.Ref), Fix: []string{"correct the vmid", byHand}}
	default:
		return &plan.Blocker{Reason: fmt.Sprintf("%d has no ownership marker in its Notes: only what this agent manages is deleted", g.VMID), Fix: []string{"to have it managed first: felhom-agent --once without ensure: absent", byHand}}
	}
	switch {
	case s.Config.Template() || s.Template:
		return &plan.Blocker{Reason: fmt.Sprintf("%d is a template; it is not deleted", g.VMID), Fix: []string{byHand}}
	case s.Config.Protection():
		return &plan.Blocker{Reason: fmt.Sprintf("%d is protected; it is not deleted", g.VMID), Fix: []string{fmt.Sprintf("if it may go: %s set %d --protection 0", tool, g.VMID)}}
	case s.HA != "":
		return &plan.Blocker{Reason: fmt.Sprintf("%d is managed by HA (%s); it is not deleted", g.VMID, s.HA), Fix: []string{fmt.Sprintf("take it out: ha-manager remove %s:%d", map[bool]string{false: "ct", true: "vm"}[s.Type.VM()], g.VMID)}}
	case s.Config.Digest == "":
		return &plan.Blocker{Reason: fmt.Sprintf("PVE shows no digest of the configuration of %d; it is not deleted", g.VMID), Fix: []string{"run it again"}, Passes: true}
	}
	for _, privilege := range []string{"VM.Allocate", "VM.PowerMgmt"} {
		if ob := Missing(q, fmt.Sprintf("/vms/%d", g.VMID), privilege); ob != nil {
			return ob
		}
	}
	return nil
}

// OwnMarker is the part of an ownership marker that says whose a guest is, as it stands in the Notes.
func OwnMarker(m marker.Marker) string {
	return marker.Marker{Object: m.Object, VMID: m.VMID, Owner: m.Owner}.String()
}

// harmless are the tasks on a guest that write nothing into it: a start, a rollback and all that is not known may.
func harmless(t *proxmox.Task) bool {
	return t.Type == "vzdump" || slices.Contains([]string{"destroy", "snapshot", "delsnapshot"}, proxmox.TaskAct(t.Type))
}

// ended reports whether a task is one that stops a guest, and has.
func ended(t *proxmox.Task) bool {
	return slices.Contains([]string{"stop", "shutdown"}, proxmox.TaskAct(t.Type)) && !t.Running() && t.OK()
}

// stoppedSince is since when a guest that is stopped was so, without a break, when an archive of it was begun; zero:
// that is not known. What the archive's marker says was seen then; else a task that stopped it tells. Since that time
// no task may have started or changed the guest, and the list of tasks must reach back to it.
func stoppedSince(q Questions, vmid proxmox.VMID, m marker.Marker, begun time.Time) time.Time {
	since, _ := time.Parse(time.RFC3339, m.Facts[StoppedFact])
	if since.IsZero() {
		for i := range q.Have.Tasks {
			t := &q.Have.Tasks[i]
			if t.ID == vmid.String() && ended(t) && !t.EndTime.After(begun) && t.EndTime.After(since) {
				since = t.EndTime
			}
		}
	}
	if since.IsZero() || begun.Before(since) {
		return time.Time{}
	}
	reaches := q.Have.AllTasks
	for i := range q.Have.Tasks {
		t := &q.Have.Tasks[i]
		reaches = reaches || !t.StartTime.After(since)
		if t.ID != vmid.String() || harmless(t) || ended(t) && !t.EndTime.After(since) {
			continue
		}
		if t.Running() || !t.EndTime.Before(since) {
			return time.Time{}
		}
	}
	if !reaches {
		return time.Time{}
	}
	return since
}

// LastBackup is the newest archive that holds all that a stopped guest has written, in its present life: it was begun
// after the guest was last stopped. pending: there is one, of which is not known yet whether it is whole.
func LastBackup(q Questions, g *spec.Guest, born time.Time) (best, pending *proxmox.StorageContent) {
	for _, v := range q.Have.ByGuest[g.VMID] {
		m, ok := q.Have.MarkerOf(v.Notes)
		made, known := q.Have.Memory.Archives[v.VolID]
		if !ok && known { // its notes were lost, or are still to be written
			m, ok = marker.OneMarker(made.Marker)
		}
		name := m.Facts["guest"]
		switch {
		case !ok, v.Content != "backup", node.Ambiguous(*v), (v.Subtype == "qemu") != g.Type.VM(), m.Owner != q.Have.Owner, !m.Born.Equal(born), name != g.Ref.Name && (g.Was == "" || name != g.Was):
			continue
		case q.Have.Future(v.CTime) || q.Have.Ahead(*v), node.KeyMissing(q.Have, *v) != nil, q.Have.Storages[text.ProxmoxStorage(v.VolID)].Err != nil:
			continue
		case !q.Have.Foretold[v.VolID] && stoppedSince(q, g.VMID, m, q.Have.Begun(*v)).IsZero():
			continue
		case !node.Proven(q.Have, *v):
			if known && node.WholenessOf(q.Have, *v) == node.Unproven && q.Have.Now.Sub(made.Ended) < 2*journal.UnsyncedAge {
				pending = v
			}
			continue
		}
		if best == nil || v.CTime.After(best.CTime) {
			best = v
		}
	}
	return best, pending
}

// TakesLast says why the last backup of a guest cannot be made by a declared backup.
func TakesLast(q Questions, mounting Mounting, b *spec.Backup, g *spec.Guest, s *node.GuestState) *plan.Blocker {
	if ob := TakesBackups(q, mounting, b.Storage); ob != nil {
		return ob
	}
	if ob := Missing(q, fmt.Sprintf("/vms/%d", g.VMID), "VM.Backup"); ob != nil {
		return ob
	}
	if ob := node.AmbiguousArchive(q.Have, b.Storage, g.VMID); ob != nil {
		return ob
	}
	if says := ServerOwnedBy(q, b, g); says != "" {
		return &plan.Blocker{Reason: says, Fix: []string{"see felhom-agent --history --only " + g.Ref.String()}}
	}
	if short, is := Short(q, b, g); is {
		return &plan.Blocker{Reason: fmt.Sprintf("%s has no room for the last backup of %s: its last archive has %s", Where(q, b.Storage), g.Ref.Name, short.Last.Human()), Fix: []string{"make room, or connect a larger disk"}}
	}
	if g.Type.VM() && s.Status != "running" {
		return MemoryShort(q, g, s)
	}
	return nil
}

// A Loss is what goes with a guest, and what of it no backup holds.
type Loss struct {
	Storages []string // of its volumes
	Lost     []string // volumes that no backup holds
	Kept     []string // folders of the host, which stay
}

// LossOf looks at the volumes of a guest.
func LossOf(s *node.GuestState) (l Loss) {
	add := func(volume string) {
		if storage := text.ProxmoxStorage(volume); storage != "" && !slices.Contains(l.Storages, storage) {
			l.Storages = append(l.Storages, storage)
		}
	}
	if s.Type.VM() {
		for _, drive := range s.Config.Drives() {
			add(drive.Volume())
		}
		l.Lost = Unbacked(s.Config)
	}
	if root, ok := s.Config.RootFS(); ok {
		add(root.Volume())
	}
	mounts := s.Config.MountPoints()
	for _, i := range slices.Sorted(maps.Keys(mounts)) {
		mp := mounts[i]
		switch {
		case mp.Kind() != proxmox.VolumeMount:
			l.Kept = append(l.Kept, fmt.Sprintf("mp%d %s", i, mp.Path()))
			continue
		case !mp.Backup():
			l.Lost = append(l.Lost, fmt.Sprintf("mp%d %s", i, mp.Path()))
		}
		add(mp.Volume())
	}
	unused := s.Config.Unused()
	for _, i := range slices.Sorted(maps.Keys(unused)) {
		add(unused[i])
		l.Lost = append(l.Lost, fmt.Sprintf("unused%d %s", i, unused[i]))
	}
	slices.Sort(l.Storages)
	return l
}
