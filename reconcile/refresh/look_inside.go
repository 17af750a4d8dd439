package refresh

import (
	"context"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
)

// insideAtMost bounds how many archives of one guest are opened to find its newest: of
// those that are proven whole, and of the others.
const insideAtMost = 8

// lookInside reads the configs inside the archives from which the missing guests
// could come: newest first, until one is the object's own or the bound is reached.
func (l *Looker) lookInside(ctx context.Context, missing map[string]proxmox.VMID) error {
	g, ctx := NewReads(ctx)
	read := func(volid string) (node.Inside, error) {
		l.mu.Lock()
		inside, known := l.Have.Inside[volid]
		l.mu.Unlock()
		if known {
			return inside, nil
		}
		config, err := l.View.ArchiveConfig(ctx, l.node, volid)
		err = l.keep(err, &inside.Err, func() { inside.Config = config })
		l.mu.Lock()
		l.Have.Inside[volid] = inside
		l.mu.Unlock()
		return inside, err
	}
	for _, guest := range node.GuestsOf(l.want) {
		if _, ok := missing[guest.Ref.Name]; !ok {
			continue
		}
		g.Go(func() error {
			for _, source := range guest.From {
				var volids []string
				switch {
				case source.Archive != "":
					volids = []string{source.Archive}
				case source.Golden != "":
					if golden := l.want.Golden[source.Golden]; golden != nil {
						if a := node.Published(l.Have, golden); a != nil {
							volids = []string{a.VolID}
						}
					}
				case source.Newest != "":
					for _, v := range node.ArchivesOf(l.Have, source.Newest, node.SourceVMID(guest, source)) {
						volids = append(volids, v.VolID)
					}
				}
				opened := map[bool]int{} // proven ones are sought behind any number of others
				for _, volid := range volids {
					v := l.Have.Volume(volid)
					proven := v != nil && node.WholenessOf(l.Have, *v) == node.Whole
					if opened[proven]++; opened[proven] > insideAtMost {
						continue
					}
					inside, err := read(volid)
					if err != nil {
						return err
					}
					if source.Newest == "" || inside.Err != nil && node.KeepsOlder(proven, inside.Err) {
						break
					}
					if proven && inside.Err == nil && node.OwnArchive(l.Have, guest, source, inside.Config) {
						break // the newest proven one: older ones do not matter
					}
				}
			}
			return nil
		})
	}
	for name := range missing {
		if golden := l.want.Golden[name]; golden != nil {
			if a := node.NewestGolden(l.Have, golden); a != nil {
				g.Go(func() error { _, err := read(a.VolID); return err })
			}
		}
	}
	return g.Wait()
}
