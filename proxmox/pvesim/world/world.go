// Package world is what a world file holds: nodes with their disks, mounts and tasks, guests,
// storages with their volumes, users, faults. It is data with the questions that it can answer
// alone; it has no clock and changes nothing by itself.
package world

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"time"
	_ "time/tzdata"

	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
)

// Format is the version of the world file that this package reads and writes.
const Format = 1

// A World is everything that a world file holds.
type World struct {
	Format     int              `yaml:"format"`
	Clock      time.Time        `yaml:"clock"`
	Speed      float64          `yaml:"speed,omitempty"`
	Version    string           `yaml:"version"`
	NoQuorum   bool             `yaml:"no-quorum,omitempty"`
	Agent      string           `yaml:"agent,omitempty"` // the token that TokenID names
	Access     Access           `yaml:"access"`
	Storages   []*Storage       `yaml:"storages"`
	Nodes      []*Node          `yaml:"nodes"`
	Shared     map[string]Store `yaml:"shared,omitempty"`     // what shared storages hold
	Datastores []*Datastore     `yaml:"datastores,omitempty"` // of backup servers
	Guests     []*Guest         `yaml:"guests"`
	Pools      []*Pool          `yaml:"pools,omitempty"`
	Jobs       []map[string]any `yaml:"backup-jobs,omitempty"`
	Tags       []string         `yaml:"registered-tags,omitempty"`
	Faults     []*Fault         `yaml:"faults,omitempty"`
	Events     []*Event         `yaml:"events,omitempty"`
	Boots      map[string]int   `yaml:"boots,omitempty"` // first starts seen per VMID/volume
	Serial     int              `yaml:"serial"`          // what MACs and file system UUIDs are made from
}

// A Node is one member of the cluster and the machine under it.
type Node struct {
	Name    string            `yaml:"name"`
	Zone    string            `yaml:"zone"`
	Boot    int64             `yaml:"boot"`
	IP      string            `yaml:"ip,omitempty"`
	Down    bool              `yaml:"down,omitempty"`
	Local   string            `yaml:"local,omitempty"` // where /etc/pve/local points, when not to this node
	CPUs    int               `yaml:"cpus"`
	Memory  int64             `yaml:"memory"`
	Bridges []string          `yaml:"bridges"`
	Kernel  string            `yaml:"kernel,omitempty"`
	Network []map[string]any  `yaml:"network,omitempty"` // what GET network answers, when not the nics and bridges
	Drives  []*drive          `yaml:"drives,omitempty"`
	NICs    []string          `yaml:"nics,omitempty"`
	Stats   int64             `yaml:"stats,omitempty"`   // since when rrddata has points; 0: since the boot
	Gaps    []int64           `yaml:"gaps,omitempty"`    // points of rrddata in between that were not measured
	Devices []string          `yaml:"devices,omitempty"` // character devices besides the usual ones
	Disks   []*Disk           `yaml:"disks"`
	Mounts  []*Mount          `yaml:"mounts"`
	Fstab   string            `yaml:"fstab"`
	Files   map[string]string `yaml:"files,omitempty"`
	Pools   map[string]Store  `yaml:"volumes,omitempty"` // what block storages hold, by storage
	PID     int               `yaml:"pid"`
	Tasks   []*Task           `yaml:"tasks,omitempty"`
	Outage  string            `yaml:"outage,omitempty"` // pvedaemon-down, pvedaemon-hung, pmxcfs-down

	Location *time.Location   `yaml:"-"`
	ByUPID   map[string]*Task `yaml:"-"`
}

