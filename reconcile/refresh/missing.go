package refresh

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// lookCreations reads what only objects need that are to be created, and guests to
// which a volume is to be added: every storage's content, the configs inside their
// archives, the word of PVE on whether the VMID is free and on what the token may do
// with it, and whether a marker of the object stands on another guest.
func (l *Reader) readCreations(ctx context.Context) error {
	guests := inScope(l)
	made := slices.Clip(guests)
	for _, golden := range l.want.Golden {
		if l.Have.InScope(golden.Ref) {
			made = append(made, node.GoldenGuest(golden))
		}
	}
	missing, volumes, unmarked := wanting(l.Have, made)
	g, gctx := NewReads(ctx)
	if l.part == nil {
		l.readNetwork(gctx, g)
	}
	for _, guest := range guests {
		if state := l.Have.Guests[guest.VMID]; state != nil && !state.Type.VM() && state.Config != nil && adds(guest, state.Config) {
			l.rawLines(gctx, g, guest.VMID, state)
		}
	}
	if len(missing) > 0 || volumes {
		named := sourceStorages(l.want, made)
		for id, state := range l.Have.Storages {
			if node.HoldsGuestData(state.Conf) || named[id] { // of others a list can take minutes (esxi), and nothing to us lies there
				l.content(gctx, g, id)
			}
		}
	}
	if unmarked {
		for _, b := range l.want.Backups {
			l.content(gctx, g, b.Storage)
		}
	}
	for _, vmid := range missing {
		l.askFree(gctx, g, vmid)
	}
	if len(missing) > 0 {
		l.undeclared(gctx, g)
	}
	l.snapshotFeatures(gctx, g)
	if err := g.Wait(); err != nil {
		return err
	}
	l.Have.Index(l.want)
	return l.readInside(ctx, missing)
}

// inScope are the declared guests in the scope of a look. Nobody changes the list.
func inScope(l *Reader) (some []*spec.Guest) {
	if l.Have.Scope == nil {
		return l.want.AllGuests()
	}
	for ref := range l.Have.Scope {
		if g := l.want.Guest(ref.Name); g != nil && g.Ref == ref {
			some = append(some, g)
		}
	}
	slices.SortFunc(some, func(a, b *spec.Guest) int { return strings.Compare(a.Ref.String(), b.Ref.String()) })
	return some
}

// wanting says what guests are missing, by name, whether a volume is to be added to one that is there, and whether
// one that is there bears no marker.
func wanting(have *node.Observed, made []*spec.Guest) (missing map[string]proxmox.VMID, volumes, unmarked bool) {
	missing = map[string]proxmox.VMID{}
	for _, guest := range made {
		if guest.Absent {
			continue
		}
		state := have.Guests[guest.VMID]
		switch {
		case state == nil:
			missing[guest.Ref.Name] = guest.VMID
		case node.CutOff(state):
			volumes = true // which no config names
		case state.Config != nil:
			if have.Scope != nil && len(marker.FindMarkers(state.Config.Description())) == 0 {
				unmarked = true // its archives tell whether it was ours
			}
			live := state.Config.MountPoints()
			for i, mp := range guest.Config.Mounts {
				if _, there := live[i]; !there && !mp.Bind() {
					volumes = true
				}
			}
		}
	}
	return missing, volumes, unmarked
}

// undeclared reads the configs of the guests that are declared nowhere.
func (l *Reader) undeclared(ctx context.Context, g *reads) {
	declared := node.DeclaredVMIDs(l.want)
	for vmid, state := range l.Have.Guests {
		if declared[vmid] || state.Config != nil {
			continue
		}
		g.Go(func() error {
			config, err := l.View.Of(state.Type, l.node, vmid).Config(ctx)
			return l.keep(err, &state.Err, func() { state.Config = &config })
		})
	}
}

// snapshotFeatures asks whether the guests can have a snapshot of which one is due.
func (l *Reader) snapshotFeatures(ctx context.Context, g *reads) {
	for _, guest := range inScope(l) {
		if state := l.Have.Guests[guest.VMID]; guest.Guard != nil && state != nil && state.Snapshots != nil {
			g.Go(func() error {
				can, err := l.View.Of(state.Type, l.node, guest.VMID).Feature(ctx, "snapshot")
				return l.keep(err, &state.Err, func() { state.CanSnapshot = &can })
			})
		}
	}
	for _, s := range l.want.Snapshots {
		if guest := l.want.Guest(s.Guest); guest != nil && l.Have.InScope(s.Ref) {
			if state := l.Have.Guests[guest.VMID]; state != nil && state.Snapshots != nil && node.SnapshotDue(s, state, l.Have) {
				g.Go(func() error {
					can, err := l.View.Of(state.Type, l.node, guest.VMID).Feature(ctx, "snapshot")
					return l.keep(err, &state.Err, func() { state.CanSnapshot = &can })
				})
			}
		}
	}
}

