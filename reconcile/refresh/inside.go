package refresh

import (
	"context"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

// insideAtMost bounds how many archives of one guest are opened to find its newest: of
// those that are proven whole, and of the others.
const insideAtMost = 8

// lookInside reads the configs inside the archives from which the missing guests
// could come: newest first, until one is the object's own or the bound is reached. It also
// reads those that restores of ours read now: they tell what the guests will be.
func (l *Reader) readInside(ctx context.Context, missing map[string]proxmox.VMID) error {
	o := opener{l}
	g, ctx := NewReads(ctx)
	for _, guest := range inScope(l) {
		if _, ok := missing[guest.Ref.Name]; !ok {
			continue
		}
		g.Go(func() error {
			for _, source := range guest.From {
				if err := o.openSource(ctx, guest, source); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, f := range l.Have.Memory.Flights { // whose guest is there already, with nothing in its config that can be relied on
		if volid := f.Facts["reads"]; volid != "" && l.Have.InScope(f.Object) {
			g.Go(func() error { _, err := o.config(ctx, volid); return err })
		}
	}
	for name := range missing {
		if golden := l.want.Golden[name]; golden != nil {
			if a := node.NewestGolden(l.Have, golden); a != nil {
				g.Go(func() error { _, err := o.config(ctx, a.VolID); return err })
			}
		}
	}
	return g.Wait()
}

// An opener reads what is inside archives.
type opener struct{ *Reader }

// config reads the config inside an archive, once.
func (o opener) config(ctx context.Context, volid string) (node.Inside, error) {
	o.mu.Lock()
	inside, known := o.Have.Inside[volid]
	o.mu.Unlock()
	if known {
		return inside, nil
	}
	config, err := o.View.ArchiveConfig(ctx, o.node, volid)
	err = o.keep(err, &inside.Err, func() { inside.Config = config })
	o.mu.Lock()
	o.Have.Inside[volid] = inside
	o.mu.Unlock()
	return inside, err
}

// openSource opens the archives that a source of a guest means, as many as it takes.
func (o opener) openSource(ctx context.Context, guest *spec.Guest, source spec.Source) error {
	opened := map[bool]int{} // proven ones are sought behind any number of others
	for _, volid := range sourceArchives(o.want, o.Have, guest, source) {
		v := o.Have.Volume(volid)
		proven := v != nil && node.WholenessOf(o.Have, *v) == node.Whole
		if opened[proven]++; opened[proven] > insideAtMost {
			continue
		}
		inside, err := o.config(ctx, volid)
		if err != nil {
			return err
		}
		if source.Newest == "" || inside.Err != nil && node.KeepsOlder(proven, inside.Err) {
			break
		}
		if proven && inside.Err == nil && node.OwnArchive(o.Have, guest, source, inside.Config) {
			break // the newest proven one: older ones do not matter
		}
	}
	return nil
}

// sourceArchives are the archives that a source of a guest means, the newest first.
func sourceArchives(want *spec.Desired, have *node.Observed, guest *spec.Guest, source spec.Source) (volids []string) {
	switch {
	case source.Archive != "":
		return []string{source.Archive}
	case source.Golden != "":
		if golden := want.Golden[source.Golden]; golden != nil {
			if a := node.Published(have, golden); a != nil {
				return []string{a.VolID}
			}
		}
	case source.Newest != "":
		for _, v := range node.ArchivesOf(have, source.Newest, node.SourceVMID(guest, source), guest.Type) {
			volids = append(volids, v.VolID)
		}
	}
	return volids
}
