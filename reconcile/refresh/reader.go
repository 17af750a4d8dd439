package refresh

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

// Reader does the looking. It may only read: a View and an Asker are all it has.
type Reader struct {
	source     Source
	View       *proxmox.View
	ask        privileged.Asker // nil without a root helper
	node       string
	want       *spec.Desired
	Have       *node.Observed
	facts      *Facts
	memory     func(now time.Time) journal.Memory
	mu         sync.Mutex
	Started    time.Time
	Earlier    *Earlier // what is still known; nil: nothing
	recalled   bool
	asked      bool              // the facts are of this pass
	sure       map[string]bool   // paths on which the rights were asked for in this pass
	listed     map[string]bool   // storages whose content is read
	part       map[spec.Ref]bool // see PartReader; nil: all is read
	remembered *journal.Memory   // of a part, in this pass
	host       *hostRead
}

// Facts are what rarely changes; they are kept for up to a minute, or until PVE
// refuses something.
type Facts struct {
	at          time.Time // the agent's clock: only an age
	renewed     time.Time // when permissions and storages were asked for last
	version     string
	zone        *time.Location
	permissions proxmox.Permissions
	asked       map[string]bool // paths whose own permissions were asked for
	storages    []proxmox.Storage
	bridges     []string          // of the network configuration; nil: not asked yet
	failing     map[string]string // see HostState.Failing
	smartAt     time.Time
}

// Storages are the storages of the cluster, as they were listed last.
func (f *Facts) Storages() []proxmox.Storage { return f.storages }

const (
	FactsAge = time.Minute      // how long facts are believed
	PartAge  = 15 * time.Minute // and what no operation touches, while operations of a service end one after the other
	OnceAge  = time.Hour        // and those of a run, which reads everything at its end
	TestsAge = 15 * time.Minute // and all that the lists show to be as it was, in a pass that only a restore test is the reason of
)

// Look reads the world. The first look costs at most 8 requests and one per
// declared guest, and one more where a VM is declared; a later one 4 and one per guest, plus one per guest with declared
// snapshots, one per storage with declared backups or goldens, and what an object
// to be created needs.
//
// A second look of the same looker asks only what its View has forgotten.
func (l *Reader) Read(ctx context.Context) (*node.Observed, error) {
	if l.Started.IsZero() {
		l.Started = time.Now()
	}
	l.Have, l.listed = l.source.observed(l.want), map[string]bool{}
	if l.Earlier != nil && !l.recalled {
		l.Earlier.recall(l.View)
	}
	if err := l.readBasics(ctx); err != nil {
		return nil, err
	}
	if l.Earlier != nil && !l.recalled {
		l.View.Recall(l.Earlier.View, l.Earlier.still(l.Have))
		l.recalled = true
	}
	for _, part := range []func(context.Context) error{l.readGuests, l.readCreations, testRead{l}.look, l.readInGuests} {
		if err := part(ctx); err != nil {
			return nil, err
		}
	}
	l.Have.Requests = l.View.Requests()
	l.Have.Elapsed = time.Since(l.Started)
	return l.Have, nil
}

