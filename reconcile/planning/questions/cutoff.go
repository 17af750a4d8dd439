package questions

import (
	"slices"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
)

// OurCreation is when this agent began the creation of a guest that did not end well, by its
// journal or by PVE's list of tasks.
func OurCreation(q Questions, vmid proxmox.VMID) (begun time.Time, ours bool) {
	if begun, ours = q.Have.Memory.Unmade[vmid]; ours {
		return begun, true
	}
	i := slices.IndexFunc(q.Have.Tasks, func(t proxmox.Task) bool {
		return slices.Contains([]string{"restore", "create"}, proxmox.TaskAct(t.Type)) && t.ID == vmid.String() && !t.Running() && !t.OK() && t.Owner() == q.Have.TokenID
	})
	if i < 0 {
		return time.Time{}, false
	}
	return q.Have.Tasks[i].StartTime, true
}
