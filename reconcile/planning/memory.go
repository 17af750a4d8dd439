package planning

import (
	"fmt"
	"slices"

	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// memoryBelowUse keeps a running guest from being killed: PVE answers 200 to a limit
// below what is in use, and the whole guest is OOM-killed within seconds. What is in use
// only the kernel knows: PVE's own figure leaves out shared memory and file pages that
// cannot be dropped. Where the root helper does not tell it, a limit is lowered in a
// restart alone.
func memoryBelowUse(p *planner, g *spec.Guest, state *node.GuestState, d *questions.Difference) bool {
	for _, key := range []string{"memory", "swap"} {
		_, set := d.Set[key]
		if !set && !slices.Contains(d.Drop, key) || !node.Lowers(g.Config, state.Config, key) {
			continue
		}
		why := limitTooLow(key, node.Limit(g.Config.Values[key]), state)
		if why == "" {
			continue
		}
		change := fmt.Sprintf("%s %s -> %d MiB", key, questions.People(key, state.Config.Raw[key]), node.Limit(g.Config.Values[key]))
		if g.Restart == spec.RestartAuto && g.State == spec.Running {
			restart(p, g, state, d.Fields, fmt.Sprintf("%s: %s: shut down, change", change, why))
			return true
		}
		p.block(&g.Object, "config."+key, fmt.Sprintf("%s: %s and would be killed", change, why), fmt.Sprintf("pct shutdown %d", g.VMID), "or restart: auto")
		delete(d.Set, key)
		d.Drop = slices.DeleteFunc(d.Drop, func(k string) bool { return k == key })
		d.Fields = slices.DeleteFunc(d.Fields, func(f plan.Field) bool { return f.Name == key })
	}
	return false
}

// limitTooLow says why a running guest cannot be given a limit, in MiB; "" when it can.
// A tenth is left over for what it takes until the limit is in force.
func limitTooLow(key string, limit int64, state *node.GuestState) string {
	if state.Memory == nil {
		return "what it holds is not known without the root helper; it may hold more"
	}
	used := state.Memory.Pinned()
	if key == "swap" {
		used = state.Memory.Swap
	}
	used = (used + 1<<20 - 1) >> 20
	if float64(limit) >= 1.1*float64(used) {
		return ""
	}
	shmem := state.Memory.Shmem >> 20
	switch {
	case key == "swap":
		return fmt.Sprintf("it has %d MiB in swap", used)
	case shmem > 0:
		return fmt.Sprintf("it holds %d MiB that cannot be freed (%d MiB of shared memory)", used, shmem)
	}
	return fmt.Sprintf("it holds %d MiB that cannot be freed", used)
}