// A Disk is one file system, plugged in or not.
type Disk struct {
	UUID      string           `yaml:"uuid,omitempty"` // none: no file system that could be mounted
	Label     string           `yaml:"label,omitempty"`
	FS        string           `yaml:"fs,omitempty"`
	Device    string           `yaml:"device,omitempty"`
	Absent    bool             `yaml:"absent,omitempty"`
	Instance  int              `yaml:"instance,omitempty"` // how often it was plugged in
	Size      int64            `yaml:"size"`
	Used      int64            `yaml:"used,omitempty"` // besides what storages keep on it
	Model     string           `yaml:"model,omitempty"`
	Serial    string           `yaml:"serial,omitempty"`
	WWN       string           `yaml:"wwn,omitempty"`
	Transport string           `yaml:"transport,omitempty"`
	Member    string           `yaml:"member,omitempty"`  // UUID_SUB of a btrfs; one of its own unless given
	Left      []string         `yaml:"left,omitempty"`    // file systems whose signatures are on it too: blkid cannot tell which it is
	Holders   []string         `yaml:"holders,omitempty"` // what the kernel built on it
	Failing   bool             `yaml:"failing,omitempty"` // SMART says so
	Hangs     bool             `yaml:"hangs,omitempty"`   // what reads it never returns
	Folders   []string         `yaml:"folders,omitempty"`
	Locked    []string         `yaml:"immutable,omitempty"` // folders with chattr +i
	Dirs      map[string]Store `yaml:"dirs,omitempty"`      // what directory storages keep, by path in this file system

	Files map[string]string `yaml:"files,omitempty"` // plain files, by path in this file system
}

// A Mount is one line of the host's mount table.
type Mount struct {
	Device   string `yaml:"device"`
	UUID     string `yaml:"uuid"`
	Instance int    `yaml:"instance,omitempty"`
	Target   string `yaml:"target"`
	FS       string `yaml:"fs"`
	Options  string `yaml:"options"`
	Ghost    *Disk  `yaml:"ghost,omitempty"` // the disk was pulled: what the page cache still shows
}

// A Store is what one storage holds in one place, by volume name.
type Store map[string]*Volume

// A Volume is one image, archive, template or file of a storage.
type Volume struct {
	VMID      int               `yaml:"vmid,omitempty"`
	Size      int64             `yaml:"size"`
	Used      int64             `yaml:"used,omitempty"`
	Format    string            `yaml:"format,omitempty"`
	Created   int64             `yaml:"created,omitempty"`
	Data      string            `yaml:"data,omitempty"`
	Base      bool              `yaml:"base,omitempty"`
	Snapshots map[string]string `yaml:"snapshots,omitempty"`
	Order     []string          `yaml:"order,omitempty"` // the snapshots, oldest first
	// archives
	Config    string     `yaml:"config,omitempty"`
	Parts     []Part     `yaml:"parts,omitempty"`
	Notes     string     `yaml:"notes,omitempty"`
	Protected bool       `yaml:"protected,omitempty"`
	Written   *time.Time `yaml:"written,omitempty"`  // not on the disk yet: written at this time
	Noted     *time.Time `yaml:"noted,omitempty"`    // its notes are not on the disk yet: written at this time
	OldNotes  string     `yaml:"oldnotes,omitempty"` // those that are
	Whole     int64      `yaml:"whole,omitempty"`    // it was cut off: the size that it should have
	Garbage   bool       `yaml:"garbage,omitempty"`  // no archive at all
	OS        string     `yaml:"os,omitempty"`       // of a template
	Bare      bool       `yaml:"bare,omitempty"`     // its system sets no network up
	// snapshots of a backup server
	Encrypted  string `yaml:"encrypted,omitempty"` // the fingerprint of the key
	Verified   string `yaml:"verified,omitempty"`  // ok or failed
	VerifiedAt int64  `yaml:"verified-at,omitempty"`
	Unfinished bool   `yaml:"unfinished,omitempty"` // its upload has not ended, or never will
}

// A Part is what an archive holds of one mount point.
type Part struct {
	MP   string `yaml:"mp"`
	Path string `yaml:"path"`
	Data string `yaml:"data"`
	Used int64  `yaml:"used,omitempty"`
	Bare bool   `yaml:"bare,omitempty"`
}

