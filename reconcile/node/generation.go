package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// A Generation is one life of an object: its data began at Born, on Host. Two hosts of one
// name (the default owner) with one VMID can back up to one storage; then the archives of
// two generations are there under one name.
type Generation struct {
	Object, Owner string
	Host          string // of origin; "" is this cluster, or not known
	Born          time.Time
}

// GenerationOf reads the generation from an archive's marker; false where it has none of ours.
// Within a cluster guests move from node to node, so its hosts are one.
func GenerationOf(o *Observed, v proxmox.StorageContent) (Generation, bool) {
	m, ok := o.MarkerOf(v.Notes)
	if !ok || m.Owner != o.Owner || m.Born.IsZero() {
		return Generation{}, false
	}
	g := Generation{Object: text.OrElse(m.Facts["guest"], m.Object), Owner: m.Owner, Host: m.Facts["host"], Born: m.Born.UTC()}
	if slices.Contains(o.Nodes, g.Host) {
		g.Host = ""
	}
	return g, true
}

// A Rivalry is what the archives of one object on one storage show when they are of two
// guests: the newest archive of each generation, the newest first.
type Rivalry struct {
	storage     string
	vmid        proxmox.VMID
	kind        proxmox.GuestType
	generations []Generation
	newest      []proxmox.StorageContent
}

// Rivals looks for two guests under one name: their archives alternate in time. One guest
// that is made again has archives of the old generation, then of the new one, and never of
// the old one again. nil where there is one guest.
func Rivals(o *Observed, storage string, vmid proxmox.VMID, t proxmox.GuestType, mine func(marker.Marker) bool) *Rivalry {
	if len(o.ByGuest[vmid]) < 3 { // one, another and the first again
		return nil
	}
	r := &Rivalry{storage: storage, vmid: vmid, kind: t}
	alternate, last := false, Generation{}
	for _, v := range allArchivesOf(o, storage, vmid, t) { // newest first
		g, ok := GenerationOf(o, v)
		m, _ := o.MarkerOf(v.Notes)
		if !ok || !mine(m) {
			continue
		}
		known := slices.Contains(r.generations, g)
		alternate = alternate || known && g != last
		if !known {
			r.generations, r.newest = append(r.generations, g), append(r.newest, v)
		}
		last = g
	}
	if !alternate {
		return nil
	}
	return r
}

// GuestRivals looks for two guests under the name of a declared one, among the archives of
// a VMID on a storage.
func GuestRivals(o *Observed, guest *spec.Guest, storage string, vmid proxmox.VMID) *Rivalry {
	return Rivals(o, storage, vmid, guest.Type, func(m marker.Marker) bool {
		name := m.Facts["guest"]
		return name != "" && (vmid != guest.VMID || name == guest.Ref.Name || guest.Was != "" && name == guest.Was)
	})
}

// Decided is the generation that the YAML decides on: `from` names an archive of it.
func Decided(o *Observed, r *Rivalry, guest *spec.Guest) (Generation, bool) {
	for _, source := range guest.From {
		for _, v := range allArchivesOf(o, r.storage, r.vmid, r.kind) {
			if source.Archive == "" || o.File(source.Archive) != o.File(v.VolID) {
				continue
			}
			if g, ok := GenerationOf(o, v); ok && slices.Contains(r.generations, g) {
				return g, true
			}
		}
	}
	return Generation{}, false
}

// Blocker names the two guests and the line that decides between them. A golden image has no
// such line.
func RivalBlocker(o *Observed, r *Rivalry, line bool) *plan.Blocker {
	var who, fix []string
	for i, g := range r.generations {
		host := g.Host
		if m, _ := o.MarkerOf(r.newest[i].Notes); host == "" {
			host = text.OrElse(m.Facts["host"], "not known")
		}
		created := o.Date(g.Born)
		who = append(who, fmt.Sprintf("%s of owner %s, host %s, created %s (newest archive %s)", g.Object, g.Owner, host, created, o.Date(r.newest[i].CTime)))
		if line {
			fix = append(fix, fmt.Sprintf("if the one created %s is meant: from: {archive: %s}", created, r.newest[i].VolID))
		}
	}
	fix = append(fix, fmt.Sprintf("give the other host a name of its own (agent.yaml: owner: NAME) or another storage, and move its archives away from %s", r.storage))
	return &plan.Blocker{Reason: fmt.Sprintf("the archives of %d on %s alternate, so they are of %d guests: %s", r.vmid, r.storage, len(who), text.List(who)), Fix: fix}
}
