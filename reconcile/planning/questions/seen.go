package questions

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// Mounting are the names of the mounts that a plan is about to mount: what is on them can be waited for.
type Mounting map[string]bool

// Seen says why the content of a storage cannot be known now, or nil. What cannot
// be seen is not absent.
func Seen(q Questions, mounting Mounting, storage string) *plan.Blocker {
	state := q.Have.Storages[storage]
	if state == nil {
		return &plan.Blocker{
			Reason: fmt.Sprintf("storage %s is not visible: it does not exist%s, or the token lacks Datastore.Audit", storage, DidYouMean(q, storage)),
			Fix:    []string{fmt.Sprintf("pvesm status; or give the token's role Datastore.Audit: %s", AppendPrivilege("Datastore.Audit"))},
		}
	}
	if errors.Is(state.Err, node.ErrAmbiguous) {
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s is not used: %v", storage, state.Err), Fix: []string{"compare: pvesm status"}}
	}
	m, mounted := q.Have.MountOf(q.Want, storage)
	if m != nil && m.Storage == storage {
		if ob := Misplaced(q, m); ob != nil {
			if TellsItself(q, m) {
				ob.Fix = []string{"as " + m.Ref.String()}
			}
			return ob
		}
	}
	if m != nil && mounted {
		if ob := Ejecting(q, m); ob != nil {
			return ob
		}
	}
	if m != nil && (!mounted || q.Have.Unread[m.Ref.Name]) {
		if mounting[m.Ref.Name] || mounted {
			return &plan.Blocker{Reason: fmt.Sprintf("mounts/%s is not mounted yet", m.Ref.Name), Mount: m.Ref.Name}
		}
		why, fix := Disconnected(q, m)
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s is on mounts/%s, which is not mounted%s", storage, m.Ref.Name, why), Fix: fix}
	}
	if state.Conf.Disabled {
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s is disabled", storage), Fix: []string{fmt.Sprintf("pvesm set %s --disable 0", storage)}}
	}
	if ob := ServerAway(q, storage); ob != nil {
		return ob
	}
	if state.Status == nil || !state.Status.Active {
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s is not active", storage), Fix: []string{"see: pvesm status"}}
	}
	if state.Err != nil {
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s cannot be read: %v", storage, state.Err), Fix: FixOf(state.Err, "see: pvesm list "+storage),
			Passes: proxmox.IsTransient(state.Err) && !proxmox.IsStuck(state.Err)} // what hangs may hang for hours
	}
	if !state.Read {
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s was not read", storage), Fix: []string{"run it again"}}
	}
	return nil
}

// AllSeen says which storage's content cannot be known, of those that are to hold backups
// of a guest and of all that the token sees.
func AllSeen(q Questions, mounting Mounting, g *spec.Guest) *plan.Blocker {
	for _, name := range text.Keys(q.Want.Backups) {
		b := q.Want.Backups[name]
		if !q.Want.BacksUp(b, g.Ref.Name) {
			continue
		}
		if o := Seen(q, mounting, b.Storage); o != nil { // it does not exist, say, or is disabled
			return o
		}
		if o := ListsBackups(q, b.Storage); o != nil {
			return o
		}
	}
	for _, id := range Storages(q) {
		if state := q.Have.Storages[id]; state.Conf.Disabled || !node.HoldsGuestData(state.Conf) {
			continue
		}
		if o := Seen(q, mounting, id); o != nil {
			return o
		}
		if o := Visible(q, id); o != nil {
			return o
		}
		if o := ServerHides(q, id, g); o != nil {
			return o
		}
	}
	return nil
}