// adds reports whether an object declares a mount point, an interface or a device of which
// its guest has none.
func adds(guest *spec.Guest, config *proxmox.GuestConfig) bool {
	values := node.Effective(config)
	lacks := func(prefix string, i int) bool { return values[fmt.Sprintf("%s%d", prefix, i)] == "" }
	for i := range guest.Config.Mounts {
		if lacks("mp", i) {
			return true
		}
	}
	for i := range guest.Config.Nets {
		if lacks("net", i) {
			return true
		}
	}
	for i := range guest.Config.Devices {
		if lacks("dev", i) {
			return true
		}
	}
	return false
}

// rawLines reads the raw lxc.* lines of a guest, which its pending config does not show:
// what they mount or name must not be there twice.
func (l *Reader) rawLines(ctx context.Context, g *reads, vmid proxmox.VMID, state *node.GuestState) {
	g.Go(func() error {
		config, err := l.View.GuestConfig(ctx, l.node, vmid)
		return l.keep(err, &state.Err, func() { state.Config.LXC = config.LXC })
	})
}

// askFree asks whether a VMID is free, and what the token may do with it.
func (l *Reader) askFree(ctx context.Context, g *reads, vmid proxmox.VMID) {
	g.Go(func() error {
		free, err := l.View.VMIDFree(ctx, vmid)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.Have.Taken[vmid] = !free
		return err
	})
	path := fmt.Sprintf("/vms/%d", vmid)
	l.mu.Lock()
	asked := l.facts != nil && l.facts.asked[path]
	l.mu.Unlock()
	if asked {
		return
	}
	g.Go(func() error { // what the token is shut out of is not in the list of all
		exact, err := l.View.Permissions(ctx, path)
		l.mu.Lock()
		defer l.mu.Unlock()
		shutOut := err == nil && len(exact[path]) == 0
		if shutOut {
			l.Have.Permissions[path] = nil
		}
		if err == nil && l.facts != nil {
			l.facts.asked[path] = true
			if shutOut { // for the looks to come
				l.facts.permissions = maps.Clone(l.facts.permissions)
				l.facts.permissions[path] = nil
			}
		}
		return err
	})
}

// sourceStorages are the storages from which guests and goldens could be made.
func sourceStorages(want *spec.Desired, made []*spec.Guest) map[string]bool {
	named := map[string]bool{}
	for _, golden := range want.Golden {
		named[text.ProxmoxStorage(golden.Template)] = true
	}
	for _, guest := range made {
		for _, source := range guest.From {
			named[source.Newest], named[text.ProxmoxStorage(source.Archive)] = true, true
			if golden := want.Golden[source.Golden]; golden != nil && golden.Publish != nil {
				named[golden.Publish.Storage] = true
			}
		}
	}
	return named
}

// Renew reads the facts anew on which the making of guests and volumes rests, where they
// were kept from an earlier pass: with a right that was taken since, backups and volumes
// are hidden, and a storage that was added since may hold some. It reports whether the
// look has to be made again.
func (l *Reader) Renew(ctx context.Context, ready []*plan.Action) (again bool, err error) {
	if l.facts == nil || l.asked {
		return false, nil
	}
	var paths []string
	for _, a := range ready {
		path := "/vms/" + strings.TrimPrefix(a.Queue, "lxc/")
		if makesVolumes(a) && !l.sure[path] && !(a.Facts[journal.FactTest] != "" && time.Since(l.facts.renewed) < TestsAge) {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		return false, nil
	}
	permissions, err := l.View.Permissions(ctx)
	if err != nil {
		return false, err
	}
	storages, err := l.View.ListStorage(ctx)
	if err != nil {
		return false, err
	}
	permissions = maps.Clone(permissions)
	for path, rights := range l.facts.permissions {
		if rights == nil && l.facts.asked[path] { // hidden
			permissions[path] = nil
		}
	}
	if l.sure == nil {
		l.sure = map[string]bool{}
	}
	for _, path := range paths { // asked again
		l.sure[path] = true
		delete(l.facts.asked, path)
	}
	l.facts.permissions, l.facts.storages, l.facts.renewed = permissions, storages, time.Now()
	return true, nil
}

// makesVolumes reports whether an operation allocates volumes that hold nothing yet, or anew what
// a backup holds.
func makesVolumes(a *plan.Action) bool {
	if a.Facts["makes"] != "" {
		return true
	}
	return a.Call != nil && a.Call.Method == "PUT" && slices.ContainsFunc(slices.Collect(maps.Keys(a.Call.Params)), node.MountKey.MatchString)
}
