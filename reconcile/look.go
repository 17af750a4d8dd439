package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// looker does the looking. It may only read: a View and an Asker are all it has.
type looker struct {
	sight    Sight
	view     *proxmox.View
	ask      privileged.Asker // nil without a fence
	node     string
	want     *spec.Desired
	have     *Observed
	facts    *facts
	memory   func(now time.Time) Memory
	mu       sync.Mutex
	started  time.Time
	earlier  *earlier // what is still known; nil: nothing
	recalled bool
	asked    bool            // the facts are of this pass
	sure     map[string]bool // paths on which the rights were asked for in this pass
	host     *hostLook
}

// facts are what rarely changes; they are kept for up to a minute, or until PVE
// refuses something.
type facts struct {
	at          time.Time // the agent's clock: only an age
	version     string
	zone        *time.Location
	permissions proxmox.Permissions
	asked       map[string]bool // paths whose own permissions were asked for
	storages    []proxmox.Storage
	failing     map[string]string // see HostState.Failing
	smartAt     time.Time
}

// factsAge is how long facts are believed.
const factsAge = time.Minute

// look reads the world. The first look costs at most 8 requests and one per
// declared guest; a later one 4 and one per guest, plus one per guest with declared
// snapshots, one per storage with declared backups or goldens, and what an object
// to be created needs.
//
// A second look of the same looker asks only what its View has forgotten.
func (l *looker) look(ctx context.Context) (*Observed, error) {
	if l.started.IsZero() {
		l.started = time.Now()
	}
	l.have = l.sight.observed(l.want)
	if err := l.lookAround(ctx); err != nil {
		return nil, err
	}
	if l.earlier != nil && !l.recalled {
		l.view.Recall(l.earlier.view, l.earlier.still(l.have))
		l.recalled = true
	}
	for _, part := range []func(context.Context) error{l.lookGuests, l.lookCreations, l.lookInGuests} {
		if err := part(ctx); err != nil {
			return nil, err
		}
	}
	l.have.Requests = l.view.Requests()
	l.have.Elapsed = time.Since(l.started)
	return l.have, nil
}

