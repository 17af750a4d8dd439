package questions

import (
	"strconv"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
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
