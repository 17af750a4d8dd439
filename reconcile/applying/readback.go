package applying

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/compare"
	"github.com/felhom/felhom-agent/reconcile/journal"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
)

// An unseenError is an operation that PVE says is done, and whose effect the node does not show.
type unseenError struct {
	missing string // what is not as it was to be
	fix     string // what a person can do about it; "" for nothing in particular
}

func (e *unseenError) Error() string { return "PVE ended it with OK, but " + e.missing }

// A sighting is what one request shows of what a call was to do; the rest is zero.
type sighting struct {
	config    *proxmox.GuestConfig
	snapshots *proxmox.SnapshotList
	status    *proxmox.GuestStatus
	volumes   []proxmox.StorageContent
}

// readBack asks the node, with one request, whether it is as an operation was to make it, and
// returns an unseenError where it is not. PVE's own word is not enough: a snapshot whose
// guest dies meanwhile ends with OK and leaves its lock and half a snapshot, and a PUT that
// answers 500 may have been carried out (both measured, PVE 9.2.11).
func (w *waiter) readBack(ctx context.Context, operation *journal.Operation, made dump) error {
	if operation.Call.Destroys() {
		return w.gone(ctx, operation)
	}
	if ofTest(operation) { // the next step of the test reads its guest, whatever PVE says of this one
		return nil
	}
	see, err := w.see(ctx, operation.Call, made)
	if proxmox.IsNotFound(err) {
		return &unseenError{missing: "it no longer exists: " + plainError(err)}
	}
	if err != nil {
		return err
	}
	if missing, fix := lacks(operation.Call, see, made); missing != "" {
		return &unseenError{missing, fix}
	}
	return nil
}

// see makes the one request.
func (w *waiter) see(ctx context.Context, call *proxmox.Call, made dump) (seen sighting, err error) {
	view, vmid := w.O.Client, GuestOf(call)
	guest := view.Of(plan.TypeInPath(call.Path), w.O.Node, vmid)
	switch kind := actOf(call); kind {
	case "snapshot", "delsnapshot":
		list, err := guest.Snapshots(ctx)
		return sighting{snapshots: &list}, err
	case "start", "stop", "shutdown", "reboot":
		status, err := guest.Status(ctx)
		return sighting{status: &status}, err
	case "vzdump":
		if made.file == "" { // its log is gone, and tells no more what it was called
			return seen, nil
		}
		seen.volumes, err = view.StorageContent(ctx, w.O.Node, call.Params["storage"], proxmox.ContentFilter{Content: "backup", VMID: vmid})
		return seen, err
	case "create", "restore", "rollback":
		config, err := guest.Config(ctx)
		return sighting{config: &config}, err
	}
	if _, volid, ok := strings.Cut(call.Path, "/content/"); ok {
		archive, _ := proxmox.ParseArchive(volid)
		seen.volumes, err = view.StorageContent(ctx, w.O.Node, text.ProxmoxStorage(volid), proxmox.ContentFilter{VMID: archive.VMID})
		return seen, err
	}
	config, err := guest.Pending(ctx) // what is in force, and what waits, apart
	return sighting{config: &config}, err
}

// GuestOf is the guest that a call changes, or 0.
func GuestOf(call *proxmox.Call) proxmox.VMID {
	id := call.Params["vmid"]
	if m := plan.VmidInPath.FindStringSubmatch(call.Path); m != nil {
		id = m[1]
	}
	vmid, _ := proxmox.ParseVMID(id)
	return vmid
}

// lacks says what a sighting shows not to be as a call was to make it, and the fix; "" where
// its effect is there.
func lacks(call *proxmox.Call, s sighting, made dump) (missing, fix string) {
	vmid, tool := GuestOf(call), plan.TypeInPath(call.Path).Tool()
	switch kind := actOf(call); kind {
	case "snapshot":
		return lacksSnapshot(vmid, tool, call.Params["snapname"], s.snapshots)
	case "delsnapshot":
		_, name, _ := strings.Cut(call.Path, "/snapshot/")
		if slices.ContainsFunc(s.snapshots.Snapshots, func(have proxmox.Snapshot) bool { return have.Name == name }) {
			return fmt.Sprintf("the snapshot %s of %d is still there", name, vmid), unlockSnapshot(tool, vmid, name)
		}
	case "start", "reboot":
		if !s.status.HA.Managed && !s.status.Running() { // HA starts what it manages after the task
			return fmt.Sprintf("%d is %s", vmid, s.status.Status), "see why it ends: " + startByHand(tool, vmid)
		}
	case "stop", "shutdown":
		if !s.status.HA.Managed && s.status.Running() {
			return fmt.Sprintf("%d still runs", vmid), ""
		}
	case "vzdump":
		return lacksArchive(made, s.volumes), ""
	case "imgdel":
		_, volid, _ := strings.Cut(call.Path, "/content/")
		if volumeIn(s.volumes, volid) != nil {
			return volid + " is still there", ""
		}
	case "create", "restore", "rollback", "resize":
		return lacksGuest(call, kind, vmid, s.config)
	default:
		return lacksValue(call, s), ""
	}
	return "", ""
}

