// Package forecast is the node as it will be when steps of a plan have been carried out: it knows what each
// request does to what the planners read, and nothing else. It is pure, and owns all that it changes: what
// was observed stays as it is. It plans nothing and knows no planner.
package forecast

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/spec"
)

// A Forecast is the node as it will be when the steps of a plan have been carried out.
// It knows what each request does to what the planner reads, and nothing else. It owns
// all that it changes: what was observed stays as it is.
type Forecast struct {
	Node    *node.Observed // as it will be
	want    *spec.Desired
	guests  map[proxmox.VMID]bool              // whose state is a copy already
	since   time.Time                          // when what is being applied was begun
	changed map[string]*proxmox.StorageContent // volume id -> as it will be; nil: it goes away
	indexed bool                               // the index of the volumes is a copy already
}

// New is the node as it is, before any step. What was observed is not changed by what follows.
func New(want *spec.Desired, have *node.Observed) *Forecast {
	node := *have
	node.Guests, node.Inside, node.Taken = maps.Clone(have.Guests), maps.Clone(have.Inside), maps.Clone(have.Taken)
	node.Storages = maps.Clone(have.Storages)
	m := &node.Memory
	m.Done, m.Made, m.Rollbacks, m.Archives = orNew(m.Done), orNew(m.Made), orNew(m.Rollbacks), orNew(m.Archives)
	m.Making = maps.Clone(m.Making)
	if have.Host != nil {
		host := *have.Host
		host.Mounts = slices.Clone(host.Mounts)
		node.Host = &host
	}
	node.Unread, node.Foretold = map[string]bool{}, map[string]bool{}
	return &Forecast{Node: &node, want: want, guests: map[proxmox.VMID]bool{}, changed: map[string]*proxmox.StorageContent{}}
}

// orNew is a copy of a map that can be written to.
func orNew[M ~map[K]V, K comparable, V any](m M) M {
	if m = maps.Clone(m); m == nil {
		m = M{}
	}
	return m
}

// guest is a guest's state, to be changed; nil where there is none.
func (f *Forecast) guest(vmid proxmox.VMID) *node.GuestState {
	state := f.Node.Guests[vmid]
	if state == nil || state.Config == nil {
		return nil
	}
	if f.guests[vmid] {
		return state
	}
	own := *state
	config := *state.Config
	config.Raw, config.Pending, config.Deleted = orNew(config.Raw), orNew(config.Pending), slices.Clone(config.Deleted)
	own.Config = &config
	if own.Snapshots != nil {
		snapshots := *own.Snapshots
		snapshots.Snapshots = slices.Clone(snapshots.Snapshots)
		own.Snapshots = &snapshots
	}
	f.Node.Guests[vmid], f.guests[vmid] = &own, true
	return &own
}

// Apply does what an action that was begun at a time does when it succeeds.
func (f *Forecast) Apply(a *plan.Action, since time.Time) {
	f.since = since
	memory := &f.Node.Memory
	memory.Done[a.ID] = true
	if a.Facts["makes"] != "" {
		memory.Made[a.Object.String()] = since
	}
	if key := a.Facts["rollback-mark"]; key != "" {
		state := memory.Rollbacks[key]
		state.Marked = true
		memory.Rollbacks[key] = state
	}
	if key := a.Facts["rollback"]; key != "" {
		memory.Rollbacks[key] = journal.RollbackState{Marked: true, Begun: true, Result: journal.ResultOK}
	}
	if a.Facts[journal.FactTest] != "" {
		f.test(a)
	}
	switch {
	case a.Op != nil:
		f.applyOp(a.Object, *a.Op)
	case a.Call != nil:
		f.applyCall(*a.Call)
	}
}

// destroy takes a guest away.
func (f *Forecast) destroy(vmid proxmox.VMID) {
	delete(f.Node.Guests, vmid)
	if _, there := f.Node.Others[vmid]; there {
		f.Node.Others = maps.Clone(f.Node.Others)
		delete(f.Node.Others, vmid)
	}
}

// Land ends an operation that runs: what shows that it runs is gone then.
func (f *Forecast) Land(flight *journal.Flight) {
	node := f.Node
	node.Memory.Flights = slices.DeleteFunc(slices.Clone(node.Memory.Flights), func(other journal.Flight) bool { return other.ID == flight.ID && other.Since.Equal(flight.Since) })
	if vmid, err := proxmox.ParseVMID(flight.Facts["makes"]); err == nil {
		delete(node.Memory.Making, vmid)
	}
	if node.Host != nil {
		node.Host.Running = slices.DeleteFunc(slices.Clone(node.Host.Running), func(op privileged.RunningOp) bool { return op.Queue == flight.Queue })
	}
	if id, ok := strings.CutPrefix(flight.Queue, "lxc/"); ok {
		node.Tasks = slices.DeleteFunc(slices.Clone(node.Tasks), func(t proxmox.Task) bool { return t.Running() && t.ID == id })
		if vmid, err := proxmox.ParseVMID(id); err == nil {
			if state := f.guest(vmid); state != nil {
				state.Lock = ""
				if flight.Verb == journal.VerbBackUp && flight.Effect == plan.Disruptive {
					starts(state) // which it shut down
				}
			}
		}
	}
}

// applyCall does what a request to the API does.
func (f *Forecast) applyCall(call proxmox.Call) {
	parts := strings.SplitN(strings.TrimPrefix(call.Path, "/nodes/"), "/", 4)
	switch {
	case len(parts) < 2:
	case parts[1] == "vzdump":
		f.backUp(call.Params)
	case parts[1] == "storage" && len(parts) == 4:
		_, volid, _ := strings.Cut(parts[3], "content/")
		f.content(call, volid)
	case parts[1] == "lxc" && len(parts) == 2:
		f.restore(call.Params)
	case parts[1] == "qemu" && len(parts) == 2:
		f.restoreVM(call.Params)
	case call.Destroys():
		if vmid, err := proxmox.ParseVMID(parts[2]); err == nil {
			f.destroy(vmid)
		}
	case (parts[1] == "lxc" || parts[1] == "qemu") && len(parts) == 4:
		if vmid, err := proxmox.ParseVMID(parts[2]); err == nil {
			if state := f.guest(vmid); state != nil {
				f.onGuest(state, call, parts[3])
			}
		}
	}
}
