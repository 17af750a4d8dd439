package node

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/state"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// Observed is the world at one moment, as far as the desired state needs it. It is
// the second input of NewPlan, which does nothing but read it.
type Observed struct {
	Node    string
	Owner   string // the key owner: whose markers are ours
	Version string // PVE's
	TokenID string
	// CPUs and RAM are what the node has; 0 where the token may not know (Sys.Audit).
	CPUs         int
	RAM, RAMUsed proxmox.Size
	// FreeRAM is what of it no process holds; 0 where it was not asked, which is done only where a restore test is due.
	FreeRAM proxmox.Size
	// Bridges are those of the node's network configuration; nil where it was not asked, or not told.
	Bridges []string
	Now     time.Time // the node's clock, in the node's zone
	Elapsed time.Duration
	// Requests is how many API requests the look cost.
	Requests int

	Permissions proxmox.Permissions
	Guests      map[proxmox.VMID]*GuestState      // the containers of this node, and its declared VMs
	Nodes       []string                          // of the cluster
	Others      map[proxmox.VMID]proxmox.Resource // every guest of the cluster that the token sees
	Storages    map[string]*StorageState
	Tasks       []proxmox.Task // those that run, and the latest that ended
	AllTasks    bool           // that list is not cut off
	Taken       map[proxmox.VMID]bool
	Inside      map[string]Inside // the config inside an archive, by volume id
	Host        *HostState        // nil where the agent has no fence
	HostReason  string            // why there is no Host

	Memory journal.Memory
	Stored state.Stored
	// Scope limits a plan to these objects; nil means all.
	Scope map[spec.Ref]bool
	// Part are, of a backup that is in the scope only for some of its guests, these.
	Part map[spec.Ref][]string
	// Named are the objects that a person named with --only.
	Named        map[spec.Ref]bool
	AtOnce       AtOnce     // what a person wants made now
	Watching     bool       // nobody is looking: some operations wait for a person
	Unreviewed   bool       // nobody sees this plan before it is carried out: no guest is deleted that no earlier one had
	Drift        spec.Drift // the default of agent.yaml
	MaxDeletions int
	NotifyPVE    bool // PVE tells of each backup by its own notifications
	// Tests is with what restore tests are sent.
	Tests TestAccess

	// Unread are, in a forecast, the mounts whose disk will be mounted: what is on it
	// shows only then.
	Unread map[string]bool
	// Foretold are, in a forecast, the archives that it has made: they are not ahead of the
	// clock, whatever their time.
	Foretold map[string]bool

	ByID    map[string]*proxmox.StorageContent
	ByGuest map[proxmox.VMID][]*proxmox.StorageContent
	// Checkable are the archives of ours without a noted size whose contents the root helper
	// can check.
	Checkable map[string]bool
	Listed    map[string]time.Time // volume id -> the listed time, where the archive was begun at another
	ByObject  map[string][]*proxmox.StorageContent
	// marks are the markers in the notes of archives, by the notes.
	marks map[string]noted
}

// InScope reports whether an object is looked at.
func (o *Observed) InScope(ref spec.Ref) bool { return o.Scope == nil || o.Scope[ref] }

// ErrAmbiguous is why a thing that PVE's list names twice, with different values, counts as
// unread: neither of the two is known to be right.
var ErrAmbiguous = errors.New("the list of PVE names it twice, with different values")

// GuestState is one guest of the node.
type GuestState struct {
	proxmox.Guest
	Config    *proxmox.GuestConfig // nil where it was not looked at
	Snapshots *proxmox.SnapshotList
	// CanSnapshot is PVE's own word on whether every mount point can be snapshotted;
	// asked only where a snapshot is to be made.
	CanSnapshot *bool
	// Rollback is the config section of the snapshot that a rollback names.
	Rollback *proxmox.GuestConfig
	HA       string // the state that HA wants, where HA manages the guest
	// Mounts is the mount table of the running guest's init; asked only for binds of
	// declared disks.
	Mounts []privileged.GuestMount
	// Memory is what the kernel charges to the running guest; nil where it was not
	// asked, which is done only where a limit is to be lowered.
	Memory *privileged.GuestMemory
	// Closed is why the root helper would refuse to probe the guest; nil where it would not, or was
	// not asked, which is done only where the YAML guards the guest.
	Closed *privileged.RefusedError
	Err    error
}

// CutOff reports whether the config of a guest is the one line that PVE writes when a creation
// begins.
func CutOff(state *GuestState) bool {
	if state == nil || state.Config == nil || state.Lock != "create" {
		return false
	}
	_, root := state.Config.Raw["rootfs"]
	return !root && state.Config.Description() == "" && state.Config.Hostname() == ""
}

// Wreck reports whether a guest is what a failed restore of a virtual machine leaves (PVE:
// QemuServer, restore_vma_archive: "VM state is NOT cleaned up"): nothing but a default memory.
func Wreck(state *GuestState) bool {
	if state == nil || !state.Type.VM() || state.Config == nil || state.Lock != "" || state.Status == "running" {
		return false
	}
	for key, value := range state.Config.Raw {
		if key != "memory" || value != "128" {
			return false
		}
	}
	return true
}

