package questions

import (
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
)

// TaskName is how people call a task: "vzdump 111".
func TaskName(t *proxmox.Task) string {
	if t.ID == "" && t.Type == "vzdump" { // PVE names none where it backs up several
		return "vzdump of several guests"
	}
	return strings.TrimSpace(t.Type + " " + t.ID)
}

// TakenBy is the running task that takes the place of a limit: PVE's one vzdump per node, or
// a guest that is created, of which PVE does not say on which storage.
func TakenBy(have *node.Observed, limit string) *proxmox.Task {
	types := []string{"vzdump"}
	if strings.HasPrefix(limit, "create ") {
		types = proxmox.TasksOf("restore", "create", "clone")
	} else if limit != "vzdump" {
		return nil
	}
	for _, t := range have.TasksOf(types...) {
		ours := have.Memory.Tasks[t.UPID] && have.TokenID == t.UPID.User
		if limit == "vzdump" || !ours && have.Now.Sub(t.StartTime) < StorageLocked {
			return &t
		}
	}
	return nil
}

// StorageLocked is how long a task may hold its place in the limit of a storage. PVE
// locks a storage while it allocates volumes, at the begin of a task, not while it
// fills them (PVE/Storage.pm, vdisk_alloc); beside others that do the same, one of
// many gives up on that lock. A quarter of an hour is more than any allocation takes:
// what is older only unpacks, or hangs, and keeps nobody else from a storage.
const StorageLocked = 15 * time.Minute
