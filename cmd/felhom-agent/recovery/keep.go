package recovery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/felhom/felhom-agent/cmd/felhom-agent/kit"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/session"
	"github.com/felhom/felhom-agent/cmd/felhom-agent/version"
	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

const (
	keepPace  = time.Minute      // between two kits, and between two questions to the node
	factsAge  = time.Hour        // how long the bridges of a node stay as they are
	keepLimit = 30 * time.Second // for one kit
	copyPace  = time.Hour        // between two attempts to copy templates
	copyLimit = 20 * time.Minute // for one template
)

// Seen is what a pass knows of a node, from which a kit is made.
type Seen struct {
	Path     string // of the desired state
	Want     *spec.Desired
	Storages []proxmox.Storage
	Mounts   []privileged.Mount
	Version  string // of PVE
	Now      time.Time
}

// See is what the last pass of an agent has read. A plan that is nil, or a pass that read nothing, gives nil.
func See(a *reconcile.Agent, plan *reconcile.Plan, path string, want *spec.Desired) *Seen {
	if a == nil || plan == nil || want == nil {
		return nil
	}
	storages, mounts := a.LastRead()
	if mounts == nil {
		return nil
	}
	return &Seen{Path: path, Want: want, Storages: storages, Mounts: mounts, Version: plan.Header.Version, Now: a.Clock()}
}

// Keeper keeps the kits of one node up to date.
type Keeper struct {
	Node *session.Session
	Kept func() // called after a change of what is known of the kits; nil: nothing

	bridges []string
	sums    map[string]string    // SHA-512 of the templates that PVE knows
	asked   time.Time            // when the bridges and the templates were
	copied  map[string]time.Time // when templates were last copied, by place

	mu   sync.Mutex
	next *Seen
	wake chan struct{}
}

// NewKeeper makes a keeper. It does nothing yet.
func NewKeeper(n *session.Session) *Keeper { return &Keeper{Node: n, wake: make(chan struct{}, 1)} }

// Pass hands over what a pass has seen. It never waits.
func (k *Keeper) Pass(seen *Seen) {
	if seen == nil {
		return
	}
	k.mu.Lock()
	k.next = seen
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Run keeps the kits until ctx ends, at most one round a minute.
func (k *Keeper) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		}
		k.mu.Lock()
		seen := k.next
		k.mu.Unlock()
		k.Keep(ctx, seen)
		select {
		case <-ctx.Done():
			return
		case <-time.After(keepPace):
		}
	}
}

// Keep writes a kit to every backup storage that is connected and does not have it yet. What cannot be written is logged and shown by --status; it keeps
// nothing from being done.
func (k *Keeper) Keep(ctx context.Context, seen *Seen) {
	if seen == nil || k.Node.Runner == nil {
		return
	}
	places := placesOf(seen)
	if len(places) == 0 {
		return
	}
	k.keepKits(ctx, seen, places)
	if k.Node.Config.KitTemplates {
		k.keepTemplates(ctx, seen, places)
	}
}

func (k *Keeper) keepKits(ctx context.Context, seen *Seen, places []place) {
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	stored, err := k.Node.Store.Load()
	if err != nil {
		return // holds could not be read: the passes say so
	}
	files, err := k.collect(ctx, seen, stored)
	if errors.Is(err, errEdited) {
		return // the pass that reads it says what is wrong, or brings what is in force then
	}
	if err != nil {
		k.Node.Log.Warn("the recovery kit could not be collected", zap.Error(err))
		return
	}
	digest, lacks := kit.Digest(files), missing(seen)
	for _, p := range places {
		last := stored.Kits[p.key()]
		if last.Digest == digest && last.Problem == "" {
			continue
		}
		now := reconcile.Kit{Storage: p.storage, Disk: p.disk, Digest: digest, Time: seen.Now, Templates: last.Templates}
		err := lacks
		if err == nil {
			err = k.write(ctx, p, files, seen.Now)
		}
		if err != nil {
			k.Node.Log.Warn("the recovery kit could not be written", zap.String("storage", p.storage), zap.Error(err))
			now.Digest, now.Time, now.Problem = last.Digest, last.Time, err.Error()
		}
		if now == last {
			continue
		}
		k.note(p, now)
	}
}

// note remembers what is on a disk.
func (k *Keeper) note(p place, now reconcile.Kit) {
	err := k.Node.Store.Change(func(s *reconcile.Stored) {
		if s.Kits == nil {
			s.Kits = map[string]reconcile.Kit{}
		}
		s.Kits[p.key()] = now
	})
	if err != nil {
		k.Node.Log.Warn("the recovery kit could not be noted", zap.Error(err))
	} else if k.Kept != nil {
		k.Kept()
	}
}

