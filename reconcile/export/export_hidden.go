package export

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/refresh"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// lookForHidden finds out what the token could not see. PVE leaves guests out of its
// lists, without a word, on which the token lacks VM.Audit.
func (x *Exporter) readHidden(ctx context.Context) error {
	q := questions.Questions{Want: &spec.Desired{}, Have: x.have}
	say := func(what string, ob *plan.Blocker) {
		x.unseen = append(x.unseen, what+": "+ob.Reason+". "+text.Sentence(strings.Join(ob.Fix, "; ")))
	}
	if ob := questions.Missing(q, "/vms", "VM.Audit"); ob != nil {
		say("guests", ob)
	}
	for _, path := range text.Keys(x.have.Permissions) {
		if vmid, ok := strings.CutPrefix(path, "/vms/"); ok && x.have.Permissions.Has("/vms", "VM.Audit") {
			if ob := questions.Missing(q, path, "VM.Audit"); ob != nil {
				say("guest "+vmid, ob)
			}
		}
	}
	for _, id := range questions.Storages(q) {
		state := x.have.Storages[id]
		if state.Conf.Disabled || !slices.Contains(state.Conf.Content, "backup") {
			continue
		}
		if ob := questions.Missing(q, "/storage/"+id, "Datastore.AllocateSpace"); ob != nil {
			say("backups on "+id, ob)
		} else if ob := questions.Seen(q, nil, id); ob != nil {
			x.stray = append(x.stray, fmt.Sprintf("%s: whose backups it holds could not be seen, and `from: {newest: %s}` is written for none", ob.Reason, id))
		}
	}
	return x.askForHidden(ctx)
}

// Which numbers are asked for: those that the access control list names, for nothing
// else hides a single guest; and, should PVE not show that list, those near a guest that
// is seen or that has left a trace, and PVE's first hundred. (The token's permissions do
// not tell: PVE leaves out the paths on which it has nothing.)
const (
	hiddenNear = 20
	hiddenMost = 2000
)

// askForHidden asks PVE for the numbers of guests that are in no list. Whether a number
// is free it tells truly, also of guests that the token may not see.
func (x *Exporter) askForHidden(ctx context.Context) error {
	ask, err := hiddenCandidates(ctx, x.Source.View, x.have)
	if err != nil {
		return err
	}
	x.asked = len(ask)
	taken := make([]bool, len(ask))
	g, gctx := refresh.NewReads(ctx)
	for i, vmid := range ask {
		g.Go(func() error {
			free, err := x.Source.View.VMIDFree(gctx, vmid)
			taken[i] = !free
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, vmid := range ask {
		volumes := 0
		for _, v := range x.have.ByGuest[vmid] {
			if v.Content != "backup" {
				volumes++
			}
		}
		switch {
		case taken[i] && x.cluster:
			x.unseen = append(x.unseen, fmt.Sprintf("guest %d: the cluster has one, on this node or another, and the token does not see it. It lacks VM.Audit on /vms/%d: pveum acl list", vmid, vmid))
		case taken[i]:
			x.unseen = append(x.unseen, fmt.Sprintf("guest %d: it exists, and the token does not see it. It lacks VM.Audit on /vms/%d: pveum acl list", vmid, vmid))
		case volumes > 0:
			x.stray = append(x.stray, fmt.Sprintf("%d: no guest, but %s of it: left over from one that is gone", vmid, text.Count(volumes, "volume", "volumes")))
		}
	}
	return nil
}

// hiddenCandidates are the numbers that are asked for, in ascending order.
func hiddenCandidates(ctx context.Context, view *proxmox.View, have *node.Observed) ([]proxmox.VMID, error) {
	named, candidates := map[proxmox.VMID]bool{}, map[proxmox.VMID]bool{}
	near := func(vmid proxmox.VMID) {
		for n := max(vmid-hiddenNear, 100); n <= vmid+hiddenNear; n++ {
			candidates[n] = true
		}
	}
	entries, err := view.ACL(ctx)
	var refused *proxmox.APIError
	if err != nil && !errors.As(err, &refused) {
		return nil, err
	}
	for _, e := range entries {
		id, _ := strings.CutPrefix(e.Path, "/vms/")
		if vmid, err := proxmox.ParseVMID(id); err == nil {
			named[vmid] = true
		}
	}
	near(100)
	near(200)
	for vmid := range have.Others {
		near(vmid)
	}
	for vmid := range have.ByGuest {
		near(vmid)
	}
	for _, t := range have.Tasks {
		if vmid, err := proxmox.ParseVMID(t.ID); err == nil {
			near(vmid)
		}
	}
	var ask []proxmox.VMID
	for _, vmid := range append(text.Keys(named), text.Keys(candidates)...) {
		if _, seen := have.Others[vmid]; !seen && len(ask) < hiddenMost && !slices.Contains(ask, vmid) {
			ask = append(ask, vmid)
		}
	}
	slices.Sort(ask)
	return ask, nil
}