// lookAround reads the lists: what there is on the node.
func (l *looker) lookAround(ctx context.Context) error {
	have := l.have
	g, gctx := newReads(ctx)
	kept, fresh := l.lookFacts(gctx, g)
	g.Go(func() error {
		guests, err := l.view.ListLXC(gctx, l.node)
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, guest := range guests {
			have.Guests[guest.VMID] = &GuestState{Guest: guest}
		}
		return err
	})
	var resources []proxmox.Resource
	g.Go(func() (err error) { resources, err = l.view.Resources(gctx, ""); return err })
	var states []proxmox.StorageStatus
	var stuck bool
	g.Go(func() (err error) {
		states, err = l.view.NodeStorage(gctx, l.node)
		if stuck = proxmox.IsStuck(err); stuck {
			err = nil
		}
		return err
	})
	g.Go(func() error {
		tasks, _, err := l.view.Tasks(gctx, l.node, proxmox.TaskFilter{Source: "all", Limit: 200})
		have.Tasks = slices.DeleteFunc(tasks, isConsole)
		return err
	})
	g.Go(func() error { return l.lookHost(gctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	if l.facts != nil && !fresh {
		kept.failing, kept.smartAt = l.facts.failing, l.facts.smartAt
		*l.facts = *kept
	}
	have.Version, have.Permissions = kept.version, maps.Clone(kept.permissions)
	have.Now = l.view.Now().In(kept.zone)
	if have.Now.Unix() <= 0 {
		return errors.New("the node's answers have no Date, so its clock is not known and nothing can be planned")
	}
	have.Memory = l.memory(have.Now)
	if stuck { // a storage that does not answer: PVE asks them all in turn, and gives up
		for _, r := range resources {
			if r.Type == "storage" && r.Node == l.node {
				states = append(states, r.StorageStatus())
			}
		}
	}
	have.arrange(resources, states, kept.storages)
	return nil
}

// arrange puts the lists of the whole cluster to the guests and storages of the node.
func (o *Observed) arrange(resources []proxmox.Resource, states []proxmox.StorageStatus, storages []proxmox.Storage) {
	for _, r := range resources {
		if r.Type == "node" {
			o.Nodes = append(o.Nodes, r.Node)
		}
		if r.Type != "lxc" && r.Type != "qemu" {
			continue
		}
		o.Others[r.VMID] = r
		if state := o.Guests[r.VMID]; state != nil && r.Node == o.Node && r.HAState != "ignored" { // which HA leaves alone (PVE: HA::Config, vm_is_ha_managed)
			state.HA = r.HAState
		}
	}
	for _, conf := range storages {
		if len(conf.Nodes) > 0 && !slices.Contains(conf.Nodes, o.Node) {
			continue // of other nodes: nothing of ours can lie there
		}
		state := &StorageState{Conf: conf}
		for i := range states {
			if states[i].ID == conf.ID {
				state.Status = &states[i]
			}
		}
		o.Storages[conf.ID] = state
	}
}

// lookFacts takes the facts that are still believed, or asks for them.
func (l *looker) lookFacts(ctx context.Context, g *reads) (kept *facts, fresh bool) {
	if l.facts != nil && !l.facts.at.IsZero() && time.Since(l.facts.at) < factsAge {
		kept := *l.facts
		return &kept, true
	}
	kept, l.asked = &facts{at: time.Now(), asked: map[string]bool{}}, true
	g.Go(func() error {
		v, err := l.view.Version(ctx)
		kept.version = v.Version
		return err
	})
	g.Go(func() error {
		t, err := l.view.NodeTime(ctx, l.node)
		if err != nil {
			return err
		}
		if kept.zone, err = t.Location(); err != nil {
			return fmt.Errorf("the node's time zone %q is not known to this machine: %w; install tzdata", t.Zone, err)
		}
		return nil
	})
	g.Go(func() (err error) { kept.permissions, err = l.view.Permissions(ctx); return err })
	g.Go(func() (err error) { kept.storages, err = l.view.ListStorage(ctx); return err })
	return kept, false
}

// isConsole reports whether a task is only a window in somebody's browser: it bears the
// number of a guest, lasts as long as the window is open, and changes nothing (PVE:
// API2::LXC and API2::Nodes, vncproxy, termproxy and the shells).
func isConsole(t proxmox.Task) bool {
	return slices.Contains([]string{"vncproxy", "vncshell", "termproxy", "spiceproxy", "spiceshell"}, t.Type)
}

// inScope reports whether an object is looked at.
func (l *looker) inScope(ref spec.Ref) bool { return l.have.Scope == nil || l.have.Scope[ref] }

// lookGuests reads the config of every declared guest that is here, the snapshots
// of those that declare some, and the storages on which things of ours are kept.
func (l *looker) lookGuests(ctx context.Context) error {
	g, ctx := newReads(ctx)
	snapshots := map[string]bool{}
	for _, s := range l.want.Snapshots {
		if l.inScope(s.Ref) {
			snapshots[s.Guest] = true
		}
	}
	guest := func(ref spec.Ref, vmid proxmox.VMID, snaps bool, rollback *spec.Rollback) {
		state := l.have.Guests[vmid]
		if state == nil || !l.inScope(ref) && !snaps {
			return
		}
		g.Go(func() error {
			config, err := l.view.GuestPending(ctx, l.node, vmid)
			if err == nil && snaps {
				var list proxmox.SnapshotList
				if list, err = l.view.Snapshots(ctx, l.node, vmid); err == nil {
					state.Snapshots = &list
				}
			}
			if err == nil && rollback != nil && slices.ContainsFunc(state.Snapshots.Snapshots, func(s proxmox.Snapshot) bool { return s.Name == rollback.To }) {
				var section proxmox.GuestConfig
				if section, err = l.view.SnapshotConfig(ctx, l.node, vmid, rollback.To); err == nil {
					state.Rollback = &section
				}
			}
			return l.keep(err, &state.Err, func() { state.Config = &config })
		})
	}
	for name, golden := range l.want.Golden {
		guest(spec.Ref{Kind: spec.KindGolden, Name: name}, golden.VMID, false, nil)
	}
	storages := map[string]bool{}
	for _, have := range guestsOf(l.want) {
		guest(have.Ref, have.VMID, snapshots[have.Ref.Name] || have.Rollback != nil, have.Rollback)
	}
	for _, b := range l.want.Backups {
		if l.inScope(b.Ref) {
			storages[b.Storage] = true
		}
	}
	for _, golden := range l.want.Golden {
		if golden.Publish != nil && l.inScope(golden.Ref) {
			storages[golden.Publish.Storage] = true
		}
	}
	for id := range storages {
		l.content(ctx, g, id)
	}
	return g.Wait()
}

// keep turns an error that concerns one thing into a fact about that thing, and
// lets errors of the whole connection end the look.
func (l *looker) keep(err error, place *error, found func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		found()
		return nil
	case proxmox.IsDenied(err):
		if l.facts != nil {
			l.facts.at = time.Time{} // the rights have changed: ask again next time
		}
	case proxmox.IsUnauthorized(err), proxmox.IsNotDelivered(err):
		return err
	}
	if !ofOneThing(err) {
		return err
	}
	*place = err
	return nil
}

// ofOneThing reports whether an error can concern the thing alone that was asked for: PVE
// refused, or its answer was not understood, while those before it were.
func ofOneThing(err error) bool {
	_, refused := errors.AsType[*proxmox.APIError](err)
	_, odd := errors.AsType[*proxmox.AnswerError](err)
	return refused || odd
}

// content reads what lies on a storage, once, where it can be seen at all.
func (l *looker) content(ctx context.Context, g *reads, id string) {
	state := l.have.Storages[id]
	if state == nil || state.Looked || state.Err != nil || state.Status == nil || !state.Status.Active {
		return
	}
	if mount, mounted := l.have.mountOf(l.want, id); mount != nil && !mounted {
		return
	}
	state.Looked = true
	g.Go(func() error {
		list, err := l.view.StorageContent(ctx, l.node, id, proxmox.ContentFilter{})
		return l.keep(err, &state.Err, func() { state.Content = list })
	})
}

// reads are GETs that are sent side by side. A panic in one of them ends the look
// with an error, not the program.
type reads struct{ *errgroup.Group }

func newReads(ctx context.Context) (*reads, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	return &reads{g}, ctx
}

// Go runs one of them.
func (r *reads) Go(f func() error) {
	r.Group.Go(func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("a mistake in this program: %v\n%s", p, debug.Stack())
			}
		}()
		return f()
	})
}
