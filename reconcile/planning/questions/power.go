package questions

import (
	"fmt"
	"strconv"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// Shutdown asks a guest to end, within what its startup says under down, else a minute,
// and says how long that task is waited for.
func Shutdown(q Questions, g *spec.Guest, state *node.GuestState) (call proxmox.Call, wait time.Duration) {
	within := time.Minute
	for _, startup := range []proxmox.Startup{state.Config.Startup(), g.Config.Startup} { // the declared one last
		if n, err := strconv.Atoi(startup["down"]); err == nil && n > 0 {
			within = time.Duration(n) * time.Second
		}
	}
	return Calls(q, g).Shutdown(g.VMID, within), Timeout(&g.Object, max(ShortTask, within+time.Minute))
}

// Runs reports whether a declared guest is ours and runs.
func Runs(q Questions, g *spec.Guest) bool {
	state := q.Have.Guests[g.VMID]
	return state != nil && state.Status == "running"
}

// DownForBackup says which running backup a guest is down for, or "": in mode stop, PVE shuts it down and starts it again
// (a VM at once, a container when its archive is made). A guest that was down before its backup began is none of these.
func DownForBackup(q Questions, g *spec.Guest) string {
	state := q.Have.Guests[g.VMID]
	if state == nil || state.Status == "running" {
		return ""
	}
	if flight := q.Have.Memory.FlightOn(g.VMID); flight != nil && flight.Verb == journal.VerbBackUp {
		if flight.Effect != plan.Disruptive {
			return ""
		}
		return fmt.Sprintf("%s, since %s", flight.Text, q.Have.Clock(flight.Since))
	}
	job := q.Have.Holder(g.VMID)
	if job == nil || job.Type != "vzdump" {
		return ""
	}
	down := plan.Note{Object: g.Ref, Drift: true, Text: RunStateDrift(g, state)}
	if since, seen := q.Have.Stored.Drift[plan.DriftKey(down)]; seen && since.Before(job.StartTime) {
		return ""
	}
	return fmt.Sprintf("%s, since %s, by %s", TaskName(job), q.Have.Clock(job.StartTime), job.Owner())
}

// RunStateDrift says that a guest runs that is to be stopped, or the other way round.
func RunStateDrift(g *spec.Guest, state *node.GuestState) string {
	return fmt.Sprintf("it is %s, not %s", state.Status, g.State)
}

func StartOrder(g *spec.Guest, state *node.GuestState) (int, bool) {
	if n, ok := g.Config.Startup.Order(); ok {
		return n, true
	}
	if state != nil && state.Config != nil && state.Config.Raw["startup"] != "" {
		if s, err := proxmox.ParseStartup(state.Config.Raw["startup"]); err == nil {
			return s.Order()
		}
	}
	return 0, false
}
