package questions

import (
	"fmt"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// DespiteNow is how `despite` is written. The time itself stands in no plan: a plan stays
// the same while it is blocked.
const DespiteNow = "despite: TIME, with the time that this prints: date -u +%FT%TZ"

// ServerAway says, in words of its own, why the content of a Proxmox Backup Server cannot be
// known now; nil where it can, or the storage is of another type. It passes by itself.
func ServerAway(q Questions, storage string) *plan.Blocker {
	state := q.Have.Storages[storage]
	if !state.IsServer() || state.Conf.Disabled {
		return nil
	}
	away := func(format string, args ...any) *plan.Blocker {
		return &plan.Blocker{Reason: fmt.Sprintf(format, args...), Fix: []string{"wait for the backup server, or check it: pvesm status --storage " + storage}, Passes: true}
	}
	switch trouble := proxmox.TroubleOf(state.Err); {
	case state.Status == nil || !state.Status.Active:
		return away("storage %s is not active: its backup server did not answer within 7 s, its datastore is offline, or its user may not see it", storage)
	case state.Err == nil:
		return nil
	case trouble == proxmox.ServerMaintenance:
		return away("the datastore of storage %s is in maintenance: %v", storage, state.Err)
	case trouble == proxmox.ServerAway, proxmox.IsStuck(state.Err):
		return away("the backup server of storage %s does not list its backups in time: %v", storage, state.Err)
	}
	return nil
}

// ServerHides says why the list of a Proxmox Backup Server does not prove that it has no
// newer backup of a guest, or nil. Such a storage lists only what its own user or API token
// has backed up, in its namespace; added again with another one it lists nothing, and that
// is no error. So a list counts only where it shows what was seen before.
func ServerHides(q Questions, storage string, g *spec.Guest) *plan.Blocker {
	state := q.Have.Storages[storage]
	if !state.IsServer() || !state.Read || state.Err != nil {
		return nil
	}
	known := q.Have.Stored.Servers[storage]
	last := known.Guests[g.Ref.Name]
	if was := known.Guests[g.Was]; g.Was != "" && was.After(last) {
		last = was
	}
	if all := node.ArchivesOf(q.Have, storage, g.VMID, g.Type); !last.IsZero() && (len(all) == 0 || all[0].CTime.Before(last)) {
		return hidden(state, fmt.Sprintf("the backup of %s of %s is no longer listed on %s", g.Ref.Name, q.Have.Date(last), storage))
	}
	if len(node.ManagedArchives(q.Have, storage)) > 0 {
		return nil
	}
	if !known.Newest.IsZero() {
		return hidden(state, fmt.Sprintf("storage %s lists no backup of this agent, and had one of %s", storage, q.Have.Date(known.Newest)))
	}
	if name, born := backedUpBefore(q, storage); name != "" {
		return hidden(state, fmt.Sprintf("storage %s lists no backup of this agent, although %s is managed since %s and is backed up there", storage, name, q.Have.Date(born)))
	}
	return nil
}

// hidden explains who sees what on a backup server. last is what ends it without them.
func hidden(state *node.StorageState, reason string, last ...string) *plan.Blocker {
	raw := state.Conf.Raw
	seen := "a storage lists only what its own user or API token has backed up"
	if user := raw["username"]; user != "" {
		seen += ", here " + user
	}
	if space := raw["namespace"]; space != "" {
		seen += ", in the namespace " + space
	}
	if len(last) == 0 {
		last = []string{"really go on without them: " + DespiteNow}
	}
	return &plan.Blocker{Reason: reason + "; " + seen, Fix: append([]string{
		fmt.Sprintf("give the storage the user, namespace and datastore that made the backups: pvesm set %s --username USER@pbs!TOKEN --password SECRET", state.Conf.ID),
		"or change the owner of the backup groups on the server: proxmox-backup-client change-owner GROUP USER@pbs!TOKEN",
	}, last...)}
}

// backedUpBefore names a guest that is managed for so long that a backup of it must be on a
// storage: at least two were due. It is what is known where the state was lost.
func backedUpBefore(q Questions, storage string) (name string, born time.Time) {
	for _, id := range text.Keys(q.Want.Backups) {
		b := q.Want.Backups[id]
		if b.Storage != storage {
			continue
		}
		for _, name := range q.Want.BackupGuests(b) {
			state := q.Have.Guests[q.Want.Guest(name).VMID]
			if state == nil || state.Config == nil {
				continue
			}
			m, ok := marker.OneMarker(state.Config.Description())
			if ok && node.Owns(q.Have, m, &q.Want.Guest(name).Object, state.VMID) && m.Born.Before(twoDue(b, q.Have.Now)) {
				return name, m.Born
			}
		}
	}
	return "", time.Time{}
}

// twoDue is the time since which two backups of an object were due.
func twoDue(b *spec.Backup, now time.Time) time.Time {
	if b.At != nil {
		return b.At.Last(b.At.Last(now).Add(-time.Second))
	}
	return now.Add(-max(2*b.Every, 24*time.Hour))
}

// ServerNote describes a storage of a Proxmox Backup Server: what of it is seen, who decides
// what is kept, and whether what is backed up can be read without a key. "" for others.
func ServerNote(q Questions, b *spec.Backup) string {
	state := q.Have.Storages[b.Storage]
	if !state.IsServer() {
		return ""
	}
	raw := state.Conf.Raw
	at := "datastore " + raw["datastore"]
	if space := raw["namespace"]; space != "" {
		at += ", namespace " + space
	}
	key, has := state.Conf.EncryptionKey()
	secret := "not encrypted"
	if has {
		secret = "encrypted"
		if key != "" {
			secret += " with the key " + node.ShortKey(key)
		}
	}
	note := fmt.Sprintf("%s is a Proxmox Backup Server (%s); backups are %s", b.Storage, at, secret)
	if b.ServerKeeps {
		note += "; the server decides what is kept, nothing is deleted from here"
	}
	return note
}

// ServerRefuses says why nothing is written to a backup server now: what it refused to one
// backup it would refuse to all, and each would be a failed task.
func ServerRefuses(q Questions, storage string) *plan.Blocker {
	for _, id := range text.Keys(q.Have.Memory.Cooling) {
		f := q.Have.Memory.Cooling[id]
		if f.Storage != storage {
			continue
		}
		switch f.Trouble {
		case proxmox.ServerMaintenance:
			return &plan.Blocker{Reason: fmt.Sprintf("the datastore of storage %s is in maintenance: %s", storage, f.Text), Fix: f.Fix, Passes: true}
		case proxmox.ServerAway:
			return &plan.Blocker{Reason: fmt.Sprintf("the backup server of storage %s did not answer: %s", storage, f.Text), Fix: f.Fix, Passes: true}
		case proxmox.ServerFull:
			return &plan.Blocker{Reason: fmt.Sprintf("the datastore of storage %s is full: %s", storage, f.Text), Fix: f.Fix}
		}
	}
	return nil
}

// ServerKeeps reports whether a backup object leaves deleting to the backup server, be it
// that the YAML says so, or that the server refuses it.
func ServerKeeps(q Questions, b *spec.Backup) bool {
	refused, known := q.Have.Memory.Undeletable[b.Storage]
	age := q.Have.Now.Sub(refused)
	switch {
	case b.ServerKeeps:
		return true
	case b.Keep.IsZero() || !known || age > RefusedFor:
		return false
	}
	return !q.Have.Named[b.Ref] || age < askedAgain // somebody asks for it, and may have given the role
}

// RefusedFor is how long the refusal of a backup server to delete, or to back up, counts.
const RefusedFor = 30 * 24 * time.Hour

const askedAgain = 10 * time.Minute // so soon after a refusal nobody has given the role
