package questions

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// A BirthPlan is the restore call of a guest, and what the plan says of it.
type BirthPlan struct {
	Spec    proxmox.RestoreSpec
	Storage string
	Detail  []string
}

// Birth builds the restore of an archive. Every net is sent, with a MAC: PVE keeps
// the archive's where none is sent (twins), and with unique=1 it overwrites what was
// sent. Volumes are sent only where they must be: with rootfs given, PVE makes
// exactly the mount points that are given and ignores the archive's own.
func Birth(q Questions, g *spec.Guest, source spec.Source, own bool, c *node.Choice) (*BirthPlan, *plan.Blocker) {
	in := c.Inside
	b := &BirthPlan{}
	root, _ := in.RootFS()
	rootStorage := ""
	if id, err := proxmox.ParseVolumeID(root.Volume()); err == nil {
		rootStorage = id.Storage
	}
	b.Storage = text.OrElse(g.Storage, rootStorage)
	if ob := TakesVolumes(q, b.Storage); ob != nil {
		return nil, ob
	}

	config := map[string]string{}
	for key, value := range g.Config.Values {
		if value != "" && key != "protection" {
			config[key] = value
		}
	}
	config["hostname"] = g.Hostname()
	if _, said := config["onboot"]; !said && !own {
		config["onboot"] = "0"
	}
	if in.Protection() || g.Config.Values["protection"] == "1" {
		config["protection"] = "0" // PVE refuses mount points of a protected guest; it is set at the end
	}
	if len(g.Config.Startup) > 0 {
		startup := proxmox.Startup{}
		if own {
			maps.Copy(startup, in.Startup())
		}
		maps.Copy(startup, g.Config.Startup)
		config["startup"] = startup.String()
	}
	had := ""
	if own {
		had = in.Raw["tags"]
	}
	if tags := AddTags(had, g.Config.Tags); tags != "" || !own && in.Raw["tags"] != "" {
		config["tags"] = tags // empty: else PVE gives it those of the archive, which are another guest's
	}
	config["description"] = marker.Describe(birthText(g, in, own), birthMarker(q, g, source, own, c))
	nets := birthNets(q, g, own, in)
	for i, net := range nets {
		config[fmt.Sprintf("net%d", i)] = net.String()
	}

	b.Spec = proxmox.RestoreSpec{VMID: g.VMID, Archive: c.Volume.VolID, Storage: b.Storage, Config: config}
	size, mounts, passed, ob := BirthVolumes(q, g, b.Storage, root, in)
	if ob != nil {
		return nil, ob
	}
	if passed {
		rootfs := maps.Clone(root) // its options stay
		rootfs["volume"] = proxmox.NewVolume(b.Storage, size)
		delete(rootfs, "size")
		b.Spec.RootFS = rootfs.String()
		b.Spec.MountPoints = map[int]string{}
		for i, mp := range mounts {
			b.Spec.MountPoints[i] = mp.sent.String()
		}
	}
	b.Detail = birthDetail(q, g, own, size, b.Storage, mounts, nets, in)
	return b, nil
}

// TakesVolumes says why a storage cannot hold a container's volumes, or nil.
func TakesVolumes(q Questions, storage string) *plan.Blocker {
	state := q.Have.Storages[storage]
	switch {
	case storage == "":
		return &plan.Blocker{Reason: "nothing says on which storage the guest is to be made", Fix: []string{"add storage: STORAGE"}}
	case state == nil:
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s does not exist%s, or the token may not see it", storage, DidYouMean(q, storage)), Fix: []string{"look: pvesm status"}}
	case !slices.Contains(state.Conf.Content, "rootdir"):
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s does not hold containers (content: %s)", storage, strings.Join(state.Conf.Content, ", ")),
			Fix: ContentFix(state.Conf, "rootdir")}
	case errors.Is(state.Err, node.ErrAmbiguous):
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s is not used: %v", storage, state.Err), Fix: []string{"compare: pvesm status"}}
	case state.Status == nil || !state.Status.Active:
		return &plan.Blocker{Reason: fmt.Sprintf("storage %s is not active", storage), Fix: []string{"look: pvesm status"}}
	}
	return Missing(q, "/storage/"+storage, "Datastore.AllocateSpace")
}

// birthText is the description that people read: the declared one, else for a guest
// from its own backup the one it had.
func birthText(g *spec.Guest, in proxmox.GuestConfig, own bool) string {
	if g.Config.Description != nil {
		return *g.Config.Description
	}
	if own {
		return marker.WithoutMarker(in.Description())
	}
	return ""
}

// birthMarker is the marker of the new guest: one brought back from its own backup
// keeps its birth, everything else is born now.
func birthMarker(q Questions, g *spec.Guest, source spec.Source, own bool, c *node.Choice) marker.Marker {
	m := marker.Marker{Object: g.Ref.Name, VMID: g.VMID, Owner: q.Have.Owner, Born: q.Have.Now}
	if old, ok := marker.OneMarker(c.Inside.Description()); ok && own && !old.Born.IsZero() {
		m.Born = old.Born
		for _, fact := range []string{"from", "template", "rollback"} { // a rollback that was carried out stays carried out
			m = m.With(fact, old.Facts[fact])
		}
	}
	switch {
	case source.Golden != "":
		m = m.With("from", "golden/"+source.Golden)
	case source.Archive != "" || !own:
		m = m.With("from", c.Volume.VolID)
	}
	return m
}

