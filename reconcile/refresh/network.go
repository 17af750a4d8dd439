package refresh

import (
	"context"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
)

// lookNetwork reads the bridges of the node where a declared one is not known to be there: no
// running guest uses it. What PVE does not tell blocks nothing.
func (l *Reader) readNetwork(ctx context.Context, g *reads) {
	inUse := node.BridgesInUse(l.Have)
	ask := false
	look := func(nets map[int]proxmox.Net) {
		for _, net := range nets {
			ask = ask || net["bridge"] != "" && !inUse[net["bridge"]]
		}
	}
	for _, g := range l.want.AllGuests() {
		look(g.Config.Nets)
	}
	for _, golden := range l.want.Golden {
		look(golden.Config.Nets)
	}
	switch {
	case !ask:
	case l.facts != nil && l.facts.bridges != nil:
		l.Have.Bridges = l.facts.bridges
	default:
		g.Go(func() error { return l.readBridges(ctx) })
	}
}

// readBridges asks once and keeps the answer among the facts.
func (l *Reader) readBridges(ctx context.Context) error {
	bridges, err := l.View.Bridges(ctx, l.node)
	if err != nil {
		if proxmox.IsUnauthorized(err) || proxmox.IsNotDelivered(err) || !OfOneThing(err) {
			return err
		}
		bridges = []string{} // nothing is known
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Have.Bridges = bridges
	if l.facts != nil {
		l.facts.bridges = bridges
	}
	return nil
}
