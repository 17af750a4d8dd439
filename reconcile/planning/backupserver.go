package planning

import (
	"fmt"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// serversSeen notes what each backup server lists of this agent, and of the declared guests:
// later a shorter list proves nothing.
func serversSeen(q questions.Questions) map[string]state.Server {
	servers := map[string]state.Server{}
	for _, id := range questions.Storages(q) {
		if !q.Have.Storages[id].IsServer() {
			continue
		}
		seen := state.Server{Guests: map[string]time.Time{}}
		if ours := node.ManagedArchives(q.Have, id); len(ours) > 0 {
			seen.Newest = ours[0].CTime.In(q.Have.Now.Location())
		}
		for _, g := range q.Want.AllGuests() {
			if all := node.ArchivesOf(q.Have, id, g.VMID, g.Type); len(all) > 0 {
				seen.Guests[g.Ref.Name] = all[0].CTime.In(q.Have.Now.Location())
			}
		}
		if len(seen.Guests) > 0 || !seen.Newest.IsZero() {
			servers[id] = seen
		}
	}
	return servers
}

// describeServer says once per object what its storage on a backup server is, and what keep
// comes to there.
func describeServer(p *planner, b *spec.Backup) {
	state := p.Have.Storages[b.Storage]
	switch {
	case b.ServerKeeps && state != nil && !state.IsServer():
		p.block(&b.Object, "keep", fmt.Sprintf("keep: server is for a storage of type pbs, and %s is of type %s", b.Storage, state.Conf.Type), "keep: {daily: 7}")
	case !b.ServerKeeps && questions.ServerKeeps(p.Questions, b):
		p.block(&b.Object, "keep", fmt.Sprintf("the backup server of %s does not allow deleting: its role, such as DatastoreBackup, cannot prune", b.Storage),
			"let the server decide, with a prune job there: keep: server", fmt.Sprintf("or give its user the role DatastorePowerUser, then: felhom-agent --once --only %s", b.Ref))
	}
	if note := questions.ServerNote(p.Questions, b); note != "" {
		p.note(&b.Object, "%s", note)
	}
}

// serverDetail says of an archive on a backup server what the server knows of it.
func serverDetail(have *node.Observed, v proxmox.StorageContent) []string {
	if !node.OnServer(v) {
		return nil
	}
	detail := "on the backup server: " + node.VerifiedText(have, v)
	if v.Encrypted {
		detail += ", encrypted"
	}
	return []string{detail}
}

// noteUnfinished names the archives of a guest on a backup server that nobody finishes.
func noteUnfinished(p *planner, b *spec.Backup, g *spec.Guest) {
	for _, v := range p.Have.ByGuest[g.VMID] {
		if v.Content != "backup" || text.ProxmoxStorage(v.VolID) != b.Storage || node.WholenessOf(p.Have, *v) != node.Unfinished || p.Have.Task(g.VMID, "vzdump") != nil {
			continue
		}
		p.note(&b.Object, "the archive %s of %s is unfinished: its backup was cut off, or is made by another node. It does not count; the server removes it when it prunes", v.VolID, g.Ref.Name)
	}
}

// unowned is a guest whose backups belong to another user of the backup server, in its words.
type unowned struct{ guest, says string }

// blockUnowned says once for all guests that the backup server refuses their backups to this
// user. Tried each night, each would be a failed task.
func blockUnowned(p *planner, b *spec.Backup, all []unowned) {
	if len(all) == 0 {
		return
	}
	var names []string
	for _, u := range all {
		names = append(names, u.guest)
	}
	p.block(&b.Object, "storage", fmt.Sprintf("the backups of %s on %s belong to another user of the backup server: %s", text.List(names), b.Storage, all[0].says),
		append(questions.OwnerFix(b.Storage), fmt.Sprintf("then: felhom-agent --once --only %s", b.Ref))...)
}

// serverFirst blocks a guest that is to come back from a backup server that does not show its
// backups, before anything else does: who asks for it by name would meet that next.
func serverFirst(p *planner, g *spec.Guest) {
	if questions.Released(p.Questions, g) {
		return
	}
	for _, source := range g.From {
		if source.Newest == "" {
			continue
		}
		if ob := questions.ServerHides(p.Questions, source.Newest, g); ob != nil {
			blockCreation(p, g, source, ob)
			return
		}
	}
}