// A Storage is one entry of storage.cfg.
type Storage struct {
	ID           string   `yaml:"id"`
	Type         string   `yaml:"type"`
	Path         string   `yaml:"path,omitempty"`
	VG           string   `yaml:"vg,omitempty"`
	Pool         string   `yaml:"pool,omitempty"`
	Content      []string `yaml:"content"`
	Disable      bool     `yaml:"disable,omitempty"`
	Mountpoint   string   `yaml:"is_mountpoint,omitempty"`
	Prune        string   `yaml:"prune-backups,omitempty"`
	MaxProtected *int     `yaml:"max-protected-backups,omitempty"`
	Nodes        []string `yaml:"nodes,omitempty"`
	Shared       bool     `yaml:"shared,omitempty"`
	Size         int64    `yaml:"size,omitempty"`    // of block storages
	Reserve      int64    `yaml:"reserve,omitempty"` // used by others
	// of type pbs
	Server      string `yaml:"server,omitempty"`
	Datastore   string `yaml:"datastore,omitempty"`
	Namespace   string `yaml:"namespace,omitempty"`
	Username    string `yaml:"username,omitempty"` // a user or an API token of the server
	Fingerprint string `yaml:"fingerprint,omitempty"`
	Key         string `yaml:"encryption-key,omitempty"`      // its fingerprint
	KeyLost     bool   `yaml:"encryption-key-lost,omitempty"` // the file in /etc/pve/priv/storage is gone
}

// A Guest is one container.
type Guest struct {
	VMID     int    `yaml:"vmid"`
	Node     string `yaml:"node"`
	Text     string `yaml:"config"`
	Running  bool   `yaml:"running,omitempty"`
	PID      int    `yaml:"pid,omitempty"`
	Since    int64  `yaml:"since,omitempty"` // when the run state last changed
	Born     int64  `yaml:"born,omitempty"`
	Filled   int64  `yaml:"filled,omitempty"`   // when its creation wrote the config; 0: it is being made, or was there
	Uses     int    `yaml:"uses,omitempty"`     // MiB of memory that it uses when it runs; 0: by its system
	Using    int    `yaml:"using,omitempty"`    // MiB that it took when it started
	Shmem    int    `yaml:"shmem,omitempty"`    // MiB in /dev/shm while it runs, which no list shows
	Cache    int    `yaml:"cache,omitempty"`    // MiB of clean file pages while it runs, which the kernel drops before it kills
	Stubborn bool   `yaml:"stubborn,omitempty"` // ignores a shutdown
	Holds    []Hold `yaml:"holds,omitempty"`
	Mounted  bool   `yaml:"mounted,omitempty"`       // pct mount
	Journal  bool   `yaml:"dirty-journal,omitempty"` // rolled back to a snapshot taken while running
	HA       string `yaml:"ha,omitempty"`
	Qemu     bool   `yaml:"qemu,omitempty"`

	Conf *lxcconf.Config `yaml:"-"`
}

// A Hold is a file system that a running guest keeps mounted, as it was when the guest started.
type Hold struct {
	MP       string `yaml:"mp"`
	Path     string `yaml:"path"`   // inside the guest
	Source   string `yaml:"source"` // device
	UUID     string `yaml:"uuid,omitempty"`
	Instance int    `yaml:"instance,omitempty"`
	Root     string `yaml:"root"` // the folder of that file system
	FS       string `yaml:"fs"`
	Options  string `yaml:"options"`
}

// A Pool is a resource pool with its members.
type Pool struct {
	ID       string   `yaml:"id"`
	Comment  string   `yaml:"comment,omitempty"`
	VMs      []int    `yaml:"vms,omitempty"`
	Storages []string `yaml:"storages,omitempty"`
}

// Read reads a world file; unknown keys are an error.
func Read(text []byte) (*World, error) {
	w := new(World)
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(w); err != nil {
		return nil, err
	}
	if w.Format != Format {
		return nil, fmt.Errorf("format %d; this version reads format %d", w.Format, Format)
	}
	if w.Clock.IsZero() {
		return nil, fmt.Errorf("clock is missing; write it like 2026-11-22T18:02:09+01:00")
	}
	if len(w.Nodes) == 0 {
		return nil, fmt.Errorf("nodes is empty; a world has at least one node")
	}
	return w, nil
}

