package cluster

import (
	"slices"

	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// FaultFor is the first one that hits what happens now.
func (cl *Cluster) FaultFor(what string) *world.Fault {
	for _, f := range cl.World.Faults {
		if !world.Glob(f.Match, what) || f.Effect == "stopping" && !stopping(cl.Running) {
			continue
		}
		f.Seen++
		times := f.Times
		if times == 0 {
			times = 1
		}
		if f.Seen <= f.Skip || times > 0 && f.Hit >= times {
			continue
		}
		f.Hit++
		return f
	}
	return nil
}

// stopping reports whether a container is being stopped.
func stopping(running []*world.Task) bool {
	return slices.ContainsFunc(running, func(t *world.Task) bool {
		return t.Type == "vzstop" || t.Type == "vzshutdown" || t.Type == "vzreboot"
	})
}
