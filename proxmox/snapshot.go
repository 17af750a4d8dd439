package proxmox

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Snapshot is one snapshot of a guest.
type Snapshot struct {
	Name        string
	Description string // without trailing newlines
	Parent      string
	Time        time.Time // by the node's clock, in seconds
	// State is "prepare" or "delete" for a snapshot that is not complete, else
	// empty. One named vzdump belongs to a backup that runs.
	State string
	// Ambiguous tells that the list names it twice, with different values.
	Ambiguous bool
}

// SnapshotList is what one request tells about a guest's snapshots, and more.
type SnapshotList struct {
	Snapshots []Snapshot // oldest first
	Digest    string     // of the guest's config
	Running   bool
	Parent    string // the snapshot that the current state stems from
}

// Snapshots lists a container's snapshots. Needs VM.Audit.
func (v *View) Snapshots(ctx context.Context, node string, vmid VMID) (SnapshotList, error) {
	return v.Of(LXC, node, vmid).Snapshots(ctx)
}

// Snapshots lists the guest's snapshots. Needs VM.Audit.
func (g GuestView) Snapshots(ctx context.Context) (SnapshotList, error) {
	l, err := readAs(ctx, g.view, g.path("snapshot"), nil, snapshotsOf)
	l.Snapshots = slices.Clone(l.Snapshots)
	return l, err
}

type snapshotWire struct {
	Name, Description, Parent, SnapState, Digest text
	SnapTime                                     number
	Running                                      flag
}

func snapshotsOf(w []snapshotWire, r *reply) (SnapshotList, error) {
	var l SnapshotList
	for _, e := range w {
		switch e.Name {
		case "":
			return SnapshotList{}, r.fault("a snapshot has no name")
		case "current": // not a snapshot: the guest as it is
			l.Digest, l.Running, l.Parent = string(e.Digest), bool(e.Running), string(e.Parent)
		default:
			l.Snapshots = append(l.Snapshots, Snapshot{
				Name: string(e.Name), Description: CanonicalDescription(string(e.Description)),
				Parent: string(e.Parent), Time: unix(e.SnapTime), State: string(e.SnapState),
			})
		}
	}
	if l.Digest == "" {
		return SnapshotList{}, r.fault("it has no entry named current")
	}
	l.Snapshots = distinct(l.Snapshots, func(s Snapshot) string { return s.Name }, func(first *Snapshot, later Snapshot) {
		later.Ambiguous = first.Ambiguous
		first.Ambiguous = first.Ambiguous || differ(*first, later)
	})
	slices.SortFunc(l.Snapshots, func(a, b Snapshot) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return l, nil
}
