package questions

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// TakesVolumes says why a storage cannot hold a container's volumes, or nil.
func TakesVolumes(q Questions, storage string) *plan.Blocker {
	return takes(q, storage, "rootdir", "containers")
}

// takes says why a storage cannot hold volumes of a kind of content, or nil.
func takes(q Questions, storage, content, what string) *plan.Blocker {
	state := q.Have.Storages[storage]
	switch {
	case storage == "":
		return &plan.Blocker{Reason: "nothing says on which storage the guest must be made", Fix: []string{"add storage: STORAGE"}}
	case state == nil:
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s does not exist%s, or the token may not see it", storage, DidYouMean(q, storage)), Fix: []string{"see: pvesm status"}}
	case !slices.Contains(state.Conf.Content, content):
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s does not hold %s (content: %s)", storage, what, strings.Join(state.Conf.Content, ", ")),
			Fix: ContentFix(state.Conf, content)}
	case errors.Is(state.Err, node.ErrAmbiguous):
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s is not used: %v", storage, state.Err), Fix: []string{"compare: pvesm status"}}
	case state.Status == nil || !state.Status.Active:
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s is not active", storage), Fix: []string{"see: pvesm status"}}
	}
	return Missing(q, "/storage/"+storage, "Datastore.AllocateSpace")
}

// A createdVolume is one volume mount point that the restore makes.
type createdVolume struct {
	path  string
	size  proxmox.Size
	empty bool               // new, or not contained in the archive
	sent  proxmox.MountPoint // as mpN
}

// CreatedVolumes decides the sizes of rootfs and volumes, and whether they must be
// passed: when the YAML wants other sizes or more volumes than the archive has, or
// when the archive has bind mounts, which a token cannot restore.
func CreatedVolumes(q Questions, g *spec.Guest, storage string, root proxmox.MountPoint, in proxmox.GuestConfig) (size proxmox.Size, volumes map[int]createdVolume, passed bool, ob *plan.Blocker) {
	size, _ = root.Size()
	if want := g.RootFS.Size; want > 0 && want != size {
		if want < size {
			return 0, nil, false, &plan.Blocker{Reason: fmt.Sprintf("rootfs: %s is declared, but the archive's is %s, and what is in it must fit", want, size),
				Fix: []string{fmt.Sprintf("write rootfs: {size: %s}", size)}}
		}
		size, passed = want, true
	}
	volumes = map[int]createdVolume{}
	packed := in.MountPoints()
	for _, i := range text.Keys(packed) {
		mp := packed[i]
		if mp.Kind() != proxmox.VolumeMount {
			passed = true
			continue
		}
		had, known := mp.Size()
		if !known {
			return 0, nil, false, &plan.Blocker{Reason: fmt.Sprintf("the archive does not say how large its mp%d is", i), Fix: []string{"restore it as root: pct restore"}}
		}
		keep := maps.Clone(mp)
		delete(keep, "size")
		at := storage
		if declared, ok := g.Config.Mounts[i]; ok && !declared.Bind() {
			if declared.Size > 0 && declared.Size < had {
				return 0, nil, false, &plan.Blocker{Reason: fmt.Sprintf("mp%d: %s is declared, but the archive's is %s", i, declared.Size, had), Fix: []string{fmt.Sprintf("write size: %s", had)}}
			}
			if declared.Size > had {
				had, passed = declared.Size, true
			}
			at = text.OrElse(declared.Storage, storage)
			if at != storage {
				passed = true
			}
		}
		keep["volume"] = proxmox.NewVolume(at, had)
		volumes[i] = createdVolume{path: mp.Path(), size: had, empty: !mp.Backup(), sent: keep}
	}
	for i, declared := range g.Config.Mounts {
		if _, there := volumes[i]; there || declared.Bind() || declared.Volume != "" {
			continue
		}
		passed = true
		volumes[i] = createdVolume{path: declared.Path, size: declared.Size, empty: true, sent: NewVolume(declared)}
	}
	if passed && size == 0 {
		return 0, nil, false, &plan.Blocker{Reason: "the archive does not say how large its rootfs is", Fix: []string{"say it: rootfs: {size: 8G}"}}
	}
	for _, i := range text.Keys(volumes) {
		id, err := proxmox.ParseVolumeID(volumes[i].sent.Volume())
		if err != nil {
			continue
		}
		if ob := TakesVolumes(q, id.Storage); ob != nil {
			return 0, nil, false, ob
		}
	}
	return size, volumes, passed, nil
}

// NewVolume is the value of mpN that makes PVE allocate the declared volume.
func NewVolume(declared spec.MountPoint) proxmox.MountPoint {
	mp := MountOptions(declared)
	mp["volume"] = proxmox.NewVolume(declared.Storage, declared.Size)
	return mp
}

// MountOptions are the declared sub-keys of a mount point, without the volume.
func MountOptions(declared spec.MountPoint) proxmox.MountPoint {
	mp := proxmox.MountPoint{"mp": declared.Path}
	maps.Copy(mp, declared.Options)
	if declared.Backup {
		mp["backup"] = "1"
	}
	if declared.ReadOnly {
		mp["ro"] = "1"
	}
	return mp
}
