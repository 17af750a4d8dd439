// Package outcome prints the state of a cluster as text, for comparisons, and compares such texts.
package outcome

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// State prints the state that matters for comparing outcomes, in one fixed form:
// guests with their configs and what their volumes hold, volumes that no guest names,
// archives with their notes, mounts, fstab, and tasks that run. Task history, PIDs,
// counters and digests are left out.
func State(cl *cluster.Cluster) string {
	var b strings.Builder
	named := make(map[string]bool)
	for _, id := range slices.Sorted(maps.Keys(cl.Guests)) {
		g := cl.Guests[id]
		n := cl.World.Node(g.Node)
		state := "stopped"
		if g.Running {
			state = "running"
		}
		fmt.Fprintf(&b, "guest %d on %s, %s\n", id, g.Node, state)
		for _, line := range strings.Split(strings.TrimSuffix(g.Conf.Text(), "\n"), "\n") {
			if line != "" {
				fmt.Fprintf(&b, "    %s\n", line)
			}
		}
		for _, volid := range guests.Referenced(g) {
			named[n.Name+" "+volid] = true
			if v, _, err := places.Find(cl, n, volid); err == nil && v != nil {
				fmt.Fprintf(&b, "  %s: %s\n", volid, print(v))
			} else {
				fmt.Fprintf(&b, "  %s: missing\n", volid)
			}
		}
	}
	for _, n := range cl.World.Nodes {
		printNode(cl, &b, n, named)
	}
	printDatastores(cl, &b)
	return b.String()
}

// printNode prints a node's storages, disks, mounts, fstab and tasks; named are the volumes that
// a guest names.
func printNode(cl *cluster.Cluster, b *strings.Builder, n *world.Node, named map[string]bool) {
	fmt.Fprintf(b, "node %s\n", n.Name)
	for _, st := range cl.World.Storages {
		printStorage(cl, b, n, st, named)
	}
	for _, d := range n.Disks {
		if d.UUID == n.RootDisk().UUID || d.UUID == "" {
			continue
		}
		state := "unplugged"
		if !d.Absent {
			state = "plugged"
		}
		fmt.Fprintf(b, "  disk %s %s, %s\n", d.UUID, d.Label, state)
		for _, dir := range slices.Sorted(maps.Keys(d.Dirs)) {
			for _, name := range slices.Sorted(maps.Keys(d.Dirs[dir])) {
				if v := d.Dirs[dir][name]; v != nil && len(v.Parts) > 0 {
					fmt.Fprintf(b, "    %s %s: %s\n", dir, name, print(v))
				}
			}
		}
	}
	for _, m := range n.Mounts {
		gone := ""
		if m.Ghost != nil {
			gone = ", the disk is gone"
		}
		fmt.Fprintf(b, "  mount %s on %s type %s (%s)%s\n", m.UUID, m.Target, m.FS, m.Options, gone)
	}
	for _, line := range strings.Split(strings.TrimSpace(n.Fstab), "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			fmt.Fprintf(b, "  fstab %s\n", line)
		}
	}
	for _, t := range n.Tasks {
		if t.End == 0 {
			fmt.Fprintf(b, "  task %s %s by %s\n", t.Type, t.ID, t.User)
		}
	}
}

func print(v *world.Volume) string {
	var f []string
	if v.Data != "" {
		f = append(f, v.Data, notation.FormatSize(v.Size))
	}
	for _, snap := range v.Order {
		f = append(f, snap+"="+v.Snapshots[snap])
	}
	for _, p := range v.Parts {
		f = append(f, p.Path+"="+p.Data)
	}
	if v.Protected {
		f = append(f, "protected")
	}
	if v.Whole > 0 {
		f = append(f, "cut off")
	}
	if v.Garbage {
		f = append(f, "garbage")
	}
	if v.Unfinished || v.Verified == "failed" {
		f = append(f, "not whole")
	}
	if v.Notes != "" {
		f = append(f, fmt.Sprintf("%q", v.Notes))
	}
	return strings.Join(f, " ")
}

// printStorage prints a storage's archives on the root disk and its stray volumes;
// archives on other disks are printed with their disk.
func printStorage(cl *cluster.Cluster, b *strings.Builder, n *world.Node, st *world.Storage, named map[string]bool) {
	if !st.On(n.Name) || st.Disable {
		return
	}
	p, err := places.Of(cl, n, st)
	if err != nil || p.Datastore != nil { // see printDatastores
		return
	}
	for _, name := range slices.Sorted(maps.Keys(p.Items)) {
		kind, _, err := st.KindOf(name)
		if err != nil || kind == "backup" && p.Disk != nil && p.Disk != n.RootDisk() || kind == "images" && named[n.Name+" "+st.ID+":"+name] {
			continue
		}
		if kind == "backup" || kind == "images" {
			fmt.Fprintf(b, "  %s:%s: %s\n", st.ID, name, print(p.Items[name]))
		}
	}
}

// Data prints "VMID MP FINGERPRINT" of every volume that a guest has mounted, sorted by
// VMID and mount point.
func Data(cl *cluster.Cluster) string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(cl.Guests)) {
		g := cl.Guests[id]
		var lines []string
		for _, m := range g.Conf.MountPoints() {
			if m.Kind() != "volume" {
				continue
			}
			data := "missing"
			if v, _, err := places.Find(cl, cl.World.Node(g.Node), m.Volid()); err == nil && v != nil {
				data = v.Data
			}
			lines = append(lines, fmt.Sprintf("%d %s %s\n", id, m.Key, data))
		}
		sort.Strings(lines)
		b.WriteString(strings.Join(lines, ""))
	}
	return b.String()
}

// WriteData lets a guest write text into its volume ("rootfs", "mp0"): the fingerprint
// of what the volume holds becomes another one, by what was there and the text.
// It does nothing when there is no such guest or volume.
func WriteData(cl *cluster.Cluster, vmid int, mp, text string) {
	g := cl.Guests[vmid]
	if g == nil {
		return
	}
	m, err := lxcconf.ParseMountPoint(mp, g.Conf.Vals[mp])
	if err != nil || m.Kind() != "volume" {
		return
	}
	if v, _, err := places.Find(cl, cl.World.Node(g.Node), m.Volid()); err == nil && v != nil {
		v.Data = world.Imprint(v.Data, "wrote", text)
		v.Used = min(v.Used+int64(len(text)), max(v.Size, v.Used))
	}
}

// printDatastores prints all snapshots, whoever sees them.
func printDatastores(cl *cluster.Cluster, b *strings.Builder) {
	for _, d := range cl.World.Datastores {
		fmt.Fprintf(b, "datastore %s on %s\n", d.Name, d.Server)
		for _, space := range slices.Sorted(maps.Keys(d.Spaces)) {
			for _, name := range slices.Sorted(maps.Keys(d.Spaces[space])) {
				fmt.Fprintf(b, "  %s/%s:%s: owner=%s %s\n", d.Name, space, name, d.Owner(space, name), print(d.Spaces[space][name]))
			}
		}
	}
}
