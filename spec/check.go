package spec

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
)

// named checks the name of an object by its kind. Names of guests are
// hostnames unless is: says otherwise, names of snapshots are snapshot names
// in PVE (a periodic one's is checked with its suffix, later).
func (a at) named() {
	n := a.obj.Ref.Name
	if n == "all" {
		a.fail("Choose another name.", `"all" stands for every object on the command line`)
		return
	}
	switch a.obj.Ref.Kind {
	case KindGolden, KindRestore, KindGuest:
		if err := proxmox.CheckHostname(n); err != nil {
			a.refuse(fmt.Errorf("the name of a guest is its hostname, but %w", err))
		}
	case KindSnapshot:
		if err := proxmox.CheckSnapshotName(n); err != nil {
			a.refuse(err)
		}
	default:
		if !plainName.MatchString(n) {
			a.fail("Write letters, digits, - and _, at most 40.", "%q cannot be the name of an object", n)
		}
	}
}

// checker looks at all objects together.
type checker struct {
	*Desired
	*faults
	roots []string
	whole bool // no file is missing, so what is not found is not there
}

func (l Loader) check(d *Desired, f *faults) {
	c := checker{d, f, l.Roots, true}
	if len(c.roots) == 0 {
		c.roots = []string{"/mnt"}
	}
	for _, e := range f.list {
		// A mistake without a field hides a file or more.
		c.whole = c.whole && e.Field != ""
	}
	c.names()
	c.vmids()
	c.nodes()
	c.mounts()
	c.sources()
	c.guests()
	c.cycles()
	c.snapshots()
	c.backups()
}

// fail notes a mistake at a field of an object.
func (c *checker) fail(o *Object, field, cure, format string, args ...any) {
	p, whole := o.At(field), string(o.Ref.Kind)+"."+o.Ref.Name
	if field != "" {
		whole += "." + field
	}
	c.add(&Error{File: p.File, Line: p.Line, Field: whole, Message: fmt.Sprintf(format, args...), Cure: cure})
}

// sorted are the objects of a section by place, so that of two that quarrel
// the later one is told.
func sorted[T any, P declared[T]](sections ...map[string]P) []P {
	var all []P
	for _, m := range sections {
		all = slices.AppendSeq(all, maps.Values(m))
	}
	slices.SortFunc(all, func(a, b P) int {
		x, y := a.object(), b.object()
		return cmp.Or(strings.Compare(x.Pos.File, y.Pos.File), x.Pos.Line-y.Pos.Line, strings.Compare(x.Ref.String(), y.Ref.String()))
	})
	return all
}

// hosts are golden, restores and guests: all that has a VMID and shares the one
// name space.
type host struct {
	*Object
	vmid   proxmox.VMID
	config *Config
}

func (c *checker) hosts() []host {
	var all []host
	for _, g := range sorted(c.Golden) {
		all = append(all, host{&g.Object, g.VMID, &g.Config})
	}
	for _, g := range sorted(c.Restores, c.Guests) {
		all = append(all, host{&g.Object, g.VMID, &g.Config})
	}
	slices.SortStableFunc(all, func(a, b host) int {
		return cmp.Or(strings.Compare(a.Pos.File, b.Pos.File), a.Pos.Line-b.Pos.Line)
	})
	return all
}

func (c *checker) names() {
	known := map[string]*Object{}
	for _, h := range c.hosts() {
		if first := known[h.Ref.Name]; first != nil {
			c.fail(h.Object, "", "Give one of them another name: golden, restores and guests share their names.", "is also the name of %s (%s)", first.Ref, first.Pos)
		} else {
			known[h.Ref.Name] = h.Object
		}
	}
	was := map[string]*Object{}
	for _, r := range c.Refs() {
		o := c.Object(r)
		if o.Was == "" {
			continue
		}
		old := Ref{r.Kind, o.Was}
		taken := c.Object(old)
		key := old.String()
		if r.Kind == KindGolden || r.Kind == KindRestore || r.Kind == KindGuest {
			key = o.Was
			taken = known[o.Was]
		}
		switch {
		case o.Was == r.Name:
			c.fail(o, "was", "Write the earlier name, or leave it out.", "is the name it has now")
		case taken != nil:
			c.fail(o, "was", "Remove that one, or this was:.", "%s is still declared (%s)", taken.Ref, taken.Pos)
		case was[key] != nil:
			c.fail(o, "was", "Only one object can have been it.", "%s says so too (%s)", was[key].Ref, was[key].At("was"))
		default:
			was[key] = o
		}
	}
}

