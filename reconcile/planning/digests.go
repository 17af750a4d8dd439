package planning

import "github.com/felhom/felhom-agent/reconcile/node"

// digests are PVE's digests of the configurations that a plan is based on, by queue.
func digests(have *node.Observed) map[string]string {
	all := map[string]string{}
	for vmid, state := range have.Guests {
		if state.Config != nil && state.Config.Digest != "" {
			all[Queue(vmid)] = state.Config.Digest
		}
	}
	return all
}
