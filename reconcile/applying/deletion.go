package applying

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// post sends the call of an action: that of a restore test with the token of tests, every other one with the agent's
// own. The deletion of a guest goes the one way that reads again all that must be so.
func (s *sender) post(ctx context.Context, operation *journal.Operation) (proxmox.UPID, error) {
	switch {
	case operation.Call.Destroys():
		return s.destroy(ctx, operation)
	case !ofTest(operation):
		return s.O.Client.Do(ctx, *operation.Call)
	case s.O.TestGuests == nil:
		return proxmox.UPID{}, errors.New("there is no token of restore tests")
	}
	return s.O.TestGuests.Do(ctx, *operation.Call)
}

// destroy sends the deletion of a guest. That of a test is only sent if its restore is in the journal, under its nonce
// and its VMID.
func (s *sender) destroy(ctx context.Context, operation *journal.Operation) (proxmox.UPID, error) {
	facts := operation.Facts
	if nonce := facts[journal.FactTest]; nonce != "" {
		memory := s.O.Journal.Memory(operation.Time)
		if run := memory.TestOf(nonce); run == nil || run.VMID != GuestOf(operation.Call) {
			return proxmox.UPID{}, fmt.Errorf("%d is not deleted: the journal has no restore test with the nonce %s", GuestOf(operation.Call), nonce)
		}
	}
	size, _ := strconv.ParseInt(facts[journal.FactSize], 10, 64)
	return proxmox.NewGuestDeleter(s.O.Client, s.O.TestGuests).Delete(ctx, proxmox.Deletion{Call: *operation.Call,
		Hostname: facts[journal.FactHostname], Digest: facts[journal.FactDigest], Marker: facts[journal.FactMarker],
		Backup: facts[journal.FactBackup], Size: proxmox.Size(size), Test: ofTest(operation)})
}

// guardResult is how a deletion ends that was not sent: what could not be read, or was changed in between, is looked at
// again.
func guardResult(guard *proxmox.GuardError) string {
	if guard.Cause != nil {
		return journal.ResultUnsent
	}
	return journal.ResultLocked
}

// gone makes sure that a guest was deleted, with its volumes. That of a restore test is looked for in the list of guests,
// which is then also that of the next pass.
func (w *waiter) gone(ctx context.Context, operation *journal.Operation) error {
	there := false
	vmid, kind := GuestOf(operation.Call), plan.TypeInPath(operation.Call.Path)
	if ofTest(operation) {
		view := w.O.Client.Read()
		guests, err := view.ListLXC(ctx, w.O.Node)
		if err != nil {
			return err
		}
		w.flights.noteList(view)
		there = slices.ContainsFunc(guests, func(g proxmox.Guest) bool { return g.VMID == vmid })
	} else if _, err := w.O.Client.Of(kind, w.O.Node, vmid).Config(ctx); !proxmox.IsNotFound(err) {
		if err != nil {
			return err
		}
		there = true
	}
	if there {
		return &unseenError{missing: fmt.Sprintf("%d is still there", vmid)}
	}
	for storage := range strings.FieldsSeq(text.OrElse(operation.Facts[journal.FactStorages], operation.Facts["storage"])) {
		left, err := w.O.Client.StorageContent(ctx, w.O.Node, storage, proxmox.ContentFilter{VMID: vmid})
		if err != nil {
			return err
		}
		for _, v := range left {
			if v.Content != "backup" {
				return &unseenError{missing: "the volume " + v.VolID + " is still there", fix: "if nothing needs it, as root: pvesm free " + v.VolID}
			}
		}
	}
	return nil
}

// approve keeps which guests a plan deletes that was just printed: only these are deleted by the rest of the run, and
// later by the service.
func approve(store *state.Store, want *spec.Desired, p *plan.Plan, have *node.Observed) error {
	q, seen := questions.Questions{Want: want, Have: have}, map[string]state.Deletion{}
	for _, l := range p.Steps() {
		if d, here := questions.Doomed(q, l.Object); here && l.Effect == plan.Destroying && !have.Unreviewed {
			seen[l.Object.String()] = d
		}
	}
	if len(seen) == 0 {
		return nil
	}
	return store.Change(func(stored *state.Stored) {
		if stored.Deletions == nil {
			stored.Deletions = map[string]state.Deletion{}
		}
		maps.Copy(stored.Deletions, seen)
	})
}

// keepDeletions forgets the deletions that are done, or no longer wanted.
func keepDeletions(stored *state.Stored, want *spec.Desired, have *node.Observed) {
	maps.DeleteFunc(stored.Deletions, func(name string, d state.Deletion) bool {
		ref, err := spec.ParseRef(name)
		g := want.Guest(ref.Name)
		return err != nil || g == nil || g.Ref != ref || !g.Absent || have.Guests[g.VMID] == nil || d.VMID != g.VMID
	})
	if len(stored.Deletions) == 0 {
		stored.Deletions = nil
	}
}
