package pvesim

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
)

// String prints the state that matters for comparing outcomes, in one fixed form:
// guests with their configs and what their volumes hold, volumes that no guest names,
// archives with their notes, mounts, fstab, and tasks that run. Task history, PIDs,
// counters and digests are left out.
func (s *Sim) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	var b strings.Builder
	named := make(map[string]bool)
	for _, id := range slices.Sorted(maps.Keys(s.guests)) {
		g := s.guests[id]
		n := s.node(g.Node)
		state := "stopped"
		if g.Running {
			state = "running"
		}
		fmt.Fprintf(&b, "guest %d on %s, %s\n", id, g.Node, state)
		for _, line := range strings.Split(strings.TrimSuffix(g.conf.text(), "\n"), "\n") {
			if line != "" {
				fmt.Fprintf(&b, "    %s\n", line)
			}
		}
		for _, volid := range s.referenced(g) {
			named[n.Name+" "+volid] = true
			if v, _, err := s.volume(n, volid); err == nil && v != nil {
				fmt.Fprintf(&b, "  %s: %s\n", volid, v.print())
			} else {
				fmt.Fprintf(&b, "  %s: missing\n", volid)
			}
		}
	}
	for _, n := range s.w.Nodes {
		fmt.Fprintf(&b, "node %s\n", n.Name)
		for _, st := range s.w.Storages {
			s.printStorage(&b, n, st, named)
		}
		for _, d := range n.Disks {
			if d.UUID == n.rootDisk().UUID || d.UUID == "" {
				continue
			}
			state := "unplugged"
			if !d.Absent {
				state = "plugged"
			}
			fmt.Fprintf(&b, "  disk %s %s, %s\n", d.UUID, d.Label, state)
			for _, dir := range sortedKeys(d.Dirs) {
				for _, name := range sortedKeys(d.Dirs[dir]) {
					if v := d.Dirs[dir][name]; v != nil && len(v.Parts) > 0 {
						fmt.Fprintf(&b, "    %s %s: %s\n", dir, name, v.print())
					}
				}
			}
		}
		for _, m := range n.Mounts {
			gone := ""
			if m.Ghost != nil {
				gone = ", the disk is gone"
			}
			fmt.Fprintf(&b, "  mount %s on %s type %s (%s)%s\n", m.UUID, m.Target, m.FS, m.Options, gone)
		}
		for _, line := range strings.Split(strings.TrimSpace(n.Fstab), "\n") {
			if line != "" && !strings.HasPrefix(line, "#") {
				fmt.Fprintf(&b, "  fstab %s\n", line)
			}
		}
		for _, t := range n.Tasks {
			if t.End == 0 {
				fmt.Fprintf(&b, "  task %s %s by %s\n", t.Type, t.ID, t.User)
			}
		}
	}
	s.printDatastores(&b)
	return b.String()
}

func (v *volume) print() string {
	var f []string
	if v.Data != "" {
		f = append(f, v.Data, formatSize(v.Size))
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
func (s *Sim) printStorage(b *strings.Builder, n *node, st *storage, named map[string]bool) {
	if !st.on(n.Name) || st.Disable {
		return
	}
	p, err := s.place(n, st)
	if err != nil || p.datastore != nil { // see printDatastores
		return
	}
	for _, name := range sortedKeys(p.items) {
		kind, _, err := st.kindOf(name)
		if err != nil || kind == "backup" && p.disk != nil && p.disk != n.rootDisk() || kind == "images" && named[n.Name+" "+st.ID+":"+name] {
			continue
		}
		if kind == "backup" || kind == "images" {
			fmt.Fprintf(b, "  %s:%s: %s\n", st.ID, name, p.items[name].print())
		}
	}
}

// referenced are the volumes that a guest's config names anywhere, sorted.
func (s *Sim) referenced(g *guest) []string {
	seen := make(map[string]bool)
	sections := []*section{&g.conf.section, &g.conf.pending}
	for _, sec := range g.conf.snaps {
		sections = append(sections, sec)
	}
	for _, sec := range sections {
		for _, m := range sec.mountPoints() {
			if m.kind() == "volume" {
				seen[m.volid()] = true
			}
		}
		for _, k := range sec.numbered("unused") {
			seen[sec.vals[k]] = true
		}
	}
	return sortedKeys(seen)
}

// Data prints "VMID MP FINGERPRINT" of every volume that a guest has mounted, sorted by
// VMID and mount point.
func (s *Sim) Data() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(s.guests)) {
		g := s.guests[id]
		var lines []string
		for _, m := range g.conf.mountPoints() {
			if m.kind() != "volume" {
				continue
			}
			data := "missing"
			if v, _, err := s.volume(s.node(g.Node), m.volid()); err == nil && v != nil {
				data = v.Data
			}
			lines = append(lines, fmt.Sprintf("%d %s %s\n", id, m.key, data))
		}
		sort.Strings(lines)
		b.WriteString(strings.Join(lines, ""))
	}
	return b.String()
}

// WriteData lets a guest write text into its volume ("rootfs", "mp0"): the fingerprint
// of what the volume holds becomes another one, by what was there and the text.
// It does nothing when there is no such guest or volume.
func (s *Sim) WriteData(vmid int, mp, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	g := s.guests[vmid]
	if g == nil {
		return
	}
	m, err := parseMountPoint(mp, g.conf.vals[mp])
	if err != nil || m.kind() != "volume" {
		return
	}
	if v, _, err := s.volume(s.node(g.Node), m.volid()); err == nil && v != nil {
		v.Data = imprint(v.Data, "wrote", text)
		v.Used = min(v.Used+int64(len(text)), max(v.Size, v.Used))
	}
}
