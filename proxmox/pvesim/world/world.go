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

// Under reports whether path is dir or lies below it.
func Under(path, dir string) bool {
	if dir == "/" {
		return strings.HasPrefix(path, "/")
	}
	return path == dir || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}

// mntent decodes what getmntent(3) decodes, and nothing else.
var mntent = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\\`, `\`)

// NextSerial is the next number of the world, for what PVE draws at random.
func (w *World) NextSerial() int {
	w.Serial++
	return w.Serial
}

// Quorum is the error without one. PVE: check_cfs_quorum.
func (w *World) Quorum() error {
	if w.NoQuorum && len(w.Nodes) > 1 {
		return refusal.Fail("cluster not ready - no quorum?")
	}
	return nil
}
