package questions

import (
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// Lacks says which privilege of an action's request the token lacks, if any: PVE would refuse it.
func Lacks(q Questions, a *plan.Action) *plan.Blocker {
	if a.Call == nil || a.Facts[journal.FactTest] != "" { // restore tests have a token of their own
		return nil
	}
	needs := a.Call.Needs()
	if inside, ok := q.Have.Inside[a.Call.Params["ostemplate"]+a.Call.Params["archive"]]; ok {
		needs = append(needs, insideNeeds(inside.Config.Raw, a.Call.Params)...)
	}
	for _, need := range needs {
		if !has(q, need) {
			return Missing(q, need.Path, need.AnyOf[0])
		}
	}
	return nil
}

// insideNeeds are those of what an archive brings and the request leaves: bridges, and mapped
// devices of the host. PVE checks them in the task.
func insideNeeds(raw, params map[string]string) (needs []proxmox.Need) {
	for _, key := range text.Keys(raw) {
		if params[key] != "" {
			continue
		}
		if path := proxmox.BridgePath(raw[key]); strings.HasPrefix(key, "net") && path != "" {
			needs = append(needs, proxmox.Need{Path: path, AnyOf: []string{"SDN.Use"}})
		}
		if path := proxmox.MappingPath(key, raw[key]); path != "" {
			needs = append(needs, proxmox.Need{Path: path, AnyOf: []string{"Mapping.Use"}})
		}
	}
	return needs
}

// HasOnBridge reports whether the token may use a bridge, whose path is given, in some zone.
func HasOnBridge(q Questions, path string) bool {
	return has(q, proxmox.Need{Path: path, AnyOf: []string{"SDN.Use"}})
}

// has reports whether the token has what a call needs. In a pool a guest may have more than its path says; and a bridge
// may be of another zone than the one of plain bridges.
func has(q Questions, need proxmox.Need) bool {
	for _, privilege := range need.AnyOf {
		if q.Have.Permissions.Has(need.Path, privilege) {
			return true
		}
		for path := range q.Have.Permissions {
			pool := strings.HasPrefix(need.Path, "/vms/") && strings.HasPrefix(path, "/pool/")
			zone := strings.HasPrefix(need.Path, "/sdn/") && strings.HasPrefix(path, "/sdn/zones/") && !strings.HasPrefix(path, "/sdn/zones/localnetwork/")
			if (pool || zone) && q.Have.Permissions.Has(path, privilege) {
				return true
			}
		}
	}
	return false
}
