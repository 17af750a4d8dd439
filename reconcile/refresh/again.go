package refresh

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// A PartReader reads a part of the objects anew, on top of an earlier look.
type PartReader struct{ *Reader }

// Read reads the objects of a part, and takes the rest from the earlier look: what an operation of ours has touched, and
// what is about to be acted upon. So the end of an operation costs as many requests on a node of a thousand guests as on
// one of ten. It reads the list of tasks, the states of the storages and the host anew (its disks where a mount is in the
// part, or something else is mounted now); of the guests of the part their state, configuration and snapshots; and what
// their creation needs. ok is false where the list of tasks shows that somebody else has been at work, or anything else is
// not as it was: then all has to be read.
//
// A second call of the same reader reads only what the part has more.
func (l PartReader) Read(ctx context.Context, part map[spec.Ref]bool) (ok bool, err error) {
	if l.Started.IsZero() {
		l.Started = time.Now()
	}
	want := l.want
	defer func() {
		if !ok {
			l.want, l.part = want, nil
		}
	}()
	l.want, l.listed, l.part = l.Earlier.Want, map[string]bool{}, part
	for _, s := range l.want.Snapshots {
		if g := l.want.Guest(s.Guest); g != nil && part[g.Ref] {
			part[s.Ref] = true
		}
	}
	l.Have = l.source.observed(l.want)
	carry(l.Have, l.Earlier.Last)
	if ok, err = l.readChanges(ctx, part); err != nil || !ok {
		return ok, err
	}
	l.Have.Scope = part
	if l.anyMissing(part) {
		l.forgetUndeclared()
	}
	defer func() { l.Have.Scope = nil }()
	for _, read := range []func(context.Context) error{l.readGuests, l.readCreations, l.readInGuests} {
		if err := read(ctx); err != nil {
			return false, err
		}
	}
	for ref := range part {
		if g := l.want.Guest(ref.Name); g != nil && g.Ref == ref && l.Have.Taken[g.VMID] {
			return false, nil // by a guest that the earlier look did not see
		}
	}
	l.Have.Requests = l.View.Requests()
	l.Have.Elapsed = time.Since(l.Started)
	return true, nil
}

// carry takes over what an earlier look has read. What it shares with that one is not changed: a map is copied, a state
// that is read again is replaced.
func carry(have, old *node.Observed) {
	have.CPUs, have.RAM, have.RAMUsed, have.FreeRAM = old.CPUs, old.RAM, old.RAMUsed, old.FreeRAM
	have.Bridges, have.Nodes, have.Others, have.AtOnce.Since = old.Bridges, old.Nodes, old.Others, old.AtOnce.Since
	have.Guests, have.Taken, have.Inside = maps.Clone(old.Guests), maps.Clone(old.Taken), maps.Clone(old.Inside)
	node.TakeIndex(have, old)
}

// readChanges reads what every part needs: the tasks, the storages, the host, and the states of its guests.
func (l PartReader) readChanges(ctx context.Context, part map[spec.Ref]bool) (ok bool, err error) {
	have := l.Have
	g, gctx := NewReads(ctx)
	kept, fresh := l.readFacts(gctx, g)
	if !fresh {
		g.Wait() //nolint:errcheck // the whole look asks again
		return false, nil
	}
	var tasks []proxmox.Task
	since := l.Earlier.since()
	g.Go(func() (err error) {
		tasks, _, err = l.View.Tasks(gctx, l.node, proxmox.TaskFilter{Source: "all", Limit: tasksAtMost, Since: since})
		return err
	})
	var states []proxmox.StorageStatus
	known, stuck := true, false
	g.Go(func() (err error) {
		states, err = l.View.NodeStorage(gctx, l.node)
		if stuck = proxmox.IsStuck(err); stuck {
			return nil
		}
		return err
	})
	g.Go(func() error { return l.readHost(gctx) })
	for ref := range part {
		g.Go(func() error {
			there, err := l.readState(gctx, ref)
			l.mu.Lock()
			defer l.mu.Unlock()
			known = known && there
			return err
		})
	}
	if err := g.Wait(); err != nil || stuck {
		return false, err
	}
	have.Version, have.Permissions = kept.version, maps.Clone(kept.permissions)
	have.Now = l.View.Now().In(kept.zone)
	if l.remembered == nil {
		memory := l.memory(have.Now)
		l.remembered = &memory
	}
	have.Memory = *l.remembered
	node.Arrange(have, nil, states, kept.storages)
	return known && have.Now.Unix() > 0 && l.carryTasks(tasks, since) && carryStorages(have, l.Earlier.Last), nil
}