// StorageState is one storage: its definition, its state on this node, its content.
type StorageState struct {
	Conf    proxmox.Storage
	Status  *proxmox.StorageStatus // nil where the node's list does not show it
	Content []proxmox.StorageContent
	Read    bool // Content was read
	Err     error
}

// Inside is the config inside an archive, or why it could not be read.
type Inside struct {
	Config proxmox.GuestConfig
	Err    error
}

// HostState is what the queries of the root helper tell of the node's machine.
type HostState struct {
	Mounts  []privileged.Mount
	Disks   []privileged.Disk
	Running []privileged.RunningOp
	Failing map[string]string // UUIDs of disks whose SMART says that they fail -> which they are
	Folders map[string]bool   // "media/library" -> is a folder on the mounted disk
	Barred  map[string]string // folders at which the root helper does not look -> why
}

// DeclaredVMIDs are the VMIDs that the desired state names.
func DeclaredVMIDs(want *spec.Desired) map[proxmox.VMID]bool {
	guests := want.AllGuests()
	ids := make(map[proxmox.VMID]bool, len(guests)+len(want.Golden))
	for _, golden := range want.Golden {
		ids[golden.VMID] = true
	}
	for _, guest := range guests {
		ids[guest.VMID] = true
	}
	return ids
}

// Typed is the desired state with the types that the guests of this node were found to have.
func Typed(want *spec.Desired, o *Observed) *spec.Desired {
	return want.Typed(func(vmid proxmox.VMID) bool {
		if state := o.Guests[vmid]; state != nil {
			return state.Type.VM()
		}
		r, there := o.Others[vmid]
		return there && !r.Ambiguous && proxmox.GuestTypeOf(r.Type).VM()
	})
}

// DeclaredVMs are the VMIDs that the desired state declares as virtual machines.
func DeclaredVMs(want *spec.Desired) map[proxmox.VMID]bool {
	vms := map[proxmox.VMID]bool{}
	for _, guest := range want.AllGuests() {
		if guest.Type.VM() {
			vms[guest.VMID] = true
		}
	}
	return vms
}

// MountOf returns the declared mount under which a storage's path lies, and whether
// one of its disks is mounted there now. Without a root helper PVE's own word counts: an
// is_mountpoint storage is active only while something is mounted.
func (o *Observed) MountOf(want *spec.Desired, storage string) (*spec.Mount, bool) {
	state := o.Storages[storage]
	var first *spec.Mount
	for _, m := range want.Mounts {
		under := m.Storage == storage || state != nil && state.Conf.Path != "" && Within(m.Path, state.Conf.Path)
		if under && o.HasMount(m) && (first == nil || m.Ref.Name < first.Ref.Name) {
			first = m
		}
	}
	switch {
	case first == nil:
		return nil, false
	case o.Host != nil:
		_, mounted := o.MountedDisk(first)
		return first, mounted
	}
	return first, state != nil && state.Conf.IsMountpoint != "" && state.Status != nil && state.Status.Active
}

// HasMount reports whether a mount may be one of this node: another node may have one at
// the same path.
func (o *Observed) HasMount(m *spec.Mount) bool { return m.Node == "" || m.Node == o.Node }

// Disks lists the disks that are plugged in, as "/dev/sdb1 6f1e2a30-…".
func (o *Observed) Disks() (plugged []string) {
	if o.Host == nil {
		return nil
	}
	for _, d := range o.Host.Disks {
		plugged = append(plugged, d.Device+" "+text.OrElse(d.UUID, "does not answer"))
	}
	return plugged
}

// MountedDisk returns the declared disk that is mounted at the mount's path now.
func (o *Observed) MountedDisk(m *spec.Mount) (spec.Disk, bool) {
	if o.Host == nil {
		return spec.Disk{}, false
	}
	for _, have := range o.Host.Mounts {
		if have.Path != m.Path || !have.Mounted || have.Gone {
			continue
		}
		for _, disk := range m.UUIDs {
			if strings.EqualFold(disk.UUID, have.UUID) {
				return disk, true
			}
		}
	}
	return spec.Disk{}, false
}

// Within reports whether path is dir or lies below it.
func Within(dir, path string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// Task returns the running task of one of the types (any, if none is given) that
// works on a guest.
func (o *Observed) Task(vmid proxmox.VMID, types ...string) *proxmox.Task {
	id := ""
	for i := range o.Tasks {
		t := &o.Tasks[i]
		if !t.Running() || len(types) > 0 && !slices.Contains(types, t.Type) {
			continue
		}
		if id == "" {
			id = vmid.String()
		}
		if owner, _, _ := strings.Cut(t.ID, "@"); owner == id {
			return t
		}
	}
	return nil
}

// Holder is the running task that has a guest to itself: one on that guest, or, where the
// guest has the lock of a backup, a job of several guests, which names none of them.
func (o *Observed) Holder(vmid proxmox.VMID) *proxmox.Task {
	if t := o.Task(vmid); t != nil {
		return t
	}
	if state := o.Guests[vmid]; state == nil || state.Lock != "backup" && state.Lock != "snapshot" {
		return nil
	}
	jobs := o.TasksOf("vzdump")
	if i := slices.IndexFunc(jobs, func(t proxmox.Task) bool { return t.ID == "" }); i >= 0 {
		return &jobs[i]
	}
	return nil
}