func (c *checker) vmids() {
	known := map[proxmox.VMID]*Object{}
	for _, h := range c.hosts() {
		if h.vmid == 0 {
			continue
		}
		if first := known[h.vmid]; first != nil {
			c.fail(h.Object, "vmid", "Every guest has a number of its own.", "%d is also the number of %s (%s)", h.vmid, first.Ref, first.At("vmid"))
		} else {
			known[h.vmid] = h.Object
		}
	}
}

// nodes wants every object that is created to say where, once any does.
func (c *checker) nodes() {
	var with, without []*Object
	for _, k := range []Kind{KindMount, KindGolden, KindRestore} {
		c.each(k, func(o *Object) {
			if o.Node == "" {
				without = append(without, o)
			} else {
				with = append(with, o)
			}
		})
	}
	if len(with) == 0 || !c.whole {
		return
	}
	first := slices.MinFunc(with, func(a, b *Object) int { return strings.Compare(a.Ref.String(), b.Ref.String()) })
	for _, o := range without {
		c.fail(o, "node", fmt.Sprintf("Say node: %s here or at the top of the file.", first.Node), "is missing, while others say where they are created (%s: %s)", first.Ref, first.Node)
	}
}

// under reports whether p is dir or below it.
func under(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

func (c *checker) rooted(o *Object, field, p string) {
	for _, r := range c.roots {
		if under(p, r) && p != path.Clean(r) {
			return
		}
	}
	c.fail(o, field, "Move it there, or let root add its folder to the roots in /etc/felhom-agent/fence.json.", "%s is not below %s, where alone the fence mounts and binds", p, orList(c.roots))
}

func (c *checker) mounts() {
	all := sorted(c.Mounts)
	uuids, storages := map[string]*Mount{}, map[string]*Mount{}
	paths, order := map[string][]*Mount{}, map[*Mount]int{}
	for i, m := range all {
		paths[m.Path], order[m] = append(paths[m.Path], m), i
	}
	for i, m := range all {
		if m.Path != "" {
			c.rooted(&m.Object, "path", m.Path)
		}
		for dir := m.Path; len(dir) > 1; dir = path.Dir(dir) {
			for _, other := range paths[dir] {
				switch {
				case other == m || elsewhere(m.Node, other.Node):
				case dir != m.Path:
					c.fail(&m.Object, "path", "Give each disk a folder of its own, side by side.", "one disk would be mounted inside another: %s has %s (%s)", other.Ref, other.Path, other.At("path"))
				case order[other] < i:
					c.fail(&m.Object, "path", "Several disks that take turns are one mount: uuid: {blue: UUID, red: UUID}.", "is also the path of %s (%s)", other.Ref, other.At("path"))
				}
			}
		}
		for _, d := range m.UUIDs {
			key, field := strings.ToLower(d.UUID), "uuid"
			if d.Label != "" {
				field += "." + d.Label
			}
			if first := uuids[key]; first == m {
				c.fail(&m.Object, field, "Keep one of the two.", "names the disk %s twice", d.UUID)
			} else if first != nil {
				c.fail(&m.Object, field, "A disk is mounted at one path.", "is also a disk of %s (%s)", first.Ref, first.At("uuid"))
			}
			uuids[key] = m
		}
		if m.Storage != "" {
			if first := storages[m.Storage]; first != nil && !elsewhere(m.Node, first.Node) {
				c.fail(&m.Object, "storage", "A storage lies on one disk.", "is also the storage of %s (%s)", first.Ref, first.At("storage"))
			}
			storages[m.Storage] = m
		}
	}
}

// elsewhere reports whether two objects are known to be on different nodes.
func elsewhere(a, b string) bool { return a != "" && b != "" && a != b }

// guestNames are the names that others may refer to.
func (c *checker) guestNames() []string {
	return slices.Concat(slices.Sorted(maps.Keys(c.Restores)), slices.Sorted(maps.Keys(c.Guests)))
}

// refers checks a reference to a restore or guest; why says what goldens
// cannot do.
func (c *checker) refers(o *Object, field, name, why string) *Guest {
	if g := c.Guest(name); g != nil {
		return g
	}
	switch {
	case name == "":
	case c.Golden[name] != nil:
		c.fail(o, field, "Name a restore or guest.", "%s is a golden, and %s", name, why)
	case c.whole:
		c.fail(o, field, reference(name, c.guestNames(), "restores or guests"), "names %q, which is not declared", name)
	}
	return nil
}

func reference(name string, known []string, kinds string) string {
	if len(known) > 8 {
		if s := suggest(name, known); strings.HasPrefix(s, "Did") {
			return s
		}
		return "Declare it under " + kinds + ", or correct the name."
	}
	if len(known) == 0 {
		return "Declare it under " + kinds + ", or remove the name."
	}
	return suggest(name, known)
}

func (c *checker) sources() {
	for _, g := range sorted(c.Restores, c.Guests) {
		for _, s := range g.From {
			golden := c.Golden[s.Golden]
			fail := func(cure, format string, args ...any) {
				c.add(&Error{File: s.Pos.File, Line: s.Pos.Line, Field: string(g.Ref.Kind) + "." + g.Ref.Name + ".from", Message: fmt.Sprintf(format, args...), Cure: cure})
			}
			switch {
			case s.Golden == "":
			case golden != nil && golden.Publish == nil && !golden.Has("publish"):
				fail(fmt.Sprintf("Add publish: {storage: local, revision: 1} to it (%s).", golden.Pos), "%s is not published, so there is no archive to restore", golden.Ref)
			case golden == nil && c.Guest(s.Golden) != nil:
				fail("Say {newest: STORAGE, vmid: …} to copy a guest from its backup.", "%s is a guest, not a golden", s.Golden)
			case golden == nil && c.whole:
				fail(reference(s.Golden, slices.Sorted(maps.Keys(c.Golden)), "golden"), "names the golden %q, which is not declared", s.Golden)
			}
		}
	}
}

func (c *checker) guests() {
	for _, h := range c.hosts() {
		c.config(h)
	}
	for _, g := range sorted(c.Restores, c.Guests) {
		if g.Restart == "" {
			g.Restart = RestartManual
		}
		if g.Restart == RestartAuto && g.State != Running {
			c.fail(&g.Object, "restart", "Add state: running, or leave restart out.", "restart: auto ends with a start, so it needs state: running")
		}
		for _, name := range g.Needs {
			if need := c.refers(&g.Object, "needs", name, "those do not run"); need != nil && need.State == Stopped && g.State == Running {
				c.fail(&g.Object, "needs", "Let that one run, or remove it here.", "would never be started: %s is declared state: stopped (%s)", need.Ref, need.At("state"))
			}
		}
		if r := g.Rollback; r != nil {
			r.Pos = g.At("rollback")
			for _, key := range r.Loses {
				if n, err := strconv.Atoi(strings.TrimPrefix(key, "mp")); err == nil && g.Config.Mounts[n].Bind() {
					c.fail(&g.Object, "rollback.loses", "Leave it out.", "%s is a folder of the host, which no snapshot contains", key)
				}
			}
		}
	}
}

// config looks at what only the whole household can tell about a configuration.
func (c *checker) config(h host) {
	inside := map[string]string{}
	for _, i := range slices.Sorted(maps.Keys(h.config.Mounts)) {
		m, field := h.config.Mounts[i], "config.mp"+strconv.Itoa(i)
		if other, twice := inside[m.Path]; twice && m.Path != "" {
			c.fail(h.Object, field, "Give each its own path.", "is mounted at %s, like %s", m.Path, other)
		}
		inside[m.Path] = "mp" + strconv.Itoa(i)
		if m.Volume != "" {
			id, _ := proxmox.ParseVolumeID(m.Volume)
			if owner, ok := id.Owner(); ok && h.vmid != 0 && owner != h.vmid {
				c.fail(h.Object, field, fmt.Sprintf("Attach volumes of %d alone; move one from guest to guest with pct move-volume.", h.vmid), "%s belongs to guest %d: whoever deletes that guest deletes the data", m.Volume, owner)
			} else if strings.HasPrefix(id.Name, "backup/") || strings.HasPrefix(id.Name, "vztmpl/") || strings.HasPrefix(id.Name, "iso/") {
				c.fail(h.Object, field, "Write a disk, such as local-lvm:vm-111-disk-1.", "%s is no disk", m.Volume)
			}
		}
		if m.Mount != "" {
			disk := c.Mounts[m.Mount]
			switch {
			case disk == nil && c.whole:
				c.fail(h.Object, field, reference(m.Mount, slices.Sorted(maps.Keys(c.Mounts)), "mounts"), "names the disk %q, which is not declared", m.Mount)
			case disk == nil:
			case disk.Absent:
				c.fail(h.Object, field, "Remove the one or the other.", "binds a folder of %s, which is declared ensure: absent (%s)", disk.Ref, disk.At("ensure"))
			case elsewhere(disk.Node, h.Node):
				c.fail(h.Object, field, "Declare a disk of that node.", "%s is a disk of %s, this is created on %s", disk.Ref, disk.Node, h.Node)
			}
		}
		if m.Host != "" {
			c.bindsHost(h, field, m)
		}
	}
	names := map[string]int{}
	for _, i := range slices.Sorted(maps.Keys(h.config.Nets)) {
		name := h.config.Nets[i]["name"]
		if other, twice := names[name]; twice && name != "" {
			c.fail(h.Object, "config.net"+strconv.Itoa(i), "Give each its own name: eth0, eth1.", "is called %s, like net%d", name, other)
		}
		names[name] = i
	}
}

func (c *checker) bindsHost(h host, field string, m MountPoint) {
	for _, disk := range sorted(c.Mounts) {
		if disk.Path == "" || elsewhere(disk.Node, h.Node) {
			continue
		}
		if under(m.Host, disk.Path) {
			folder := strings.TrimPrefix(strings.TrimPrefix(m.Host, disk.Path), "/")
			c.fail(h.Object, field, fmt.Sprintf("Say it so: {mount: %s, folder: %s, mp: %s}; then order, absence and re-plugging follow.", disk.Ref.Name, cmp.Or(folder, "NAME"), m.Path),
				"%s lies on the disk %s (%s)", m.Host, disk.Ref, disk.Pos)
			return
		}
		if under(disk.Path, m.Host) {
			c.fail(h.Object, field, fmt.Sprintf("Bind a folder of it: {mount: %s, folder: NAME, mp: %s}.", disk.Ref.Name, m.Path), "%s holds the path of the disk %s (%s)", m.Host, disk.Ref, disk.Pos)
			return
		}
	}
	c.rooted(h.Object, field, m.Host)
}

// cycles finds guests that wait for each other.
func (c *checker) cycles() {
	const (
		fresh = iota
		open
		done
	)
	state := map[string]int{}
	var way []string
	var visit func(g *Guest)
	visit = func(g *Guest) {
		name := g.Ref.Name
		state[name] = open
		way = append(way, name)
		for _, need := range g.Needs {
			switch next := c.Guest(need); {
			case next == nil || state[need] == done:
			case state[need] == open:
				ring := append(slices.Clone(way[slices.Index(way, need):]), need)
				c.fail(&g.Object, "needs", "Remove one of them.", "goes round in a circle: %s", strings.Join(ring, " needs "))
			default:
				visit(next)
			}
		}
		state[name] = done
		way = way[:len(way)-1]
	}
	for _, g := range sorted(c.Restores, c.Guests) {
		if state[g.Ref.Name] == fresh {
			visit(g)
		}
	}
}

// suffixed is the length of _YYYYMMDD_HHMMSS in the names of periodic
// snapshots, of PVE's 40 characters.
const suffixed = len("_20060102_150405")

func (c *checker) snapshots() {
	for _, s := range sorted(c.Snapshots) {
		o := &s.Object
		if g := c.refers(o, "guest", s.Guest, "those are kept as archives"); g != nil && !s.Absent {
			for _, i := range slices.Sorted(maps.Keys(g.Config.Mounts)) {
				if g.Config.Mounts[i].Bind() {
					c.fail(o, "guest", "Remove this object; a backup works (without that folder).", "%s has a folder of the host as mp%d (%s), and PVE makes no snapshots of such guests", g.Ref, i, g.Config.Mounts[i].Pos)
					break
				}
			}
		}
		if g := c.Guest(s.Guest); g != nil && s.Absent && s.Every > 0 {
			c.fail(o, "every", "For no more of them remove the object; they are then yours to delete.", "ensure: absent is for named snapshots")
			continue
		}
		switch taken := !s.Taken.IsZero() || o.Has("taken"); {
		case s.Absent && taken:
			c.fail(o, "taken", "Remove the line.", "a snapshot that shall be absent is not taken")
		case taken && (s.Every > 0 || o.Has("every")):
			c.fail(o, "every", "Keep taken: for one named snapshot, or every: for periodic ones.", "a snapshot is either named or periodic")
		case !o.Has("ensure") && !taken && !o.Has("every"):
			c.fail(o, "", "Say taken: 2026-11-22 for one named snapshot, or every: 1h for periodic ones.", "does not say when")
		case o.Has("keep") && !o.Has("every"):
			c.fail(o, "keep", "Leave it out; it is for every:.", "a named snapshot is kept until ensure: absent")
		case o.Has("every") && len(o.Ref.Name)+suffixed > 40:
			c.fail(o, "", fmt.Sprintf("Choose one of at most %d characters.", 40-suffixed), "the name is too long: PVE takes 40 characters, and _YYYYMMDD_HHMMSS is put after it")
		}
	}
}

func (c *checker) backups() {
	for _, b := range sorted(c.Backups) {
		o := &b.Object
		b.Mode, b.Compress = cmp.Or(b.Mode, "snapshot"), cmp.Or(b.Compress, "zstd")
		switch {
		case o.Has("guests") && o.Has("guest"):
			c.fail(o, "guest", "Keep one: guests: [a, b], or guest: a.", "says guest and guests")
		case !o.Has("guests") && !o.Has("guest"):
			c.fail(o, "guests", "Say guests: all, a list, or guest: NAME.", "is missing")
		case o.Has("except") && !o.Has("guests"), o.Has("except") && !b.All && len(b.Guests) > 0:
			c.fail(o, "except", "Leave those out of the list.", "except is for guests: all")
		case b.All && c.whole && len(c.BackupGuests(b)) == 0:
			c.fail(o, "guests", "Declare guests, or remove the object.", "covers no guest")
		}
		field := "guests"
		if o.Has("guest") {
			field = "guest"
		}
		for _, name := range b.Guests {
			c.refers(o, field, name, "those are published, not backed up")
		}
		for _, name := range b.Except {
			c.refers(o, "except", name, "those are left out anyway")
		}
		c.timing(b)
	}
}

// timing checks when a backup is due.
func (c *checker) timing(b *Backup) {
	o := &b.Object
	at, every := o.Has("at"), o.Has("every")
	switch {
	case at && every:
		c.fail(o, "every", "Keep one: a time of day, or so long after the last one.", "says at and every")
		return
	case !at && !every:
		c.fail(o, "at", `Say at: "02:30", or every: 24h.`, "is missing")
		return
	case o.Has("late") && every:
		c.fail(o, "late", "Leave it out.", "late is for at; every: has no time of day that could be missed")
	}
	shortest, longest := b.Every, b.Every
	if b.At != nil {
		shortest, longest = b.At.gaps()
	}
	if shortest == 0 {
		return
	}
	if b.At != nil && b.Late >= shortest {
		c.fail(o, "late", fmt.Sprintf("Write less than %s.", printDuration(shortest)), "would last until the next slot, %s later", printDuration(shortest))
	}
	if b.WarnAfter > 0 && b.WarnAfter < longest {
		c.fail(o, "warn-after", fmt.Sprintf("Write more than %s.", printDuration(longest)), "would warn between two backups, which are up to %s apart", printDuration(longest))
	}
}
