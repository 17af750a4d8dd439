package refresh

import (
	"context"
	"slices"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

// A testLook reads what restore tests need.
type testRead struct{ *Reader }

// here are the restore tests in the scope that are this node's.
func (l testRead) here() (all []*spec.Test) {
	for _, t := range l.want.Tests {
		if l.Have.InScope(t.Ref) && (t.Node == "" || t.Node == l.node) {
			all = append(all, t)
		}
	}
	return all
}

// storages are where the backups of tested guests are, and where test guests are made.
func (l testRead) storages(add func(id string)) {
	for _, t := range l.here() {
		add(t.Storage)
		for _, name := range l.want.TestGuests(t) {
			if g := l.want.Guest(name); g != nil {
				for _, id := range node.TestSources(l.want, t, g) {
					add(id)
				}
			}
		}
	}
}

// look reads the guests in the ranges of restore tests with their snapshots, which must be certain before one is
// deleted. Where a test is due, it also reads what is in the archives that it would restore, and what the node has left.
func (l testRead) look(ctx context.Context) error {
	g, gctx := NewReads(ctx)
	for _, t := range l.here() {
		runs := node.TestRuns(l.Have, t)
		for _, vmid := range node.InTestRange(l.Have, t) {
			l.guest(gctx, g, vmid, runs)
		}
	}
	if err := g.Wait(); err != nil { // what is due depends on which tests are over
		return err
	}
	if l.goesOn() { // the next one is chosen when it has ended
		return nil
	}
	g, gctx = NewReads(ctx)
	o, asked := opener(l), false
	for _, t := range l.here() {
		first := node.ToTest(l.Have, node.DueTests(l.want, l.Have, t))
		for _, name := range first {
			guest := l.want.Guest(name)
			g.Go(func() error {
				for _, id := range node.TestSources(l.want, t, guest) {
					if err := o.openSource(gctx, guest, spec.Source{Newest: id}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		asked = asked || len(first) > 0
	}
	if err := g.Wait(); err != nil || !asked {
		return err
	}
	return l.room(ctx)
}

// goesOn reports whether a test guest is there that a test goes on with. One whose operation is open may be found to be over in this pass.
func (l testRead) goesOn() bool {
	return slices.ContainsFunc(l.here(), func(t *spec.Test) bool {
		return slices.ContainsFunc(node.TestRuns(l.Have, t), func(run *journal.TestRun) bool { return !run.Open() })
	})
}

// guest reads one guest in the range of a restore test, and the list of its snapshots where it may be deleted.
func (l testRead) guest(ctx context.Context, g *reads, vmid proxmox.VMID, runs []*journal.TestRun) {
	state := l.Have.Guests[vmid]
	if state == nil || state.Err != nil || state.Config != nil && state.Snapshots != nil {
		return
	}
	touched := slices.ContainsFunc(runs, func(run *journal.TestRun) bool { return run.VMID == vmid && node.TouchesTest(run, state) })
	g.Go(func() error {
		config, err := l.View.GuestConfig(ctx, l.node, vmid)
		var list *proxmox.SnapshotList
		if err == nil && !touched {
			list = &proxmox.SnapshotList{}
			*list, err = l.View.Snapshots(ctx, l.node, vmid)
		}
		return l.keep(err, &state.Err, func() { state.Config, state.Snapshots = &config, list })
	})
}

// room reads which bridges the node has and how much memory is free: exactly where the list of the cluster, which is some
// seconds old and counts what could be freed as used, does not show that there is twice as much as any of the guests takes.
func (l testRead) room(ctx context.Context) error {
	if l.Have.Bridges == nil {
		if l.facts != nil && l.facts.bridges != nil {
			l.Have.Bridges = l.facts.bridges
		} else if err := l.readBridges(ctx); err != nil {
			return err
		}
	}
	takes := l.Have.RAM / 20
	for _, in := range l.Have.Inside {
		takes = max(takes, proxmox.Size(in.Config.MemoryMiB())*proxmox.MiB)
	}
	if free := l.Have.RAM - l.Have.RAMUsed; l.Have.RAMUsed > 0 && free > 2*takes+l.Have.RAM/20 {
		l.Have.FreeRAM = free
		return nil
	}
	status, err := l.View.NodeStatus(ctx, l.node)
	var unknown error
	return l.keep(err, &unknown, func() { l.Have.FreeRAM = max(status.Memory.Avail, status.Memory.Total-status.Memory.Used) })
}