// Write is the world file.
func (w *World) Write() ([]byte, error) {
	sort.Slice(w.Guests, func(i, j int) bool { return w.Guests[i].VMID < w.Guests[j].VMID })
	for _, g := range w.Guests {
		g.Text = g.Conf.Text()
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(w); err != nil {
		return nil, fmt.Errorf("pvesim: world file: %w", err)
	}
	return b.Bytes(), nil
}

// Complete fills in what a world file does not hold and checks what it does.
func (w *World) Complete() error {
	for _, n := range w.Nodes {
		if err := n.complete(); err != nil {
			return err
		}
	}
	for _, d := range w.allDisks() {
		if d.Dirs == nil {
			d.Dirs = make(map[string]Store)
		}
	}
	if w.Shared == nil {
		w.Shared = make(map[string]Store)
	}
	if w.Boots == nil {
		w.Boots = make(map[string]int)
	}
	seen := make(map[int]bool)
	for _, g := range w.Guests {
		if w.Node(g.Node) == nil {
			return fmt.Errorf("guest %d: node %q is not in nodes", g.VMID, g.Node)
		}
		if seen[g.VMID] {
			return fmt.Errorf("guest %d: declared twice", g.VMID)
		}
		seen[g.VMID] = true
		g.Conf = lxcconf.Parse(g.Text)
	}
	for _, f := range w.Faults {
		if err := f.Check(); err != nil {
			return err
		}
	}
	return nil
}

// complete fills in what the world file does not say of a node.
func (n *Node) complete() error {
	zone, err := time.LoadLocation(n.Zone)
	if err != nil {
		return fmt.Errorf("node %s: zone %q: %w", n.Name, n.Zone, err)
	}
	n.Location = zone
	n.ByUPID = make(map[string]*Task)
	if n.Pools == nil {
		n.Pools = make(map[string]Store)
	}
	if n.CPUs == 0 {
		n.CPUs = 4
	}
	if n.Memory == 0 {
		n.Memory = 16 << 30
	}
	if n.MountAt("/") == nil {
		return fmt.Errorf("node %s: nothing is mounted at /", n.Name)
	}
	if n.RootDisk() == nil {
		return fmt.Errorf("node %s: no disk of it has the device that is mounted at /", n.Name)
	}
	for _, t := range n.Tasks {
		t.Node = n
		n.ByUPID[t.UPID()] = t
	}
	return nil
}

func (w *World) allDisks() []*Disk {
	var all []*Disk
	for _, n := range w.Nodes {
		all = append(all, n.Disks...)
	}
	return all
}

// Node is the node of a name; nil when there is none.
func (w *World) Node(name string) *Node {
	for _, n := range w.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// MountAt is the mount that a path lies on: the deepest, and of equal ones the last.
func (n *Node) MountAt(path string) *Mount {
	var best *Mount
	for _, m := range n.Mounts {
		if !Under(path, m.Target) {
			continue
		}
		if best == nil || len(m.Target) >= len(best.Target) {
			best = m
		}
	}
	return best
}

// Under reports whether path is dir or lies below it.
func Under(path, dir string) bool {
	if dir == "/" {
		return strings.HasPrefix(path, "/")
	}
	return path == dir || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}

// DiskOf is the plugged or absent disk behind a mount; a ghost for one that was pulled.
func (n *Node) DiskOf(m *Mount) *Disk {
	if m.Ghost != nil {
		return m.Ghost
	}
	for _, d := range n.Disks {
		if d.UUID == m.UUID {
			return d
		}
	}
	return nil
}

// mntent decodes what getmntent(3) decodes, and nothing else.
var mntent = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\\`, `\`)

// NextSerial is the next number of the world, for what PVE draws at random.
func (w *World) NextSerial() int {
	w.Serial++
	return w.Serial
}

// Pool is the pool of a name; nil when there is none.
func (w *World) Pool(id string) *Pool {
	for _, p := range w.Pools {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// Quorum is the error without one. PVE: check_cfs_quorum.
func (w *World) Quorum() error {
	if w.NoQuorum && len(w.Nodes) > 1 {
		return refusal.Fail("cluster not ready - no quorum?")
	}
	return nil
}