func lacksSnapshot(vmid proxmox.VMID, tool, name string, list *proxmox.SnapshotList) (missing, fix string) {
	i := slices.IndexFunc(list.Snapshots, func(have proxmox.Snapshot) bool { return have.Name == name })
	switch {
	case i < 0:
		return fmt.Sprintf("%d has no snapshot %s", vmid, name), ""
	case list.Snapshots[i].State != "":
		return fmt.Sprintf("the snapshot %s of %d is not complete (%s)", name, vmid, list.Snapshots[i].State),
			unlockSnapshot(tool, vmid, name)
	}
	return "", ""
}

func unlockSnapshot(tool string, vmid proxmox.VMID, name string) string {
	return fmt.Sprintf("%s unlock %d && %s delsnapshot %d %s --force", tool, vmid, tool, vmid, name)
}

func startByHand(tool string, vmid proxmox.VMID) string {
	if tool == "qm" {
		return fmt.Sprintf("qm start %d", vmid)
	}
	return fmt.Sprintf("pct start %d --debug", vmid)
}

// actOf is what the task of a call does: "restore" of vzrestore and qmrestore; of other tasks
// their type.
func actOf(call *proxmox.Call) string {
	kind, _ := TaskOf(call)
	return cmp.Or(proxmox.TaskAct(kind), kind)
}

// lacksArchive compares what vzdump printed with what the storage lists.
func lacksArchive(made dump, volumes []proxmox.StorageContent) string {
	if made.file == "" {
		return ""
	}
	i := slices.IndexFunc(volumes, func(v proxmox.StorageContent) bool { return strings.HasSuffix(v.VolID, "/"+made.file) })
	switch {
	case i < 0:
		return fmt.Sprintf("the storage does not list the backup %s", made.file)
	case made.size != "" && !node.OnServer(volumes[i]) && node.DumpSize(volumes[i].Size) != made.size:
		return fmt.Sprintf("the backup %s is not complete: %s of %s", made.file, node.DumpSize(volumes[i].Size), made.size)
	}
	return ""
}

// lacksGuest looks at what a creation, a rollback or a resize leaves: a guest without a
// lock, with its volumes.
func lacksGuest(call *proxmox.Call, kind string, vmid proxmox.VMID, config *proxmox.GuestConfig) (missing, fix string) {
	if config.Type.VM() {
		return lacksVM(call, kind, vmid, config)
	}
	root, ok := config.RootFS()
	switch id, err := proxmox.ParseVolumeID(root.Volume()); {
	case config.Lock() != "" && kind != "resize":
		return fmt.Sprintf("%d is locked (%s)", vmid, config.Lock()), fmt.Sprintf("see what locks it: pct config %d; if nothing does: pct unlock %d", vmid, vmid)
	case !ok || err != nil || id.Storage == "":
		return fmt.Sprintf("%d has no rootfs", vmid), ""
	}
	switch kind {
	case "rollback":
		if _, name, _ := strings.Cut(strings.TrimSuffix(call.Path, "/rollback"), "/snapshot/"); config.Parent() != name {
			return fmt.Sprintf("%d does not stem from the snapshot %s", vmid, name), ""
		}
	case "resize":
		mp, err := proxmox.ParseMountPoint(config.Raw[call.Params["disk"]])
		if call.Params["disk"] == "rootfs" {
			mp, err = root, nil
		}
		want, wantErr := proxmox.ParseSize(call.Params["size"])
		if size, sized := mp.Size(); err != nil || wantErr != nil || !sized || size < want {
			return fmt.Sprintf("%s of %d is %s", call.Params["disk"], vmid, text.OrElse(mp["size"], "of no known size")), fmt.Sprintf("pct rescan --vmid %d", vmid)
		}
	default:
		for _, key := range sortedMounts(call.Params) {
			if !compare.SameStored(key, call.Params[key], config.Raw[key]) {
				return fmt.Sprintf("%s of %d is %s", key, vmid, text.OrElse(config.Raw[key], "missing")), ""
			}
		}
	}
	return "", ""
}

// sortedMounts are the mount points that a restore names.
func sortedMounts(params proxmox.Params) (keys []string) {
	for key := range params {
		if node.MountKey.MatchString(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// lacksValue compares the values that a call was to store, in a config or in the notes of an
// archive, with those that are stored.
func lacksValue(call *proxmox.Call, s sighting) string {
	if _, volid, ok := strings.Cut(call.Path, "/content/"); ok {
		first, _, _ := strings.Cut(call.Params["notes"], "\n")
		switch v := volumeIn(s.volumes, volid); {
		case v == nil:
			return volid + " is not listed"
		case v.Notes != first:
			return "the notes of " + volid + " are others"
		}
		return ""
	}
	var others []string
	values := node.Effective(s.config)
	for key, value := range call.Params {
		switch {
		case key == "digest":
		case key == "delete":
			for gone := range strings.SplitSeq(value, ",") {
				if values[gone] != "" {
					others = append(others, gone)
				}
			}
		case !compare.SameStored(key, value, values[key]):
			others = append(others, key)
		}
	}
	if len(others) == 0 {
		return ""
	}
	slices.Sort(others)
	return fmt.Sprintf("%d is not as sent: %s", GuestOf(call), strings.Join(others, ", "))
}

func volumeIn(volumes []proxmox.StorageContent, volid string) *proxmox.StorageContent {
	if i := slices.IndexFunc(volumes, func(v proxmox.StorageContent) bool { return v.VolID == volid }); i >= 0 {
		return &volumes[i]
	}
	return nil
}
