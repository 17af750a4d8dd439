package questions

import (
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/spec"
)

// Short reports whether a storage has no room for another archive like the guest's last
// one. What keep would drop after a success is not dropped before it: it may be the last
// good one.
func Short(q Questions, b *spec.Backup, g *spec.Guest) (refresh.Shortage, bool) {
	state := q.Have.Storages[b.Storage]
	if state.Status == nil || state.Status.Total == 0 || state.Conf.Type == "pbs" { // a backup server stores differences
		return refresh.Shortage{}, false
	}
	all := node.ArchivesOf(q.Have, b.Storage, g.VMID, g.Type)
	if len(all) == 0 {
		return refresh.Shortage{}, false
	}
	best := max(0, slices.IndexFunc(all, func(v proxmox.StorageContent) bool { return node.WholenessOf(q.Have, v) == node.Whole })) // the one to come back from
	s := refresh.Shortage{Guest: g.Ref.Name, Last: all[best].Size}
	for i, v := range slices.Backward(all) {
		if i != best && !v.Protected {
			s.Older = append(s.Older, v)
		}
	}
	return s, state.Status.Avail < s.Last
}
