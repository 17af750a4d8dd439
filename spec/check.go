package spec

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
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
			a.refuse(fmt.Errorf("the name of a guest is its hostname: %w", err))
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

// fill puts the defaults in.
func (d *Desired) fill() {
	d.guests = slices.Clip(d.AllGuests())
	for _, g := range sorted(d.Restores, d.Guests) {
		g.Restart = cmp.Or(g.Restart, RestartManual)
		if g.Guard != nil {
			g.Guard.Hold, g.Guard.Within = cmp.Or(g.Guard.Hold, guardHold), cmp.Or(g.Guard.Within, guardWithin)
		}
		if g.Rollback != nil {
			g.Rollback.Pos = g.At("rollback")
		}
	}
	for _, b := range d.Backups {
		if b.Tag != "" {
			b.Guests = d.tagged(b.Tag, b.Except)
		}
		b.Mode, b.Compress = cmp.Or(b.Mode, "snapshot"), cmp.Or(b.Compress, "zstd")
	}
	d.expand()
	for _, t := range d.Tests {
		if t.Tag != "" {
			t.Guests = d.tagged(t.Tag, t.Except)
		}
		t.KeepAwake = cmp.Or(t.KeepAwake, keepAwake)
	}
	for _, g := range d.Golden { // every guest that is made of one asks for it
		g.canonical = g.Canonical()
	}
}

// checker looks at all objects together.
type checker struct {
	*Desired
	*faults
	roots  []string
	idmap  []string
	whole  bool // no file is missing, so what is not found is not there
	looked int  // for names that are not declared
}

func (l Loader) check(d *Desired, f *faults) {
	c := checker{Desired: d, faults: f, roots: l.Roots, idmap: l.IDMap, whole: true}
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
	c.addresses()
	c.cycles()
	c.snapshots()
	c.backups()
	testChecker{&c}.all()
}

// fail notes a mistake at a field of an object.
func (c *checker) fail(o *Object, field, fix, format string, args ...any) {
	p, whole := o.At(field), string(o.Ref.Kind)+"."+o.Ref.Name
	if field != "" {
		whole += "." + field
	}
	c.add(&Error{File: p.File, Line: p.Line, Field: whole, Message: fmt.Sprintf(format, args...), Fix: fix})
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
			c.fail(h.Object, "", "Give one of them another name. Golden images, restores and guests share one set of names.", "is also the name of %s (%s)", first.Ref, first.Pos)
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
		case was[key] != nil && was[key].Series() == o.Series():
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
		if r = path.Clean(r); under(p, r) && p != r && (!under(p, storages) || under(r, storages)) {
			return
		}
	}
	if under(p, storages) {
		c.fail(o, field, "Bind a folder elsewhere, or let root add it to the roots in /etc/felhom-agent/fence.json.", "%s is below %s, where PVE mounts its storages with the data of all guests", p, storages)
		return
	}
	c.fail(o, field, "Move it there, or let root add its folder to the roots in /etc/felhom-agent/fence.json.", "%s is not below %s; the root helper mounts and binds only there", p, orList(c.roots))
}

// elsewhere reports whether two objects are known to be on different nodes.
func elsewhere(a, b string) bool { return a != "" && b != "" && a != b }

// refers checks a reference to a restore or guest; why says what goldens
// cannot do.
func (c *checker) refers(o *Object, field, name, why string) *Guest {
	if g := c.Guest(name); g != nil {
		return g
	}
	switch {
	case name == "":
	case c.Golden[name] != nil:
		c.fail(o, field, "Name a restore or guest.", "%s is a golden image, and %s", name, why)
	case c.whole:
		c.fail(o, field, c.reference(name, KindRestore, KindGuest), "names %q, which is not declared", name)
	}
	return nil
}

// reference is the fix of a name that no object of the kinds has.
func (c *checker) reference(name string, kinds ...Kind) string {
	var known, sections []string
	c.looked++
	for _, k := range kinds {
		sections = append(sections, k.String())
		// Where a whole household refers to nothing, looking for what was meant
		// each time would take minutes.
		if c.looked <= 20 {
			c.each(k, func(o *Object) { known = append(known, o.Ref.Name) })
		}
	}
	slices.Sort(known)
	if s := suggest(name, known); strings.HasPrefix(s, "Did") || len(known) > 0 && len(known) <= 8 {
		return s
	}
	return "Declare it under " + orList(sections) + ", or correct the name."
}
