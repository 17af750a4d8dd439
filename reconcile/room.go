package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// A shortage is a guest for whose next archive a storage has no room.
type shortage struct {
	guest string
	last  proxmox.Size     // of the archive to come back from
	older []proxmox.Volume // what a person could delete, the oldest first
}

// short reports whether a storage has no room for another archive like the guest's last
// one. What keep would drop after a success is not dropped before it: it may be the last
// good one.
func (p *planner) short(b *spec.Backup, g *spec.Guest) (shortage, bool) {
	state := p.have.Storages[b.Storage]
	if state.Status == nil || state.Status.Total == 0 || state.Conf.Type == "pbs" { // a backup server stores differences
		return shortage{}, false
	}
	all := p.have.archivesOf(b.Storage, g.VMID)
	if len(all) == 0 {
		return shortage{}, false
	}
	best := max(0, slices.IndexFunc(all, func(v proxmox.Volume) bool { return p.have.wholeness(v) == whole })) // the one to come back from
	s := shortage{guest: g.Ref.Name, last: all[best].Size}
	for i, v := range slices.Backward(all) {
		if i != best && !v.Protected {
			s.older = append(s.older, v)
		}
	}
	return s, state.Status.Avail < s.last
}

// holdShort says once for all guests that a storage has no room for their archives, and
// which ones a person could delete.
func (p *planner) holdShort(b *spec.Backup) {
	if len(p.shortages) == 0 {
		return
	}
	var missing proxmox.Size
	var sizes []string
	var older []proxmox.Volume
	for _, s := range p.shortages {
		missing += s.last
		sizes = append(sizes, fmt.Sprintf("%s %s", s.guest, s.last.Human()))
		older = append(older, s.older...)
	}
	last := fmt.Sprintf("the last archives have more (%s)", strings.Join(sizes, ", "))
	if len(p.shortages) == 1 {
		last = fmt.Sprintf("the last archive of %s has %s", p.shortages[0].guest, p.shortages[0].last.Human())
	}
	avail := p.have.Storages[b.Storage].Status.Avail
	cure := []string{"make room, or plug in a larger disk"}
	slices.SortStableFunc(older, func(a, b proxmox.Volume) int { return cmp.Or(a.CTime.Compare(b.CTime), cmp.Compare(a.VolID, b.VolID)) })
	var could []string
	for _, v := range older[:min(len(older), 3)] {
		could = append(could, fmt.Sprintf("pvesm free %s (%s, %s)", v.VolID, p.have.date(v.CTime), v.Size.Human()))
	}
	if len(could) > 0 {
		cure = append(cure, "a person could delete: "+strings.Join(could, ", "))
	}
	p.hold(&b.Object, "storage", fmt.Sprintf("%s has %s left, and %s: %s more must be free", p.where(b.Storage), avail.Human(), last, (missing-avail).Human()), cure...)
}
