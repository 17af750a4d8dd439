package questions

import (
	"fmt"

	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// NeverListed says why the empty list of a Proxmox Backup Server is not taken for that of a new
// one, or nil. Nothing is known of it, and the YAML says that backups of the guest may lie
// there. A node that was lost with the agent's state, and is set up again with another user of
// the server, looks the same as one whose server is new. Where another guest is backed up there
// that is here, or is made of something else, its backups will show whose the server is.
func NeverListed(q Questions, storage string, g *spec.Guest) *plan.Blocker {
	state, known := q.Have.Storages[storage], q.Have.Stored.Servers[storage]
	if !state.IsServer() || !state.Read || state.Err != nil || !known.Newest.IsZero() || len(known.Guests) > 0 || !namesNewest(q, storage, g) {
		return nil
	}
	if len(node.ManagedArchives(q.Have, storage)) > 0 || proves(q, storage) {
		return nil
	}
	return hidden(state, fmt.Sprintf("storage %s lists no backup and did not before, as far as is known: it is new, or its backups belong to another user", storage),
		"if it is new: "+DespiteNow)
}

// namesNewest reports whether a guest may be made from its newest backup on a storage, and the
// storage lists none.
func namesNewest(q Questions, storage string, g *spec.Guest) bool {
	for _, source := range g.From {
		if source.Newest == storage {
			return len(node.ArchivesOf(q.Have, storage, node.SourceVMID(g, source), g.Type)) == 0
		}
	}
	return false
}

// proves reports whether a guest is backed up to a storage that is here, or is made of
// something else than its backup there.
func proves(q Questions, storage string) bool {
	for _, id := range text.Keys(q.Want.Backups) {
		b := q.Want.Backups[id]
		if b.Storage != storage || Elsewhere(q, b.Ref) != "" {
			continue
		}
		for _, name := range BackupGuests(q, b) {
			g := q.Want.Guest(name)
			if why, _ := Frozen(q, g.Ref); why != "" || Elsewhere(q, g.Ref) != "" {
				continue
			}
			if q.Have.Guests[g.VMID] != nil || len(g.From) > 0 && !namesNewest(q, storage, g) {
				return true
			}
		}
	}
	return false
}
