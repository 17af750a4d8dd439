// Package places is where the volumes of a storage lie on a node, and how much room there is:
// directories on disks, thin pools, datastores of a Proxmox Backup Server. Volumes are found,
// allocated and freed here.
package places

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// A Place is where a storage's things are on one node, and how much room is there.
type Place struct {
	Storage   *world.Storage
	Items     world.Store
	Disk      *world.Disk // of directory storages
	dir       string
	Total     int64
	Datastore *world.Datastore // of type pbs; items are what the storage's user sees of it
	Ghost     bool             // nothing can be written: the disk was pulled, or this is an empty, immutable mount point
}

// Used is the room that is taken. It looks at everything, so it is asked for only where it matters.
func (p *Place) Used() int64 {
	if p.Disk != nil {
		return p.Disk.Taken()
	}
	if p.Datastore != nil {
		return p.Datastore.Taken()
	}
	used := p.Storage.Reserve
	for _, v := range p.Items {
		used += v.Occupies()
	}
	return used
}

// Avail is the room that is left, in bytes.
func (p *Place) Avail() int64 { return max(0, p.Total-p.Used()) }

// StorageOn is a storage that exists, is enabled, and is there on the node.
func StorageOn(cl *cluster.Cluster, n *world.Node, id string) (*world.Storage, error) {
	st := cl.Storages[id]
	switch {
	case st == nil:
		return nil, refusal.Fail("storage '%s' does not exist", id)
	case st.Disable:
		return nil, refusal.Fail("storage '%s' is disabled", id)
	case !st.On(n.Name):
		return nil, refusal.Fail("storage '%s' is not available on node '%s'", id, n.Name)
	}
	return st, nil
}

// Of activates a storage on a node. PVE: Storage activate_storage.
func Of(cl *cluster.Cluster, n *world.Node, st *world.Storage) (*Place, error) {
	p := &Place{Storage: st}
	switch {
	case st.Type == "pbs":
		return datastorePlace(cl, st)
	case st.Shared && st.Type != "dir":
		if cl.World.Shared[st.ID] == nil {
			cl.World.Shared[st.ID] = make(world.Store)
		}
		p.Items, p.Total = cl.World.Shared[st.ID], st.Size
	case st.IsDir():
		m := n.MountAt(st.Path)
		if st.Mountpoint != "" && st.Mountpoint != "no" && st.Mountpoint != "0" {
			want := st.Path
			if strings.HasPrefix(st.Mountpoint, "/") {
				want = st.Mountpoint
			}
			if m.Target != want {
				return nil, refusal.Fail("unable to activate storage '%s' - directory is expected to be a mount point but is not mounted: '%s'", st.ID, want)
			}
		}
		p.Disk, p.Ghost = n.DiskOf(m), m.Ghost != nil || n.Immutable(st.Path)
		if p.Disk == nil {
			return nil, refusal.Fail("unable to activate storage '%s' - directory '%s' does not exist or is unreachable", st.ID, st.Path)
		}
		p.dir = "/" + strings.TrimPrefix(strings.TrimPrefix(st.Path, m.Target), "/")
		if p.Disk.Dirs == nil {
			p.Disk.Dirs = make(map[string]world.Store)
		}
		if p.Disk.Dirs[p.dir] == nil {
			p.Disk.Dirs[p.dir] = make(world.Store)
		}
		p.Items, p.Total = p.Disk.Dirs[p.dir], p.Disk.Size
	default:
		if n.Pools[st.ID] == nil {
			n.Pools[st.ID] = make(world.Store)
		}
		p.Items, p.Total = n.Pools[st.ID], st.Size
	}
	return p, nil
}

// Missing is what the storage's tools say of a volume that is not there.
func (p *Place) Missing(volid string) error {
	if p.Datastore != nil {
		return refusal.Fail("Error: snapshot '%s' does not exist.", volid)
	}
	if p.Storage.IsDir() {
		return fmt.Errorf("volume '%s' does not exist", volid)
	}
	_, name, _ := strings.Cut(volid, ":")
	return fmt.Errorf("no such logical volume %s/%s", p.Storage.VolumeGroup(), name)
}

// Find finds an image or file by its volume ID, on a node.
func Find(cl *cluster.Cluster, n *world.Node, volid string) (*world.Volume, *Place, error) {
	id, name, ok := strings.Cut(volid, ":")
	if !ok {
		return nil, nil, refusal.Fail("unable to parse volume ID '%s'", volid)
	}
	st, err := StorageOn(cl, n, id)
	if err != nil {
		return nil, nil, err
	}
	p, err := Of(cl, n, st)
	if err != nil {
		return nil, nil, err
	}
	return p.Items[name], p, nil
}

// FreeName is the name for a guest's next volume. PVE: find_free_diskname.
func (p *Place) FreeName(vmid int, size int64) (name, format string) {
	for i := 0; ; i++ {
		base := fmt.Sprintf("%d-disk-%d", vmid, i)
		taken := false
		for n := range p.Items {
			if m := world.ImageRE.FindStringSubmatch(n); m != nil && m[3] == strconv.Itoa(vmid) {
				rest := n[strings.Index(n, m[2]+"-"+m[3]):]
				if strings.HasPrefix(strings.TrimPrefix(rest, m[2]+"-")+".", base+".") {
					taken = true
				}
			}
		}
		if taken {
			continue
		}
		switch {
		case p.Storage.Type == "zfspool":
			return "subvol-" + base, "subvol"
		case p.Storage.IsDir() && size == 0:
			return strconv.Itoa(vmid) + "/subvol-" + base + ".subvol", "subvol"
		case p.Storage.IsDir():
			return strconv.Itoa(vmid) + "/vm-" + base + ".raw", "raw"
		}
		return "vm-" + base, "raw"
	}
}

