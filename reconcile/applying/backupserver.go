package applying

import (
	"cmp"
	"fmt"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// serverTrouble is what a Proxmox Backup Server refused, and through which storage; "" where
// an ending has nothing to do with one.
func serverTrouble(e ending) (storage string, trouble proxmox.ServerTrouble) {
	if trouble = proxmox.TroubleOf(e.err); trouble == "" {
		return "", ""
	}
	return cmp.Or(journal.StorageOf(e.operation.Call), text.ProxmoxStorage(e.operation.Facts["reads"])), trouble
}

// serverPasses reports whether an operation failed for what passes by itself on a backup
// server: that is waited for, and no failure.
func serverPasses(e ending) bool {
	trouble := proxmox.TroubleOf(e.err)
	return trouble == proxmox.ServerMaintenance || trouble == proxmox.ServerAway
}

// serverFix is what a person can do about what a backup server refused.
func serverFix(storage string, trouble proxmox.ServerTrouble) []string {
	switch trouble {
	case proxmox.ServerMaintenance:
		return []string{"wait until the maintenance mode of the datastore ends (Datastore, Options on the server)"}
	case proxmox.ServerAway:
		return []string{"wait for the backup server, or check it: pvesm status --storage " + storage}
	case proxmox.ServerFull:
		return []string{"on the server: prune, then run garbage collection; it frees what was deleted more than a day ago", "or add a larger disk to the datastore"}
	case proxmox.ServerOwner:
		return questions.OwnerFix(storage)
	case proxmox.ServerDenies:
		return []string{"let the server decide what is kept: keep: server", "or give the storage's user the role DatastorePowerUser on the server"}
	case proxmox.ServerKey:
		return []string{fmt.Sprintf("put the encryption key back, from where you keep it: pvesm set %s --encryption-key FILE", storage)}
	}
	return nil
}

// keepServers remembers what backup servers have listed.
func keepServers(stored *state.Stored, seen map[string]state.Server) {
	for storage, now := range seen {
		if stored.Servers == nil {
			stored.Servers = map[string]state.Server{}
		}
		known := stored.Servers[storage]
		known.Add(now)
		stored.Servers[storage] = known
	}
}