func (k *Keeper) write(ctx context.Context, p place, files map[string][]byte, now time.Time) error {
	op, err := privileged.KeepKit(k.Node.Source.Node, privileged.KitSpec{Name: p.name, Path: p.path, Mounted: p.mounted, Time: now, Files: files})
	if err != nil {
		return err
	}
	result, err := k.Node.Runner.Do(ctx, op, nil)
	if err == nil && result.StillRunning != nil {
		err = errors.New("the disk does not answer")
	}
	return err
}

// collect makes the files of the kit.
func (k *Keeper) collect(ctx context.Context, seen *Seen, stored reconcile.Stored) (map[string][]byte, error) {
	n := k.Node
	if time.Since(k.asked) > factsAge { // what a node does not say is left out
		if bridges, err := n.Client.Bridges(ctx, n.Source.Node); err == nil {
			k.bridges, k.asked = bridges, time.Now()
		}
		if len(seen.Want.Golden) > 0 {
			if sums, err := n.Client.Appliances(ctx, n.Source.Node); err == nil {
				k.sums = sums
			}
		}
	}
	desired, err := desiredFiles(seen.Path, seen.Want)
	if err != nil {
		return nil, err
	}
	agent, err := os.ReadFile(n.Config.File)
	if err != nil {
		agent = nil // none, or not for this user; a simulated node has none unless it is named
	}
	stored.Kits, stored.Drift, stored.Sum, stored.Trusted, stored.TrustedOn = nil, nil, "", "", ""
	state, err := json.MarshalIndent(stored, "", "  ")
	if err != nil {
		return nil, err
	}
	return kit.Build(k.facts(seen, stored), seen.Now, desired, agent, append(state, '\n'))
}

// facts are kit.json.
func (k *Keeper) facts(seen *Seen, stored reconcile.Stored) kit.Facts {
	n, want := k.Node, seen.Want
	f := kit.Facts{Node: n.Source.Node, Owner: n.Source.Owner, PVE: seen.Version, Version: version.Version, Token: n.Config.Token.ID(),
		Role: Role, Privileges: PrivilegesFor(want), Bridges: k.bridges}
	storages := map[string]bool{}
	for _, guests := range []map[string]*spec.Guest{want.Restores, want.Guests} {
		for name, g := range guests {
			last := stored.Backups[name]
			f.Guests = append(f.Guests, kit.Guest{Name: name, VMID: int(g.VMID), Backup: last.Time, Storage: last.Storage})
			storages[g.Storage] = true
			for _, from := range g.From {
				storages[from.Newest] = true
			}
		}
	}
	slices.SortFunc(f.Guests, func(a, b kit.Guest) int { return cmp.Compare(a.VMID, b.VMID) })
	templates := map[string]bool{}
	for _, g := range want.Golden {
		templates[g.Template] = true
		storages[g.RootFS.Storage] = true
		if g.Publish != nil {
			storages[g.Publish.Storage] = true
		}
	}
	for volume := range templates {
		t := kit.Template{Volume: volume}
		t.SHA512 = k.sums[t.Name()]
		f.Templates = append(f.Templates, t)
		if id, err := proxmox.ParseVolumeID(volume); err == nil {
			storages[id.Storage] = true
		}
	}
	slices.SortFunc(f.Templates, func(a, b kit.Template) int { return cmp.Compare(a.Volume, b.Volume) })
	for _, b := range want.Backups {
		storages[b.Storage] = true
	}
	for _, m := range want.Mounts {
		storages[m.Storage] = true
	}
	for _, s := range seen.Storages {
		if storages[s.ID] {
			f.Storages = append(f.Storages, kit.StorageOf(s.Raw))
		}
	}
	return f
}

var errEdited = errors.New("it is not what the last pass has read")

// desiredFiles reads the desired state byte for byte, as it is in force; errEdited where it is not on the disk any more.
func desiredFiles(path string, want *spec.Desired) (map[string][]byte, error) {
	files := map[string][]byte{}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	for _, name := range want.Files {
		at := path
		if info.IsDir() {
			at = filepath.Join(path, name)
		}
		files[name], err = os.ReadFile(at)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", path, errEdited)
		}
		if err != nil {
			return nil, err
		}
	}
	if hash, err := spec.Fingerprint(path); err != nil || hash != want.Hash {
		return nil, fmt.Errorf("%s: %w", path, errEdited)
	}
	return files, nil
}