// readState reads the state of the guest of an object, where it was there or an operation of ours has worked on it. known is
// false where PVE does not tell.
func (l PartReader) readState(ctx context.Context, ref spec.Ref) (known bool, err error) {
	guest := l.want.Guest(ref.Name)
	if golden := l.want.Golden[ref.Name]; ref.Kind == spec.KindGolden && golden != nil {
		guest = node.GoldenGuest(golden)
	} else if guest == nil || guest.Ref != ref {
		return true, nil // no guest
	}
	l.mu.Lock()
	old := l.Have.Guests[guest.VMID]
	l.mu.Unlock()
	kind := guest.Type
	if old != nil && old.Err != nil {
		return false, nil // as when the list names it twice
	} else if old != nil {
		kind = old.Type
	} else if !l.Earlier.Queues["lxc/"+guest.VMID.String()] {
		return true, nil // PVE is asked whether its VMID is free
	}
	status, err := l.View.Of(kind, l.node, guest.VMID).Status(ctx)
	if err != nil {
		if proxmox.IsUnauthorized(err) || proxmox.IsNotDelivered(err) || !OfOneThing(err) {
			return false, err
		}
		return false, nil // it is gone, or hidden
	}
	state := &node.GuestState{Guest: status.Guest}
	if old != nil {
		state.HA = old.HA
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Have.Guests[guest.VMID] = state
	return status.HA.Managed == (state.HA != ""), nil
}

// anyMissing reports whether a guest of the part is still to be made.
func (l PartReader) anyMissing(part map[spec.Ref]bool) bool {
	for ref := range part {
		if g := l.want.Guest(ref.Name); g != nil && g.Ref == ref && l.Have.Guests[g.VMID] == nil {
			return true
		}
	}
	return false
}

// forgetUndeclared lets the configurations of the guests that nobody declares be read anew: what one of them has is not
// made once more.
func (l PartReader) forgetUndeclared() {
	declared := node.DeclaredVMIDs(l.want)
	for vmid, state := range l.Have.Guests {
		if !declared[vmid] {
			own := *state
			own.Config, own.Err = nil, nil
			l.Have.Guests[vmid] = &own
		}
	}
}

// since is from when on the list of tasks is read again: from the first of those that have ended since, or have not yet.
func (e *Earlier) since() time.Time { return e.Begun.Add(-2 * time.Second) }

// carryTasks puts the tasks since a time to those before it, of which none ran that was not ours. It is false where somebody
// else has begun one.
func (l PartReader) carryTasks(tasks []proxmox.Task, since time.Time) (nobodyElse bool) {
	e := l.Earlier
	tasks = slices.DeleteFunc(append(make([]proxmox.Task, 0, len(tasks)+len(e.Last.Tasks)), tasks...), isConsole)
	for _, t := range tasks {
		if !e.Tasks[t.UPID] && !e.ended(t.UPID) {
			return false
		}
	}
	for _, t := range e.Last.Tasks {
		if !t.StartTime.Before(since) {
			continue
		}
		if t.Running() {
			return false
		}
		tasks = append(tasks, t)
	}
	l.Have.AllTasks = e.Last.AllTasks && len(tasks) < tasksAtMost
	l.Have.Tasks = tasks[:min(len(tasks), tasksAtMost)]
	return true
}

// isConsole reports whether a task is only a window in somebody's browser: it bears the
// number of a guest, lasts as long as the window is open, and changes nothing (PVE:
// API2::LXC and API2::Nodes, vncproxy, termproxy and the shells).
func isConsole(t proxmox.Task) bool {
	return slices.Contains([]string{"vncproxy", "vncshell", "termproxy", "spiceproxy", "spiceshell"}, t.Type)
}

// ended reports whether the earlier look saw that a task has ended.
func (e *Earlier) ended(upid proxmox.UPID) bool {
	return slices.ContainsFunc(e.Last.Tasks, func(t proxmox.Task) bool { return t.UPID == upid && !t.Running() })
}

// carryStorages takes over what lies on the storages, where they are the same that they were.
func carryStorages(have, old *node.Observed) (same bool) {
	if len(have.Storages) != len(old.Storages) {
		return false
	}
	for id, state := range have.Storages {
		before := old.Storages[id]
		if before == nil || before.Err != nil || state.Err != nil || !reflect.DeepEqual(before.Conf, state.Conf) || (before.Status == nil) != (state.Status == nil) {
			return false
		}
		if state.Status != nil && state.Status.Active != before.Status.Active {
			return false
		}
		state.Content, state.Read = before.Content, before.Read
	}
	return true
}

// NotRead are the objects on whose guests an action rests, and that a part does not have: its own, and those that this one needs.
func (l PartReader) NotRead(a *plan.Action, part map[spec.Ref]bool) (missing []spec.Ref) {
	add := func(ref spec.Ref) {
		if !part[ref] {
			missing = append(missing, ref)
		}
	}
	add(a.Object)
	id, _ := strings.CutPrefix(a.Queue, "lxc/")
	for _, name := range []string{a.Guest, a.Object.Name} {
		g := l.want.Guest(name)
		if g == nil || g.VMID.String() != id {
			continue
		}
		add(g.Ref)
		for _, needed := range g.Needs {
			if other := l.want.Guest(needed); other != nil {
				add(other.Ref)
			}
		}
	}
	return missing
}
