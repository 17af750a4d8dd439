package journal

import (
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// StorageOf is the storage that a call to it, or to an archive on it, names; "" for others.
func StorageOf(call *proxmox.Call) string {
	if call == nil {
		return ""
	}
	if _, volid, ok := strings.Cut(call.Path, "/content/"); ok {
		return text.ProxmoxStorage(volid)
	}
	if strings.HasSuffix(call.Path, "/vzdump") {
		return call.Params["storage"]
	}
	return ""
}

// noteDelete remembers whether a backup server lets archives be deleted.
func (m *Memory) noteDelete(a *Operation) {
	if a.Call == nil || a.Call.Method != "DELETE" || StorageOf(a.Call) == "" {
		return
	}
	switch storage := StorageOf(a.Call); {
	case a.Result == ResultOK:
		delete(m.Undeletable, storage)
	case proxmox.TroubleIn(a.text) == proxmox.ServerDenies:
		m.Undeletable[storage] = a.ended
	}
}

// Unowned is a backup that a Proxmox Backup Server refused, because the group of the guest's
// backups belongs to another user or API token of the server.
type Unowned struct {
	Time time.Time
	Text string // what the server said
	// Login is with what the storage logged in, as its facts had it, and Listed whether it listed
	// a backup of the guest then.
	Login, Listed string
}

// UnownedKey is the key of Memory.Unowned.
func UnownedKey(storage, queue string) string { return storage + " " + queue }

// noteOwner remembers whether a backup server lets a guest be backed up by this user.
func (m *Memory) noteOwner(a *Operation) {
	storage := StorageOf(a.Call)
	if a.Verb != VerbBackUp || storage == "" {
		return
	}
	switch key := UnownedKey(storage, a.Queue); {
	case a.Result == ResultOK:
		delete(m.Unowned, key)
	case proxmox.TroubleIn(a.text) == proxmox.ServerOwner:
		m.Unowned[key] = Unowned{Time: a.ended, Text: a.text, Login: a.Facts["login"], Listed: a.Facts["listed"]}
	}
}
