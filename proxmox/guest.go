package proxmox

import (
	"context"
	"slices"
	"time"
)

// Guest is a container or a virtual machine as the list of a node shows it, live.
type Guest struct {
	VMID     VMID
	Type     GuestType
	Name     string // hostname, or CT111 (VM 101) without one
	Status   string // running or stopped
	Lock     string
	Tags     []string
	Template bool
	CPUs     float64 // how many it may use
	CPU      float64 // share of them in use, 0 to 1
	// Mem is what it uses. Setting a limit below it kills a running guest.
	Mem, MaxMem, Swap, MaxSwap, Disk, MaxDisk Size
	Uptime                                    time.Duration
	PID                                       int  // 0 unless running
	Ambiguous                                 bool // the list names it twice, with different values
}

// Running tells that the guest runs.
func (g Guest) Running() bool { return g.Status == "running" }

// GuestStatus is a container's live state with that of high availability.
type GuestStatus struct {
	Guest
	HA HA
}

// HA is what high availability has to do with a guest. For a managed one,
// start and stop only tell HA what is wanted: their tasks end before it is so.
type HA struct {
	Managed bool
	State   string
}

type guestWire struct {
	VMID                                              *number
	Name, Status, Lock, Tags                          text
	Template                                          flag
	CPUs, CPU                                         decimal
	Mem, MaxMem, Swap, MaxSwap, Disk, MaxDisk, Uptime number
	PID                                               number
	HA                                                struct {
		Managed flag
		State   text
	}
}

func (w guestWire) guest() Guest {
	g := Guest{
		Name: string(w.Name), Status: string(w.Status), Lock: string(w.Lock),
		Tags: ParseTags(string(w.Tags)), Template: bool(w.Template), CPUs: float64(w.CPUs), CPU: float64(w.CPU),
		Mem: Size(w.Mem), MaxMem: Size(w.MaxMem), Swap: Size(w.Swap), MaxSwap: Size(w.MaxSwap),
		Disk: Size(w.Disk), MaxDisk: Size(w.MaxDisk), Uptime: seconds(w.Uptime), PID: int(w.PID),
	}
	if w.VMID != nil {
		g.VMID = VMID(*w.VMID)
	}
	return g
}

// lasting is the guest without what changes from one moment to the next: how much it uses,
// and for how long it has run.
func (g Guest) lasting() Guest {
	g.CPU, g.Mem, g.Swap, g.Disk, g.Uptime, g.Ambiguous = 0, 0, 0, 0, 0, false
	return g
}

// ListLXC lists the containers of a node, by VMID, each once. PVE leaves out, without a
// word, those for which the token lacks VM.Audit.
func (v *View) ListLXC(ctx context.Context, node string) ([]Guest, error) {
	return v.list(ctx, LXC, node)
}

func (v *View) list(ctx context.Context, kind GuestType, node string) ([]Guest, error) {
	guests, err := readAs(ctx, v, On(node).path(kind.String()), nil, kind.guestsOf)
	guests = slices.Clone(guests)
	for i := range guests {
		guests[i].Tags = slices.Clone(guests[i].Tags)
	}
	return guests, err
}

func (kind GuestType) guestsOf(w []guestWire, r *reply) ([]Guest, error) {
	guests := make([]Guest, 0, len(w))
	for _, e := range w {
		if e.VMID == nil || e.Status == "" {
			return nil, r.fault("a guest has no vmid or status")
		}
		guest := e.guest()
		guest.Type = kind
		guests = append(guests, guest)
	}
	guests = distinct(guests, func(g Guest) VMID { return g.VMID }, func(first *Guest, later Guest) {
		first.Ambiguous = first.Ambiguous || differ(first.lasting(), later.lasting())
		first.Mem, first.Swap = max(first.Mem, later.Mem), max(first.Swap, later.Swap)
	})
	slices.SortFunc(guests, func(a, b Guest) int { return int(a.VMID - b.VMID) })
	return guests, nil
}

// GuestStatus asks for one container's live state.
func (v *View) GuestStatus(ctx context.Context, node string, vmid VMID) (GuestStatus, error) {
	return v.Of(LXC, node, vmid).Status(ctx)
}

// Status asks for the guest's live state.
func (g GuestView) Status(ctx context.Context) (GuestStatus, error) {
	w, r, err := read[guestWire](ctx, g.view, g.path("status", "current"), nil)
	if err != nil {
		return GuestStatus{}, err
	}
	if w.Status == "" {
		return GuestStatus{}, r.fault("it has no status")
	}
	s := GuestStatus{w.guest(), HA{bool(w.HA.Managed), string(w.HA.State)}}
	s.VMID, s.Type = g.vmid, g.kind // older versions leave it out
	return s, nil
}

// Feature asks it of a container; see [GuestView.Feature].
func (v *View) Feature(ctx context.Context, node string, vmid VMID, feature string) (bool, error) {
	return v.Of(LXC, node, vmid).Feature(ctx, feature)
}

// Feature tells whether PVE can do something with the guest as it is: snapshot,
// clone or copy. A snapshot is impossible when any mount point or drive cannot have
// one, a bind mount included.
func (g GuestView) Feature(ctx context.Context, feature string) (bool, error) {
	w, r, err := read[struct{ HasFeature *flag }](ctx, g.view, g.path("feature"), Params{"feature": feature})
	if err != nil {
		return false, err
	}
	if w.HasFeature == nil {
		return false, r.fault("it does not say hasFeature")
	}
	return bool(*w.HasFeature), nil
}
