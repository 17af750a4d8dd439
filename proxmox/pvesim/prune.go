package pvesim

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// A keeping is a retention: how many to keep of each kind.
type keeping map[string]int

var keepKinds = []string{"last", "hourly", "daily", "weekly", "monthly", "yearly"}

// parseKeep reads a prune-backups string.
func parseKeep(text string) (keeping, error) {
	k := make(keeping)
	for _, f := range strings.Split(text, ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		name, v, _ := strings.Cut(f, "=")
		kind, ok := strings.CutPrefix(name, "keep-")
		if !ok || kind != "all" && !contains(keepKinds, kind) || !isInteger(v) {
			return nil, fmt.Errorf("format error\n%s: property is not defined in schema and the schema does not allow additional properties", name)
		}
		k[kind] = atoi(v)
	}
	if k["all"] > 0 && len(k) > 1 {
		return nil, fail("keep-all cannot be set together with other options.")
	}
	return k, nil
}

// all reports whether nothing is ever pruned.
func (k keeping) all() bool {
	for _, kind := range keepKinds {
		if k[kind] > 0 {
			return false
		}
	}
	return true
}

func (k keeping) String() string {
	var f []string
	for _, kind := range keepKinds {
		if k[kind] > 0 {
			f = append(f, fmt.Sprintf("keep-%s=%d", kind, k[kind]))
		}
	}
	if len(f) == 0 {
		return "keep-all=1"
	}
	return strings.Join(f, ", ")
}

// A candidate is one archive and what becomes of it.
type candidate struct {
	name string
	time int64
	vmid int
	kind string
	mark string
}

// period names the hour, day, week … that a time lies in, by the node's calendar.
func period(kind string, t time.Time) string {
	switch kind {
	case "hourly":
		return t.Format("2006-01-02 15")
	case "daily":
		return t.Format("2006-01-02")
	case "weekly":
		y, w := t.ISOWeek()
		return fmt.Sprintf("%d/%d", y, w)
	case "monthly":
		return t.Format("2006-01")
	case "yearly":
		return t.Format("2006")
	}
	return t.String()
}

// mark decides over one group, newest first. PVE: prune_mark_backup_group.
func (k keeping) mark(group []*candidate, zone *time.Location) {
	sort.SliceStable(group, func(i, j int) bool { return group[i].time > group[j].time })
	if k.all() {
		for _, c := range group {
			c.mark = "keep"
		}
		return
	}
	for _, kind := range keepKinds {
		if k[kind] == 0 {
			continue
		}
		id := func(i int) string {
			if kind == "last" {
				return itoa(i)
			}
			return period(kind, time.Unix(group[i].time, 0).In(zone))
		}
		had, now := make(map[string]bool), make(map[string]bool)
		for i, c := range group {
			if c.mark == "keep" {
				had[id(i)] = true
			}
		}
		for i, c := range group {
			at := id(i)
			if c.mark != "" || had[at] {
				continue
			}
			if now[at] {
				c.mark = "remove"
				continue
			}
			if len(now) >= k[kind] {
				break
			}
			now[at] = true
			c.mark = "keep"
		}
	}
	for _, c := range group {
		if c.mark == "" {
			c.mark = "remove"
		}
	}
}

// candidates are the archives of a place with their marks, in the order of their names.
func (s *Sim) candidates(n *node, p *place, k keeping, vmid int, kind string) []*candidate {
	var all []*candidate
	groups := make(map[string][]*candidate)
	for _, name := range sortedKeys(p.items) {
		m := dumpRE.FindStringSubmatch(name)
		if m == nil || impossible(m[3]) || !archiveRE.MatchString(name) || vmid != 0 && atoi(m[2]) != vmid || kind != "" && kind != m[1] {
			continue
		}
		v := p.items[name]
		c := &candidate{name: name, time: s.archiveTime(n, name, v), vmid: atoi(m[2]), kind: m[1]}
		all = append(all, c)
		switch {
		case !standard(name):
			c.mark = "renamed"
		case v.Protected:
			c.mark = "protected"
		default:
			key := m[1] + "/" + m[2]
			groups[key] = append(groups[key], c)
		}
	}
	for _, g := range groups {
		k.mark(g, n.zone)
	}
	return all
}

// pruneRequest is what both prune methods read.
func pruneRequest(c *call) (p *place, k keeping, vmid int, err error) {
	st, err := c.s.storageOn(c.node, c.param("storage"))
	if err != nil {
		return nil, nil, 0, err
	}
	if p, err = c.s.place(c.node, st); err != nil {
		return nil, nil, 0, err
	}
	text := c.param("prune-backups")
	if text == "" {
		text = st.Prune
	}
	k, err = parseKeep(text)
	return p, k, atoi(c.param("vmid")), err
}

func pruneDry(c *call) error {
	p, k, vmid, err := pruneRequest(c)
	if err != nil {
		return err
	}
	d := c.data().list()
	for _, m := range c.s.candidates(c.node, p, k, vmid, c.param("type")) {
		d.open().str("volid", p.st.ID+":"+m.name).num("ctime", m.time).str("mark", m.mark).str("type", m.kind)
		if m.mark == "renamed" {
			d.str("vmid", itoa(m.vmid))
		} else {
			d.num("vmid", int64(m.vmid))
		}
		d.close()
	}
	d.end()
	return nil
}

func pruneBackups(c *call) error {
	s, id := c.s, c.param("storage")
	if v := c.param("vmid"); v != "" {
		if err := s.need(c.who, onStorage(id), "Datastore.AllocateSpace"); err != nil {
			return err
		}
		if err := s.need(c.who, "/vms/"+v, "VM.Backup"); err != nil {
			return err
		}
		id = v + "@" + id
	} else if err := s.need(c.who, onStorage(id), "Datastore.Allocate"); err != nil {
		return err
	}
	if _, _, _, err := pruneRequest(c); err != nil {
		return err
	}
	return c.upid(s.start(c.node, "prunebackups", id, c.who.id, 0, map[string]string{
		"storage": c.param("storage"), "keep": c.param("prune-backups"), "vmid": c.param("vmid"), "kind": c.param("type")}))
}

func (s *Sim) runPrune(t *task) error {
	if t.Phase == 0 {
		return s.then(t, 1)
	}
	st, err := s.storageOn(t.node, t.Args["storage"])
	if err != nil {
		return err
	}
	p, err := s.place(t.node, st)
	if err != nil {
		return err
	}
	text := t.Args["keep"]
	if text == "" {
		text = st.Prune
	}
	k, err := parseKeep(text)
	if err != nil {
		return err
	}
	for _, c := range s.candidates(t.node, p, k, atoi(t.Args["vmid"]), t.Args["kind"]) {
		if c.mark == "remove" {
			t.log("removing backup '%s:%s'", st.ID, c.name)
			p.drop(c.name)
		}
	}
	return errDone
}