// lookAround reads the lists: what there is on the node.
func (l *Reader) readBasics(ctx context.Context) error {
	have := l.Have
	g, gctx := NewReads(ctx)
	kept, fresh := l.readFacts(gctx, g)
	g.Go(func() error { return listGuests(gctx, l, l.View.ListLXC, func(proxmox.VMID) bool { return true }) })
	if vms := node.DeclaredVMs(l.want); len(vms) > 0 || l.source.AllVMs { // else nothing is asked of them
		g.Go(func() error {
			return listGuests(gctx, l, l.View.ListQemu, func(vmid proxmox.VMID) bool { return l.source.AllVMs || vms[vmid] })
		})
	}
	var resources []proxmox.Resource
	g.Go(func() (err error) { resources, err = l.View.Resources(gctx, ""); return err })
	var states []proxmox.StorageStatus
	var stuck bool
	g.Go(func() (err error) {
		states, err = l.View.NodeStorage(gctx, l.node)
		if stuck = proxmox.IsStuck(err); stuck {
			err = nil
		}
		return err
	})
	g.Go(func() error {
		tasks, _, err := l.View.Tasks(gctx, l.node, proxmox.TaskFilter{Source: "all", Limit: tasksAtMost})
		have.AllTasks = err == nil && len(tasks) < tasksAtMost
		have.Tasks = slices.DeleteFunc(tasks, isConsole)
		return err
	})
	g.Go(func() error { return l.readHost(gctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	if l.facts != nil && !fresh {
		kept.failing, kept.smartAt = l.facts.failing, l.facts.smartAt
		*l.facts = *kept
	}
	have.Version, have.Permissions = kept.version, maps.Clone(kept.permissions)
	have.Now = l.View.Now().In(kept.zone)
	if have.AtOnce.Since.IsZero() {
		have.AtOnce.Since = have.Now
	}
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
	node.Arrange(have, resources, states, kept.storages)
	return findTypes(ctx, l)
}

// findTypes reads the virtual machines that the YAML declares without saying that they are some.
func findTypes(ctx context.Context, l *Reader) error {
	typed := node.Typed(l.want, l.Have)
	if typed == l.want {
		return nil
	}
	said := node.DeclaredVMs(l.want)
	l.want = typed
	found := node.DeclaredVMs(typed)
	err := listGuests(ctx, l, l.View.ListQemu, func(vmid proxmox.VMID) bool { return found[vmid] && !said[vmid] && l.Have.Guests[vmid] == nil })
	node.ArrangeHA(l.Have)
	return err
}

// tasksAtMost is how many of the latest tasks are asked for.
const tasksAtMost = 200

// listGuests reads the guests of one type, those that concern the look.
func listGuests(ctx context.Context, l *Reader, of func(context.Context, string) ([]proxmox.Guest, error), concerns func(proxmox.VMID) bool) error {
	guests, err := of(ctx, l.node)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, guest := range guests {
		if !concerns(guest.VMID) {
			continue
		}
		state := &node.GuestState{Guest: guest}
		if guest.Ambiguous || l.Have.Guests[guest.VMID] != nil { // a number has one guest
			state.Err = node.ErrAmbiguous
		}
		l.Have.Guests[guest.VMID] = state
	}
	return err
}

// lookFacts takes the facts that are still believed, or asks for them.
func (l *Reader) readFacts(ctx context.Context, g *reads) (kept *Facts, fresh bool) {
	if l.facts != nil && !l.facts.at.IsZero() && time.Since(l.facts.at) < l.Earlier.factsAge() {
		kept := *l.facts
		return &kept, true
	}
	kept, l.asked = &Facts{at: time.Now(), renewed: time.Now(), asked: map[string]bool{}}, true
	g.Go(func() error {
		v, err := l.View.Version(ctx)
		kept.version = v.Version
		return err
	})
	g.Go(func() error {
		t, err := l.View.NodeTime(ctx, l.node)
		if err != nil {
			return err
		}
		if kept.zone, err = t.Location(); err != nil {
			return fmt.Errorf("the node's time zone %q is not known to this machine: %w; install tzdata", t.Zone, err)
		}
		return nil
	})
	g.Go(func() (err error) { kept.permissions, err = l.View.Permissions(ctx); return err })
	g.Go(func() (err error) { kept.storages, err = l.View.ListStorage(ctx); return err })
	return kept, false
}

// lookGuests reads the config of every declared guest that is here, the snapshots
// of those that declare some, and the storages on which things of ours are kept.
func (l *Reader) readGuests(ctx context.Context) error {
	g, ctx := NewReads(ctx)
	snapshots := map[string]bool{}
	for _, s := range l.want.Snapshots {
		if l.Have.InScope(s.Ref) {
			snapshots[s.Guest] = true
		}
	}
	guest := func(ref spec.Ref, vmid proxmox.VMID, snaps bool, rollback *spec.Rollback) {
		state := l.Have.Guests[vmid]
		if state == nil || state.Err != nil || !l.Have.InScope(ref) && (!snaps || l.part != nil) {
			return
		}
		g.Go(func() error {
			view := l.View.Of(state.Type, l.node, vmid)
			config, err := view.Pending(ctx)
			// Of a guest that was managed and has lost its ownership marker the snapshots are witnesses.
			lost := err == nil && l.Have.Stored.Known[ref.String()] == vmid && len(marker.FindMarkers(config.Description())) == 0
			if err == nil && (snaps || lost) {
				var list proxmox.SnapshotList
				if list, err = view.Snapshots(ctx); err == nil {
					state.Snapshots = &list
				}
			}
			if err == nil && rollback != nil && slices.ContainsFunc(state.Snapshots.Snapshots, func(s proxmox.Snapshot) bool { return s.Name == rollback.To }) {
				var section proxmox.GuestConfig
				if section, err = view.SnapshotConfig(ctx, rollback.To); err == nil {
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
	declared := l.want.AllGuests()
	if l.part != nil {
		declared = inScope(l)
	}
	for _, have := range declared {
		guest(have.Ref, have.VMID, snapshots[have.Ref.Name] || have.Rollback != nil || have.Absent || have.Guard != nil, have.Rollback)
	}
	for _, b := range l.want.Backups {
		if l.Have.InScope(b.Ref) {
			storages[b.Storage] = true
		}
	}
	for _, golden := range l.want.Golden {
		if golden.Publish != nil && l.Have.InScope(golden.Ref) {
			storages[golden.Publish.Storage] = true
		}
	}
	testRead{l}.storages(func(id string) { storages[id] = true })
	for id := range storages {
		l.content(ctx, g, id)
	}
	return g.Wait()
}

// content reads what lies on a storage, once, where it can be seen at all.
func (l *Reader) content(ctx context.Context, g *reads, id string) {
	state := l.Have.Storages[id]
	if state == nil || l.listed[id] || state.Err != nil || state.Status == nil || !state.Status.Active {
		return
	}
	if mount, mounted := l.Have.MountOf(l.want, id); mount != nil && !mounted {
		return
	}
	state.Read, l.listed[id] = true, true
	g.Go(func() error {
		list, err := l.View.StorageContent(ctx, l.node, id, proxmox.ContentFilter{})
		return l.keep(err, &state.Err, func() {
			if !slices.Equal(state.Content, list) {
				state.Content, l.Have.ByID = list, nil
			}
		})
	})
}