// birthNets are all nets of the archive and of the YAML, each with a MAC.
func birthNets(q Questions, g *spec.Guest, own bool, in proxmox.GuestConfig) map[int]proxmox.Net {
	nets := map[int]proxmox.Net{}
	for i, net := range in.Nets() {
		nets[i] = maps.Clone(net)
		if !own {
			delete(nets[i], "hwaddr")
		}
	}
	for i, declared := range g.Config.Nets {
		if nets[i] == nil {
			nets[i] = proxmox.Net{"name": "eth" + strconv.Itoa(i)}
		}
		maps.Copy(nets[i], declared)
	}
	for i, net := range nets {
		if net["hwaddr"] == "" {
			net["hwaddr"] = Mac(q.Have.Owner, g.VMID, i)
		}
	}
	return nets
}

// Mac is an address of our own: a hash of owner, VMID and N, locally administered,
// so that plans stay the same and two hosts with one household do not collide.
func Mac(owner string, vmid proxmox.VMID, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/net%d", owner, vmid, n))
	return fmt.Sprintf("BE:24:11:%02X:%02X:%02X", sum[0], sum[1], sum[2])
}

// A birthVolume is one volume mount point that the restore makes.
type birthVolume struct {
	path  string
	size  proxmox.Size
	empty bool               // new, or not contained in the archive
	sent  proxmox.MountPoint // as mpN
}

// BirthVolumes decides the sizes of rootfs and volumes, and whether they must be
// passed: when the YAML wants other sizes or more volumes than the archive has, or
// when the archive has bind mounts, which a token cannot restore.
func BirthVolumes(q Questions, g *spec.Guest, storage string, root proxmox.MountPoint, in proxmox.GuestConfig) (size proxmox.Size, volumes map[int]birthVolume, passed bool, ob *plan.Blocker) {
	size, _ = root.Size()
	if want := g.RootFS.Size; want > 0 && want != size {
		if want < size {
			return 0, nil, false, &plan.Blocker{Reason: fmt.Sprintf("rootfs is to be %s, but the archive's is %s, and what is in it must fit", want, size),
				Fix: []string{fmt.Sprintf("write rootfs: {size: %s}", size)}}
		}
		size, passed = want, true
	}
	volumes = map[int]birthVolume{}
	packed := in.MountPoints()
	for _, i := range slices.Sorted(maps.Keys(packed)) {
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
				return 0, nil, false, &plan.Blocker{Reason: fmt.Sprintf("mp%d is to be %s, but the archive's is %s", i, declared.Size, had), Fix: []string{fmt.Sprintf("write size: %s", had)}}
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
		volumes[i] = birthVolume{path: mp.Path(), size: had, empty: !mp.Backup(), sent: keep}
	}
	for i, declared := range g.Config.Mounts {
		if _, there := volumes[i]; there || declared.Bind() || declared.Volume != "" {
			continue
		}
		passed = true
		volumes[i] = birthVolume{path: declared.Path, size: declared.Size, empty: true, sent: NewVolume(declared)}
	}
	if passed && size == 0 {
		return 0, nil, false, &plan.Blocker{Reason: "the archive does not say how large its rootfs is", Fix: []string{"say it: rootfs: {size: 8G}"}}
	}
	for _, i := range slices.Sorted(maps.Keys(volumes)) {
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

// birthDetail is the line below a creation: what comes back, or what is made.
func birthDetail(q Questions, g *spec.Guest, own bool, size proxmox.Size, storage string, volumes map[int]birthVolume, nets map[int]proxmox.Net, in proxmox.GuestConfig) []string {
	var lines, back, empty []string
	for _, i := range slices.Sorted(maps.Keys(volumes)) {
		text := fmt.Sprintf("mp%d %s %s", i, volumes[i].path, volumes[i].size)
		if volumes[i].empty {
			empty = append(empty, text)
		} else {
			back = append(back, text)
		}
	}
	if own {
		lines = append(lines, "brings back: "+strings.Join(append([]string{"rootfs " + size.String()}, back...), ", "))
	} else {
		parts := []string{fmt.Sprintf("%s on %s", size, storage)}
		if cores := text.OrElse(g.Config.Values["cores"], in.Raw["cores"]); cores != "" {
			parts = append(parts, cores+" cores")
		}
		if memory := text.OrElse(g.Config.Values["memory"], in.Raw["memory"]); memory != "" {
			parts = append(parts, memory+" MiB")
		}
		for _, i := range slices.Sorted(maps.Keys(nets)) {
			parts = append(parts, fmt.Sprintf("net%d %s %s %s", i, nets[i]["bridge"], text.OrElse(nets[i]["ip"], "no address"), nets[i]["hwaddr"]))
		}
		lines = append(lines, strings.Join(append(parts, back...), ", "))
	}
	var folders []string
	for _, i := range slices.Sorted(maps.Keys(in.MountPoints())) {
		if mp := in.MountPoints()[i]; mp.Kind() != proxmox.VolumeMount && !g.Config.Mounts[i].Bind() {
			folders = append(folders, fmt.Sprintf("mp%d %s (%s on the host)", i, mp.Path(), mp.Volume()))
		}
	}
	if len(folders) > 0 {
		lines = append(lines, "not brought back, for the YAML does not declare it: "+strings.Join(folders, ", "))
	}
	if len(empty) > 0 {
		lines = append(lines, "new and empty: "+strings.Join(empty, ", "))
	}
	return lines
}

// AddTags adds tags to a list as PVE stores it, whose own stay as they are written: a
// datacenter's tag-style may tell cases apart, and only changed tags are checked.
func AddTags(list string, tags []string) string {
	all := strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(",; ", r) })
	have := proxmox.ParseTags(list)
	for _, tag := range tags {
		if !slices.Contains(have, tag) {
			all = append(all, tag)
		}
	}
	return proxmox.FormatTags(all)
}
