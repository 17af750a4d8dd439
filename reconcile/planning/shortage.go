package planning

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/spec"
)

// blockShort says once for all guests that a storage has no room for their archives, and
// which ones a person could delete.
func blockShort(p *planner, b *spec.Backup, shortages []refresh.Shortage) {
	if len(shortages) == 0 {
		return
	}
	var missing proxmox.Size
	var sizes []string
	var older []proxmox.StorageContent
	for _, s := range shortages {
		missing += s.Last
		sizes = append(sizes, fmt.Sprintf("%s %s", s.Guest, s.Last.Human()))
		older = append(older, s.Older...)
	}
	last := fmt.Sprintf("the last archives have more (%s)", strings.Join(sizes, ", "))
	if len(shortages) == 1 {
		last = fmt.Sprintf("the last archive of %s has %s", shortages[0].Guest, shortages[0].Last.Human())
	}
	avail := p.Have.Storages[b.Storage].Status.Avail
	fix := []string{"make room, or connect a larger disk"}
	slices.SortStableFunc(older, func(a, b proxmox.StorageContent) int {
		return cmp.Or(a.CTime.Compare(b.CTime), cmp.Compare(a.VolID, b.VolID))
	})
	var could []string
	for _, v := range older[:min(len(older), 3)] {
		could = append(could, fmt.Sprintf("pvesm free %s (%s, %s)", v.VolID, p.Have.Date(v.CTime), v.Size.Human()))
	}
	if len(could) > 0 {
		fix = append(fix, "you could delete: "+strings.Join(could, ", "))
	}
	p.block(&b.Object, "storage", fmt.Sprintf("%s has %s left, and %s: %s more must be free", questions.Where(p.Questions, b.Storage), avail.Human(), last, (missing-avail).Human()), fix...)
}