// TakesBackups says why a storage cannot take archives of ours, or nil.
func TakesBackups(q Questions, mounting Mounting, storage string) *plan.Blocker {
	if o := Seen(q, mounting, storage); o != nil {
		return o
	}
	if o := ServerRefuses(q, storage); o != nil {
		return o
	}
	if m, mounted := q.Have.MountOf(q.Want, storage); m != nil && mounted && q.Have.Host != nil {
		if o := ReadOnly(q, m); o != nil {
			return o
		}
	}
	conf := q.Have.Storages[storage].Conf
	if !slices.Contains(conf.Content, "backup") {
		return &plan.Blocker{
			Reason: fmt.Sprintf("storage %s does not take backups (content: %s)", storage, strings.Join(conf.Content, ", ")),
			Fix:    ContentFix(conf, "backup"),
		}
	}
	if prune := conf.PruneBackups; prune != "" && prune != "keep-all=1" {
		return &plan.Blocker{
			Reason: fmt.Sprintf("storage %s has its own retention (%s): PVE would delete unmanaged archives, or refuse managed ones", storage, prune),
			Fix:    []string{fmt.Sprintf("set it off: pvesm set %s --prune-backups keep-all=1", storage)},
		}
	}
	for _, m := range q.Want.Mounts {
		if m.Storage != storage || !q.Have.HasMount(m) {
			continue
		}
		if conf.IsMountpoint == "" || !node.Within(m.Path, conf.Path) {
			return &plan.Blocker{
				Reason: fmt.Sprintf("storage %s does not say that %s is a mount point (path %s): with the disk away PVE would fill the root disk", storage, m.Path, conf.Path),
				Fix:    []string{fmt.Sprintf("pvesm set %s --is_mountpoint %s", storage, m.Path)},
			}
		}
	}
	if missing := Missing(q, "/storage/"+storage, "Datastore.AllocateSpace"); missing != nil {
		return missing
	}
	return nil
}

// VolumesSeen says why loose volumes could be hidden: a storage that holds volumes is
// not to be seen.
func VolumesSeen(q Questions, mounting Mounting) *plan.Blocker {
	for _, id := range Storages(q) {
		conf := q.Have.Storages[id].Conf
		if conf.Disabled || !slices.Contains(conf.Content, "rootdir") && !slices.Contains(conf.Content, "images") {
			continue
		}
		if ob := Seen(q, mounting, id); ob != nil {
			ob.Reason += ": it may hold a volume of this guest, so no new one is made"
			return ob
		}
	}
	return nil
}

// VolumesHidden says why a storage on which the volumes of a guest lay, or are to lie, is
// not to be seen, where PVE knows it.
func VolumesHidden(q Questions, mounting Mounting, g *spec.Guest, c *node.Choice) *plan.Blocker {
	storages := []string{g.Storage}
	root, _ := c.Inside.RootFS()
	storages = append(storages, text.ProxmoxStorage(root.Volume()))
	for _, mp := range c.Inside.MountPoints() {
		if mp.Kind() == proxmox.VolumeMount {
			storages = append(storages, text.ProxmoxStorage(mp.Volume()))
		}
	}
	slices.Sort(storages)
	for _, storage := range slices.Compact(storages) {
		if state := q.Have.Storages[storage]; state == nil || state.Conf.Disabled {
			continue
		}
		if ob := Seen(q, mounting, storage); ob != nil {
			return ob
		}
	}
	return nil
}

// FixOf reads the fix out of an error of PVE, with a fallback.
func FixOf(err error, fallback string) []string {
	if proxmox.IsDenied(err) {
		if d := proxmox.DeniedBy(err); d != nil && len(d.Privileges) > 0 {
			return []string{AppendPrivilege(d.Privileges[0])}
		}
	}
	return []string{fallback}
}

// BackupsHidden says why the token may not see all backups of a guest on a storage.
func BackupsHidden(q Questions, g *spec.Guest, source spec.Source) *plan.Blocker {
	if missing := Missing(q, fmt.Sprintf("/vms/%d", node.SourceVMID(g, source)), "VM.Backup"); missing != nil || q.Have.Storages[source.Newest] == nil {
		return missing
	}
	if o := ListsBackups(q, source.Newest); o != nil {
		return o
	}
	return Visible(q, source.Newest)
}
