package pvesim

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A place is where a storage's things are on one node, and how much room is there.
type place struct {
	st        *storage
	items     store
	disk      *disk // of directory storages
	dir       string
	total     int64
	s         *Sim
	datastore *datastore // of type pbs; items are what the storage's user sees of it
	ghost     bool       // nothing can be written: the disk was pulled, or this is an empty, immutable mount point
}

// used is the room that is taken. It looks at everything, so it is asked for only where it matters.
func (p *place) used() int64 {
	if p.disk != nil {
		return p.s.usedOn(p.disk)
	}
	if p.datastore != nil {
		return p.datastore.taken()
	}
	used := p.st.Reserve
	for _, v := range p.items {
		used += v.occupies()
	}
	return used
}

func (p *place) avail() int64 { return max(0, p.total-p.used()) }

func (st *storage) on(node string) bool { return len(st.Nodes) == 0 || contains(st.Nodes, node) }

func (st *storage) holds(content string) bool { return contains(st.Content, content) }

// isDir reports whether the storage keeps files in a directory.
func (st *storage) isDir() bool {
	switch st.Type {
	case "dir", "nfs", "cifs", "btrfs":
		return true
	}
	return false
}

// snapshots reports whether the storage's container volumes can be snapshot.
func (st *storage) snapshots() bool {
	switch st.Type {
	case "lvmthin", "zfspool", "rbd", "btrfs":
		return true
	}
	return false
}

// storageOn is a storage that exists, is enabled, and is there on the node.
func (s *Sim) storageOn(n *node, id string) (*storage, error) {
	st := s.storages[id]
	switch {
	case st == nil:
		return nil, fail("storage '%s' does not exist", id)
	case st.Disable:
		return nil, fail("storage '%s' is disabled", id)
	case !st.on(n.Name):
		return nil, fail("storage '%s' is not available on node '%s'", id, n.Name)
	}
	return st, nil
}

// place activates a storage on a node. PVE: Storage activate_storage.
func (s *Sim) place(n *node, st *storage) (*place, error) {
	p := &place{st: st, s: s}
	switch {
	case st.Type == "pbs":
		return s.datastorePlace(st)
	case st.Shared && st.Type != "dir":
		if s.w.Shared[st.ID] == nil {
			s.w.Shared[st.ID] = make(store)
		}
		p.items, p.total = s.w.Shared[st.ID], st.Size
	case st.isDir():
		m := n.mountAt(st.Path)
		if st.Mountpoint != "" && st.Mountpoint != "no" && st.Mountpoint != "0" {
			want := st.Path
			if strings.HasPrefix(st.Mountpoint, "/") {
				want = st.Mountpoint
			}
			if m.Target != want {
				return nil, fail("unable to activate storage '%s' - directory is expected to be a mount point but is not mounted: '%s'", st.ID, want)
			}
		}
		p.disk, p.ghost = n.diskOf(m), m.Ghost != nil || n.immutable(st.Path)
		if p.disk == nil {
			return nil, fail("unable to activate storage '%s' - directory '%s' does not exist or is unreachable", st.ID, st.Path)
		}
		p.dir = "/" + strings.TrimPrefix(strings.TrimPrefix(st.Path, m.Target), "/")
		if p.disk.Dirs == nil {
			p.disk.Dirs = make(map[string]store)
		}
		if p.disk.Dirs[p.dir] == nil {
			p.disk.Dirs[p.dir] = make(store)
		}
		p.items, p.total = p.disk.Dirs[p.dir], p.disk.Size
	default:
		if n.Pools[st.ID] == nil {
			n.Pools[st.ID] = make(store)
		}
		p.items, p.total = n.Pools[st.ID], st.Size
	}
	return p, nil
}

// missing is what the storage's tools say of a volume that is not there.
func (p *place) missing(volid string) error {
	if p.datastore != nil {
		return fmt.Errorf("Error: snapshot '%s' does not exist.", volid)
	}
	if p.st.isDir() {
		return fmt.Errorf("volume '%s' does not exist", volid)
	}
	_, name, _ := strings.Cut(volid, ":")
	return fmt.Errorf("no such logical volume %s/%s", p.st.vg(), name)
}

// occupies is the room that a volume takes.
func (v *volume) occupies() int64 {
	if v.Used > 0 || v.Format == "raw" || v.Format == "subvol" {
		return v.Used
	}
	return v.Size
}

func (s *Sim) usedOn(d *disk) int64 {
	used := d.Used
	for _, items := range d.Dirs {
		for _, v := range items {
			used += v.occupies()
		}
	}
	return min(used, d.Size)
}

