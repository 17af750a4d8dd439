package refresh

import (
	"slices"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/spec"
)

// Source is what a look needs, and all that a dry run is given: two views that can
// only read, and who we are.
type Source struct {
	View  *proxmox.View
	Fence privileged.Asker // nil where there is none
	// FenceReason says why there is none.
	FenceReason string
	Node        string // the node that is looked after
	Owner       string // whose markers are ours
	TokenID     string

	Drift        spec.Drift      // default of the objects that do not say
	MaxDeletions int             // of one pass, beyond one per object and guest; 0: no limit
	Tests        node.TestAccess // with what restore tests are sent
	NotifyPVE    bool            // PVE's own notifications of each backup
	Stored       state.Stored    // holds, and what was once seen
	Watching     bool            // nobody is looking: some operations wait for a person
	Unreviewed   bool            // nobody sees the plan before it is carried out; implied by Watching
	Fitting      []spec.Ref      // of Only, those that fit a kind or a glob: nobody has named them one by one
	AtOnce       node.AtOnce     // what a person wants made now; zero Since: since this refresh
	Only         []spec.Ref      // limits the plan to these and what they need; empty: all
	AllVMs       bool            // also VMs that are not declared: an export asks for them
}

// Reader prepares a look for a desired state.
func (s Source) Reader(want *spec.Desired, journal *journal.Journal, kept *Facts) *Reader {
	return &Reader{source: s, View: s.View, ask: s.Fence, node: s.Node, want: want, facts: kept, memory: journal.Memory}
}

// observed is what is known before looking.
func (s Source) observed(want *spec.Desired) *node.Observed {
	have := &node.Observed{Node: s.Node, Owner: s.Owner, TokenID: s.TokenID, HostReason: s.FenceReason, Drift: s.Drift, MaxDeletions: s.MaxDeletions, NotifyPVE: s.NotifyPVE, Tests: s.Tests,
		Stored: s.Stored, Watching: s.Watching, Unreviewed: s.Unreviewed || s.Watching, AtOnce: s.AtOnce,
		Guests: map[proxmox.VMID]*node.GuestState{}, Others: map[proxmox.VMID]proxmox.Resource{}, Storages: map[string]*node.StorageState{},
		Taken: map[proxmox.VMID]bool{}, Inside: map[string]node.Inside{}}
	if len(s.Only) > 0 {
		have.Named = map[spec.Ref]bool{}
		for _, ref := range s.Only {
			have.Named[ref] = !slices.Contains(s.Fitting, ref)
		}
		have.Scope = scope(want, s.Only)
		have.Part = withTheirs(want, s.Only, have.Scope)
	}
	return have
}

// withTheirs adds the snapshots and backups of named guests to the scope. Of a backup that is there for them alone, it
// returns the guests that are meant.
func withTheirs(want *spec.Desired, named []spec.Ref, scope map[spec.Ref]bool) map[spec.Ref][]string {
	part := map[spec.Ref][]string{}
	for _, s := range want.Snapshots {
		if g := want.Guest(s.Guest); g != nil && slices.Contains(named, g.Ref) {
			scope[s.Ref] = true
		}
	}
	for _, b := range want.Backups {
		if scope[b.Ref] {
			continue // it is named itself
		}
		for _, g := range want.AllGuests() {
			if slices.Contains(named, g.Ref) && slices.Contains(want.LastBackups(g.Ref.Name), b) { // also of one that is to be deleted
				part[b.Ref] = append(part[b.Ref], g.Ref.Name)
			}
		}
	}
	for ref := range part {
		scope[ref] = true
	}
	return part
}

// scope is the named objects and all that they need.
func scope(want *spec.Desired, named []spec.Ref) map[spec.Ref]bool {
	all := map[spec.Ref]bool{}
	var add func(ref spec.Ref)
	disksOfStorages := func() {
		for _, m := range want.Mounts {
			if m.Storage != "" {
				add(m.Ref)
			}
		}
	}
	add = func(ref spec.Ref) {
		if all[ref] || want.Object(ref) == nil {
			return
		}
		all[ref] = true
		switch ref.Kind {
		case spec.KindRestore, spec.KindGuest:
			g := want.Guest(ref.Name)
			disksOfStorages() // a blank is made only when all are seen
			for _, source := range g.From {
				if source.Golden != "" {
					add(spec.Ref{Kind: spec.KindGolden, Name: source.Golden})
				}
			}
			for _, name := range g.Needs {
				if other := want.Guest(name); other != nil {
					add(other.Ref)
				}
			}
			for _, mp := range g.Config.Mounts {
				if mp.Mount != "" {
					add(spec.Ref{Kind: spec.KindMount, Name: mp.Mount})
				}
			}
		case spec.KindGolden:
			disksOfStorages()
		case spec.KindSnapshot:
			if g := want.Guest(want.Snapshots[ref.Name].Guest); g != nil {
				add(g.Ref)
			}
		case spec.KindBackup:
			b := want.Backups[ref.Name]
			disksOfStorages()
			for _, name := range want.BackupGuests(b) {
				add(want.Guest(name).Ref)
			}
		}
	}
	for _, ref := range named {
		add(ref)
	}
	return all
}
