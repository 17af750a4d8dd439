package applying

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
)

// yields says for whom a backup waits that was about to be sent: another agent with the
// same token, whose task is in the list now and was not when this pass began. Two agents
// that begin in the same second, or that are due by the same schedule, plan the same
// backup; PVE queues both vzdumps, and the second one makes a second archive. So each waits
// for a random time before it reads the list again and sends: the first task is the claim.
// What remains is two requests within the time that PVE takes to list a task. Other actions
// need no claim, since PVE refuses the second one.
func (s *sender) yields(ctx context.Context, action *plan.Action, have *node.Observed) (why string, err error) {
	if s.O.Stagger <= 0 || action.Call == nil || !strings.HasSuffix(action.Call.Path, "/vzdump") {
		return "", nil
	}
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-time.After(rand.N(s.O.Stagger)):
	}
	tasks, _, err := s.O.Client.Read().Tasks(ctx, s.O.Node, proxmox.TaskFilter{Source: "all", Limit: 200})
	if err != nil {
		return "", err
	}
	now := *have
	now.Tasks, now.Memory.Tasks = tasks, map[proxmox.UPID]bool{}
	for i := range tasks { // those of this pass too
		now.Memory.Tasks[tasks[i].UPID] = s.O.Journal.Claims(tasks[i].UPID)
	}
	if t := now.OtherAgent(); t != nil {
		return otherAgent(t, &now), nil
	}
	return "", nil
}
