package node

import (
	"slices"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
)

func (o *Observed) Clock(t time.Time) string { return t.In(o.Now.Location()).Format("15:04") }

// TasksOf returns the running tasks of a type.
func (o *Observed) TasksOf(types ...string) []proxmox.Task {
	var found []proxmox.Task
	for _, t := range o.Tasks {
		if t.Running() && slices.Contains(types, t.Type) {
			found = append(found, t)
		}
	}
	return found
}
