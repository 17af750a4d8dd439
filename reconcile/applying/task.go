package applying

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// TaskOf names the type and the id of the task that a call starts.
func TaskOf(c *proxmox.Call) (kind, id string) {
	if m := plan.VmidInPath.FindStringSubmatch(c.Path); m != nil {
		id = m[1]
	}
	last, guest := path.Base(c.Path), plan.TypeInPath(c.Path)
	switch {
	case last == "lxc", last == "qemu":
		kind, id = guest.Task("create"), c.Params["vmid"]
		if c.Params["restore"] == "1" || c.Params["archive"] != "" {
			kind = guest.Task("restore")
		}
	case last == "config" && c.Method == "POST":
		kind = guest.Task("config")
	case last == "vzdump":
		kind, id = "vzdump", c.Params["vmid"]
		if strings.ContainsAny(id, ",; ") { // PVE names none where it backs up several
			id = ""
		}
	case last == "start", last == "stop", last == "shutdown", last == "reboot":
		kind = guest.Task(last)
	case last == "rollback":
		kind = guest.Task("rollback")
	case last == "snapshot":
		kind = guest.Task("snapshot")
	case last == "resize":
		kind = "resize"
	case c.Destroys():
		kind = guest.Task("destroy")
	case c.Method == "DELETE" && strings.Contains(c.Path, "/snapshot/"):
		kind = guest.Task("delsnapshot")
	case c.Method == "DELETE" && strings.Contains(c.Path, "/content/"):
		kind = "imgdel"
		_, volid, _ := strings.Cut(c.Path, "/content/")
		id = text.ProxmoxStorage(volid)
		if archive, ok := proxmox.ParseArchive(volid); ok && archive.VMID != 0 {
			id = fmt.Sprintf("%d@%s", archive.VMID, id)
		}
	}
	return kind, id
}

// Find looks for the task of an operation whose answer was lost: of the type that its call
// starts, on its guest, by our token, not among those that were there before, and no
// other act's. Of several it is the first: a later one is somebody else's.
func Find(j *journal.Journal, operation *journal.Operation, have *node.Observed) (proxmox.UPID, bool) {
	kind, id := TaskOf(operation.Call)
	var first *proxmox.Task
	for i := range have.Tasks {
		t := &have.Tasks[i]
		if t.Type != kind || t.ID != id {
			continue
		}
		if t.UPID.User == tokenOf(operation, have) && !slices.Contains(operation.Before, t.UPID.String()) && !t.StartTime.Before(operation.Time.Add(-2*time.Second).Truncate(time.Second)) &&
			(first == nil || t.StartTime.Before(first.StartTime)) && !j.Claims(t.UPID) {
			first = t
		}
	}
	if first == nil {
		return proxmox.UPID{}, false
	}
	return first.UPID, true
}
