package questions

import (
	"fmt"
	"strings"

	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

// ServerFacts tell what a backup of a guest to a Proxmox Backup Server was sent with: how the
// storage logged in, and whether it listed a backup of the guest. After a refusal they show
// whether another try could end otherwise.
func ServerFacts(q Questions, storage string, g *spec.Guest) map[string]string {
	state := q.Have.Storages[storage]
	if !state.IsServer() {
		return nil
	}
	raw := state.Conf.Raw
	listed := "no"
	if len(node.ArchivesOf(q.Have, storage, g.VMID, g.Type)) > 0 {
		listed = "yes"
	}
	return map[string]string{"login": strings.Join([]string{raw["username"], raw["server"], raw["datastore"], raw["namespace"]}, " "), "listed": listed}
}

// ServerOwnedBy says why a backup of a guest to a Proxmox Backup Server is not sent: the
// group of its backups belongs to another user there, and each would fail like the last one.
// "" once the storage logs in otherwise, lists backups of the guest that it did not list,
// or somebody asks for it by name.
func ServerOwnedBy(q Questions, b *spec.Backup, g *spec.Guest) string {
	last, known := q.Have.Memory.Unowned[journal.UnownedKey(b.Storage, fmt.Sprintf("lxc/%d", g.VMID))]
	if !known {
		return ""
	}
	now, age := ServerFacts(q, b.Storage, g), q.Have.Now.Sub(last.Time)
	switch {
	case now == nil, last.Login != now["login"], last.Listed == "no" && now["listed"] == "yes":
		return ""
	case age > RefusedFor, q.Have.Named[b.Ref] && age >= askedAgain:
		return ""
	}
	return last.Text
}

// OwnerFix is what a person can do where backups belong to another user of a backup server.
func OwnerFix(storage string) []string {
	return []string{
		fmt.Sprintf("give storage %s the user or API token that owns the backup group: pvesm set %s --username USER@pbs!TOKEN --password SECRET", storage, storage),
		"or change the owner on the server: proxmox-backup-client change-owner GROUP USER@pbs!TOKEN",
	}
}