func (s *Sim) freeOn(d *disk) int64 { return max(0, d.Size-s.usedOn(d)) }

// volume finds an image or file by its volume ID, on a node.
func (s *Sim) volume(n *node, volid string) (*volume, *place, error) {
	id, name, ok := strings.Cut(volid, ":")
	if !ok {
		return nil, nil, fail("unable to parse volume ID '%s'", volid)
	}
	st, err := s.storageOn(n, id)
	if err != nil {
		return nil, nil, err
	}
	p, err := s.place(n, st)
	if err != nil {
		return nil, nil, err
	}
	return p.items[name], p, nil
}

var (
	imageRE   = regexp.MustCompile(`^(?:(\d+)/)?(vm|subvol|base|basevol)-(\d+)-.+$`)
	archiveRE = regexp.MustCompile(`^backup/((?:[^/]+)\.(tar(?:\.(?:zst|gz|lzo|bz2))?|tgz|vma(?:\.(?:zst|gz|lzo))?))$`)
	dumpRE    = regexp.MustCompile(`^backup/vzdump-(lxc|openvz|qemu)-([1-9][0-9]{2,8})-(.+)\.(tar|tgz|vma)`)
	ourDumpRE = regexp.MustCompile(`^backup/vzdump-(lxc|openvz|qemu)-(\d+)-(.+)\.(tar|tgz|vma)`)
	ownedRE   = regexp.MustCompile(`-([1-9][0-9]{2,8})-[^/]+\.(?:tar|tgz|vma)`)
	stampRE   = regexp.MustCompile(`^(\d{4})_(\d\d)_(\d\d)-(\d\d)_(\d\d)_(\d\d)$`)
)

// kindOf is a volume's content type and owner (0: none). PVE: parse_volname.
func (st *storage) kindOf(name string) (kind string, owner int, err error) {
	switch {
	case st.Type == "pbs":
		if m := snapshotRE.FindStringSubmatch(name); m != nil {
			return "backup", atoi(m[2]), nil
		}
		return "", 0, fail("unable to parse PBS volume name '%s'", name)
	case strings.HasPrefix(name, "vztmpl/"):
		return "vztmpl", 0, nil
	case strings.HasPrefix(name, "iso/"):
		return "iso", 0, nil
	case strings.HasPrefix(name, "snippets/"):
		return "snippets", 0, nil
	case archiveRE.MatchString(name):
		if m := dumpRE.FindStringSubmatch(name); m != nil {
			owner = atoi(m[2])
		}
		return "backup", owner, nil
	}
	if m := imageRE.FindStringSubmatch(name); m != nil && st.isDir() == (m[1] != "") {
		return "images", atoi(m[3]), nil
	}
	return "", 0, fail("unable to parse %s volume name '%s'", map[bool]string{true: "directory", false: st.Type}[st.isDir()], name)
}