// Alloc makes an empty volume; the lines are what the tools print.
func Alloc(cl *cluster.Cluster, n *world.Node, vmid int, storageID string, size int64) (volid string, lines []string, err error) {
	st, err := StorageOn(cl, n, storageID)
	if err != nil {
		return "", nil, err
	}
	p, err := Of(cl, n, st)
	if err != nil {
		return "", nil, err
	}
	if !st.Holds("rootdir") {
		return "", nil, refusal.Fail("storage '%s' does not allow content type 'rootdir' (Container)", storageID)
	}
	if p.Ghost {
		return "", nil, refusal.Fail("unable to create image: Input/output error")
	}
	name, format := p.FreeName(vmid, size)
	p.Items[name] = &world.Volume{VMID: vmid, Size: size, Format: format, Created: cl.Now.Unix(), Data: world.EmptyData}
	switch {
	case st.IsDir() && format == "raw":
		lines = append(lines, fmt.Sprintf("Formatting '%s/images/%s', fmt=raw size=%d preallocation=off", st.Path, name, size))
	case st.Type == "lvmthin" || st.Type == "lvm":
		lines = append(lines, `  Logical volume "`+name+`" created.`, "  Logical volume "+st.VolumeGroup()+"/"+name+" changed.")
	}
	if format == "raw" {
		block := int64(4096)
		if size < 512<<20 {
			block = 1024
		}
		lines = append(lines, fmt.Sprintf("Creating filesystem with %d %dk blocks and %d inodes", size/block, block/1024, size/16384),
			"Filesystem UUID: "+UUID(cl), "Superblock backups stored on blocks: ", superblocks(size/block, block))
	}
	return storageID + ":" + name, lines, nil
}

// AllocImage makes an empty disk of a virtual machine.
func AllocImage(cl *cluster.Cluster, n *world.Node, vmid int, storageID string, size int64) (volid string, err error) {
	st, err := StorageOn(cl, n, storageID)
	if err != nil {
		return "", err
	}
	p, err := Of(cl, n, st)
	if err != nil {
		return "", err
	}
	if !st.Holds("images") {
		return "", refusal.Fail("Content type 'images' is not available on storage '%s'", storageID)
	}
	if p.Ghost {
		return "", refusal.Fail("unable to create image: Input/output error")
	}
	name, _ := p.FreeName(vmid, size)
	name = strings.Replace(name, "subvol-", "vm-", 1)
	p.Items[name] = &world.Volume{VMID: vmid, Size: size, Format: "raw", Created: cl.Now.Unix(), Data: world.EmptyData}
	return storageID + ":" + name, nil
}

// superblocks are where ext4 keeps copies: groups 1 and the powers of 3, 5 and 7.
func superblocks(blocks, block int64) string {
	per, first := block*8, int64(0)
	if block == 1024 {
		first = 1
	}
	isPower := func(n, of int64) bool {
		for n%of == 0 {
			n /= of
		}
		return n == 1
	}
	var at []string
	for g := int64(1); g*per+first < blocks; g++ {
		if g == 1 || isPower(g, 3) || isPower(g, 5) || isPower(g, 7) {
			at = append(at, strconv.FormatInt(g*per+first, 10))
		}
	}
	return "\t" + strings.Join(at, ", ")
}

// Free removes a volume with its snapshots.
func Free(cl *cluster.Cluster, n *world.Node, volid string) (lines []string, err error) {
	v, p, err := Find(cl, n, volid)
	if err != nil {
		return nil, err
	}
	_, name, _ := strings.Cut(volid, ":")
	if err := p.Refuses(name, world.Prunes); err != nil {
		return nil, err
	}
	if v == nil {
		if p.Datastore != nil {
			return nil, p.Missing(volid)
		}
		if p.Storage.IsDir() {
			return []string{"disk image '" + p.Storage.File(name) + "' does not exist"}, nil
		}
		return nil, refusal.Fail("no such logical volume %s/%s", p.Storage.VolumeGroup(), name)
	}
	if v.Protected {
		return nil, refusal.Fail("cannot remove protected volume '%s' on '%s'", name, p.Storage.ID)
	}
	if p.Ghost {
		return nil, refusal.Fail("unlink '%s' failed: Input/output error", p.Storage.File(name))
	}
	p.Drop(name)
	if p.Storage.Type == "lvmthin" || p.Storage.Type == "lvm" {
		for _, snap := range v.Order {
			lines = append(lines, `  Logical volume "snap_`+name+"_"+snap+`" successfully removed.`)
		}
		lines = append(lines, `  Logical volume "`+name+`" successfully removed.`)
	}
	return lines, nil
}

// UUID is the UUID of a new file system, by the world's count.
func UUID(cl *cluster.Cluster) string {
	sum := sha1.Sum([]byte("uuid " + strconv.Itoa(cl.World.NextSerial())))
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-8" + h[17:20] + "-" + h[20:32]
}