// freeName is the name for a guest's next volume. PVE: find_free_diskname.
func (p *place) freeName(vmid int, size int64) (name, format string) {
	for i := 0; ; i++ {
		base := fmt.Sprintf("%d-disk-%d", vmid, i)
		taken := false
		for n := range p.items {
			if m := imageRE.FindStringSubmatch(n); m != nil && m[3] == itoa(vmid) {
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
		case p.st.Type == "zfspool":
			return "subvol-" + base, "subvol"
		case p.st.isDir() && size == 0:
			return itoa(vmid) + "/subvol-" + base + ".subvol", "subvol"
		case p.st.isDir():
			return itoa(vmid) + "/vm-" + base + ".raw", "raw"
		}
		return "vm-" + base, "raw"
	}
}

// alloc makes an empty volume; the lines are what the tools print.
func (s *Sim) alloc(n *node, vmid int, storageID string, size int64) (volid string, lines []string, err error) {
	st, err := s.storageOn(n, storageID)
	if err != nil {
		return "", nil, err
	}
	p, err := s.place(n, st)
	if err != nil {
		return "", nil, err
	}
	if !st.holds("rootdir") {
		return "", nil, fail("storage '%s' does not allow content type 'rootdir' (Container)", storageID)
	}
	if p.ghost {
		return "", nil, fail("unable to create image: Input/output error")
	}
	name, format := p.freeName(vmid, size)
	p.items[name] = &volume{VMID: vmid, Size: size, Format: format, Created: s.now.Unix(), Data: emptyData}
	switch {
	case st.isDir() && format == "raw":
		lines = append(lines, fmt.Sprintf("Formatting '%s/images/%s', fmt=raw size=%d preallocation=off", st.Path, name, size))
	case st.Type == "lvmthin" || st.Type == "lvm":
		lines = append(lines, `  Logical volume "`+name+`" created.`, "  Logical volume "+st.vg()+"/"+name+" changed.")
	}
	if format == "raw" {
		block := int64(4096)
		if size < 512<<20 {
			block = 1024
		}
		lines = append(lines, fmt.Sprintf("Creating filesystem with %d %dk blocks and %d inodes", size/block, block/1024, size/16384),
			"Filesystem UUID: "+s.uuid(), "Superblock backups stored on blocks: ", superblocks(size/block, block))
	}
	return storageID + ":" + name, lines, nil
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

// free removes a volume with its snapshots.
func (s *Sim) free(n *node, volid string) (lines []string, err error) {
	v, p, err := s.volume(n, volid)
	if err != nil {
		return nil, err
	}
	_, name, _ := strings.Cut(volid, ":")
	if err := p.refuses(name, prunes); err != nil {
		return nil, err
	}
	if v == nil {
		if p.datastore != nil {
			return nil, p.missing(volid)
		}
		if p.st.isDir() {
			return []string{"disk image '" + p.st.file(name) + "' does not exist"}, nil
		}
		return nil, fail("no such logical volume %s/%s", p.st.vg(), name)
	}
	if v.Protected {
		return nil, fail("cannot remove protected volume '%s' on '%s'", name, p.st.ID)
	}
	if p.ghost {
		return nil, fail("unlink '%s' failed: Input/output error", p.st.file(name))
	}
	p.drop(name)
	if p.st.Type == "lvmthin" || p.st.Type == "lvm" {
		for _, snap := range v.Order {
			lines = append(lines, `  Logical volume "snap_`+name+"_"+snap+`" successfully removed.`)
		}
		lines = append(lines, `  Logical volume "`+name+`" successfully removed.`)
	}
	return lines, nil
}

func (st *storage) vg() string {
	if st.VG == "" {
		return "pve"
	}
	return st.VG
}

// file is the path of a volume of a directory storage.
func (st *storage) file(name string) string {
	kind, rest, _ := strings.Cut(name, "/")
	switch kind {
	case "backup":
		return st.Path + "/dump/" + rest
	case "vztmpl":
		return st.Path + "/template/cache/" + rest
	case "iso":
		return st.Path + "/template/iso/" + rest
	case "snippets":
		return st.Path + "/snippets/" + rest
	}
	return st.Path + "/images/" + name
}

// path is where the host finds a volume.
func (st *storage) path(name string) string {
	switch {
	case st.Type == "pbs":
		return fmt.Sprintf("pbs:%s@%s:%s:%s", st.user(), st.Server, st.Datastore, name)
	case st.isDir():
		return st.file(name)
	case st.Type == "zfspool":
		return "/" + st.Pool + "/" + name
	}
	return "/dev/" + st.vg() + "/" + name
}

// Fingerprints. A * at the end means: never started since it came from a template or was
// sealed, so that the first start writes what makes a machine its own.
const emptyData = "empty*"

// imprint is the fingerprint of data that came about by a history.
func imprint(history ...string) string {
	sum := sha1.Sum([]byte(strings.Join(history, "\x00")))
	return hex.EncodeToString(sum[:6])
}

func (s *Sim) uuid() string {
	sum := sha1.Sum([]byte("uuid " + itoa(s.serial())))
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-8" + h[17:20] + "-" + h[20:32]
}

// mac is a hardware address as PVE draws one, but by the world's count.
func (s *Sim) mac() string {
	sum := sha1.Sum([]byte("mac " + itoa(s.serial())))
	return fmt.Sprintf("BC:24:11:%02X:%02X:%02X", sum[0], sum[1], sum[2])
}

// parseSize reads sizes as PVE's disk-size: bytes, or K, M, G, T with decimals.
func parseSize(v string) int64 {
	if v == "" {
		return 0
	}
	unit := int64(1)
	switch v[len(v)-1] {
	case 'K':
		unit = 1 << 10
	case 'M':
		unit = 1 << 20
	case 'G':
		unit = 1 << 30
	case 'T':
		unit = 1 << 40
	}
	num := strings.TrimRight(v, "KMGT")
	f, err := strconv.ParseFloat(num, 64)
	if err != nil {
		return 0
	}
	return int64(f * float64(unit))
}

// formatSize prints in the largest unit that divides; nothing is 0T. PVE: format_size.
func formatSize(n int64) string {
	if n == 0 {
		return "0T"
	}
	units := []string{"", "K", "M", "G", "T"}
	i := 0
	for i < len(units)-1 && n%1024 == 0 {
		n /= 1024
		i++
	}
	return strconv.FormatInt(n, 10) + units[i]
}
