package pvesim

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// name is what lists call a guest.
func (g *guest) name() string {
	if h := g.conf.vals["hostname"]; h != "" {
		return strings.ReplaceAll(h, " ", "")
	}
	return "CT" + itoa(g.VMID)
}

// memoryLimit is memory in bytes.
func (g *guest) memoryLimit() int64 {
	if m := g.conf.num("memory"); m > 0 {
		return int64(m) << 20
	}
	return 512 << 20
}

// swapLimit is swap in bytes; 512 MiB when unset.
func (g *guest) swapLimit() int64 {
	if _, ok := g.conf.vals["swap"]; ok {
		return int64(g.conf.num("swap")) << 20
	}
	return 512 << 20
}

// appetite is what a system takes after its start, in MiB.
func (g *guest) appetite() int {
	switch {
	case g.Uses > 0:
		return g.Uses
	case g.conf.vals["ostype"] == "alpine":
		return min(24, int(g.memoryLimit()>>20)*8/10)
	}
	return min(152, int(g.memoryLimit()>>20)*8/10)
}

// memoryUse is what a running guest's processes take, in bytes, as PVE lists it: memory.current less the file pages, which shared memory is among.
func (s *Sim) memoryUse(g *guest) int64 {
	if !g.Running {
		return 0
	}
	if g.Using == 0 {
		g.Using = g.appetite()
	}
	return int64(g.Using) << 20
}

// pinned is what the kernel cannot drop of a running guest, in bytes.
func (s *Sim) pinned(g *guest) int64 {
	if !g.Running {
		return 0
	}
	return s.memoryUse(g) + int64(g.Shmem)<<20
}

// starves reports whether a guest needs more than its limits leave it: then the kernel kills it.
func (s *Sim) starves(g *guest) bool {
	return g.Running && s.pinned(g) > g.memoryLimit()+g.swapLimit()
}

// memoryFile is a file of a running guest's cgroup.
func (s *Sim) memoryFile(g *guest, name string) string {
	pinned, limit := s.pinned(g), g.memoryLimit()
	in := min(pinned, limit)
	cache := min(int64(g.Cache)<<20, limit-in)
	shmem := min(int64(g.Shmem)<<20, in)
	switch name {
	case "memory.current":
		return fmt.Sprintf("%d\n", in+cache)
	case "memory.swap.current":
		return fmt.Sprintf("%d\n", pinned-in)
	case "memory.stat":
		return fmt.Sprintf("anon %d\nfile %d\nshmem %d\nfile_dirty 0\nfile_writeback 0\ninactive_anon %d\nactive_anon 0\ninactive_file %d\nactive_file 0\nunevictable 0\n",
			in-shmem, shmem+cache, shmem, in, cache)
	}
	return ""
}

func (s *Sim) cpus(g *guest) int {
	if n := g.conf.num("cores"); n > 0 {
		return n
	}
	if f, err := strconv.ParseFloat(g.conf.vals["cpulimit"], 64); err == nil && f > 0 {
		return int(f + 0.999)
	}
	return s.node(g.Node).CPUs
}

func (g *guest) rootSize() int64 {
	return parseSize(g.conf.rootfs().props["size"])
}

// vmstatus writes a guest as the lists do. PVE: LXC vmstatus.
func (s *Sim) vmstatus(d *doc, g *guest) {
	c := g.conf
	if c.status == nil {
		var fixed doc
		s.fixedStatus(&fixed, g)
		c.status = fixed.b
	}
	d.comma()
	d.b = append(d.b, c.status...)
	size := g.rootSize()
	if !g.Running {
		d.str("status", "stopped").num("mem", 0).num("disk", 0).num("maxdisk", size).num("uptime", 0)
		d.num("diskread", 0).num("diskwrite", 0).close()
		return
	}
	used := int64(0)
	if v, _, _ := s.volume(s.node(g.Node), c.rootfs().volid()); v != nil {
		used = v.Used
	}
	d.str("status", "running").num("mem", min(s.memoryUse(g), g.memoryLimit())).num("disk", used).num("maxdisk", size-size/20)
	d.num("uptime", max(0, s.now.Unix()-g.Since)).num("pid", int64(g.PID))
	d.b = append(d.b, runningStatus...)
	d.close()
}

// runningStatus is what this simulator does not measure.
const runningStatus = `,"diskread":7979008,"diskwrite":6668288,"pressurecpusome":"0.14","pressurecpufull":"0.09","pressureiosome":"0.00","pressureiofull":"0.00","pressurememorysome":"0.00","pressurememoryfull":"0.00"`

// fixedStatus is the part of a guest's status that only its config decides, so that a
// list of thousands is quick. The object stays open.
func (s *Sim) fixedStatus(d *doc, g *guest) {
	c := g.conf
	d.open().num("vmid", int64(g.VMID)).str("type", "lxc").str("name", g.name())
	d.num("cpus", int64(s.cpus(g))).num("maxmem", g.memoryLimit())
	if _, ok := c.vals["swap"]; ok {
		d.num("maxswap", g.swapLimit())
	} else {
		d.num("maxswap", 0)
	}
	if v := c.vals["tags"]; v != "" {
		d.str("tags", v)
	}
	if v := c.vals["lock"]; v != "" {
		d.str("lock", v)
	}
	if c.vals["template"] == "1" {
		d.num("template", 1)
	}
	d.num("swap", 0).num("netin", 0).num("netout", 0).num("cpu", 0)
}

// lxcList lists the guests of a node in no order, those that the caller may see.
func lxcList(c *call) error {
	s := c.s
	all := s.allGuests(c.who)
	d := c.dataOf(512 + len(s.w.Guests)*500).list()
	s.shuffled(len(s.w.Guests), func(i int) {
		g := s.w.Guests[i]
		if g.Node == c.node.Name && !g.Qemu && (all || s.can(c.who, onVM(g.VMID), "VM.Audit")) {
			s.vmstatus(d, g)
		}
	})
	d.end()
	return nil
}

// allGuests reports whether a subject sees every guest, so that nobody has to ask
// for each: VM.Audit on / propagates and nothing deeper replaces it.
func (s *Sim) allGuests(w *subject) bool {
	if w.root() {
		return true
	}
	for _, e := range s.w.Access.ACL {
		if e.Path != "/" {
			return false
		}
	}
	return s.acl.may(w, "/")["VM.Audit"]
}

// shuffled visits 0..n-1 in another order each time, the same in each run: PVE's
// lists come in the order of a Perl hash.
func (s *Sim) shuffled(n int, visit func(int)) {
	if n == 0 {
		return
	}
	step := 1
	for _, p := range []int{7, 5, 3} {
		if n%p != 0 {
			step = p
			break
		}
	}
	at := s.requests % n
	for i := 0; i < n; i++ {
		visit(at)
		at = (at + step) % n
	}
}

func guestStatus(c *call) error {
	g, err := c.guest()
	if err != nil {
		return err
	}
	if c.s.recovering(g) {
		if err := c.s.sleepUntil(c.ctx, c.s.now.Add(hungFor), nil); err != nil {
			return err
		}
		return &refusal{code: 596, text: "Connection timed out"}
	}
	d := c.data()
	c.s.vmstatus(d, g)
	d.b = d.b[:len(d.b)-1]
	d.key("ha").open().flag("managed", g.HA != "")
	if g.HA != "" {
		d.str("state", g.HA)
	}
	d.close().close()
	return nil
}

// numbered are the keys of a kind that are set, by number.
func (sec *section) numbered(kind string) []string {
	var keys []string
	for k := range sec.vals {
		if strings.HasPrefix(k, kind) && len(k) > len(kind) && isInteger(k[len(kind):]) {
			keys = append(keys, k)
		}
	}
	sort.Slice(keys, func(i, j int) bool { return atoi(keys[i][len(kind):]) < atoi(keys[j][len(kind):]) })
	return keys
}

// A mountPoint is rootfs or an mpN, parsed.
type mountPoint struct {
	key  string
	path string // in the guest
	props
}

func (m mountPoint) volid() string { return m.props["volume"] }

func (m mountPoint) kind() string { return volumeKind(m.volid()) }

// volumeKind is volume, bind or device. PVE: classify_mountpoint.
func volumeKind(volid string) string {
	switch {
	case strings.HasPrefix(volid, "/dev/"):
		return "device"
	case strings.HasPrefix(volid, "/"):
		return "bind"
	}
	return "volume"
}

func (m mountPoint) print() string {
	if m.key == "rootfs" {
		return rootfsSchema.print(m.props)
	}
	return mpSchema.print(m.props)
}

func parseMountPoint(key, text string) (mountPoint, error) {
	sc := mpSchema
	if key == "rootfs" {
		sc = rootfsSchema
	}
	p, err := sc.parse(text, "")
	m := mountPoint{key: key, path: "/", props: p}
	if key != "rootfs" {
		m.path = p["mp"]
	}
	return m, err
}

// mountPoints are rootfs and the mpN, in that order; broken ones are left out.
func (sec *section) mountPoints() []mountPoint {
	var all []mountPoint
	for _, k := range append([]string{"rootfs"}, sec.numbered("mp")...) {
		if v := sec.vals[k]; v != "" {
			if m, err := parseMountPoint(k, v); err == nil {
				all = append(all, m)
			}
		}
	}
	return all
}

// guestFeature says whether a guest can be snapshot, cloned or copied.
func guestFeature(c *call) error {
	g, err := c.guest()
	if err != nil {
		return err
	}
	sec := &g.conf.section
	if name := c.param("snapname"); name != "" {
		if sec = g.conf.snaps[name]; sec == nil {
			return fail("snapshot '%s' does not exist", name)
		}
	}
	c.data().open().flag("hasFeature", c.s.hasFeature(sec, c.param("feature"))).close()
	return nil
}

// hasFeature: every mount point must be able to. PVE: has_feature.
func (s *Sim) hasFeature(sec *section, feature string) bool {
	for _, m := range sec.mountPoints() {
		id, _, _ := strings.Cut(m.volid(), ":")
		st := s.storages[id]
		if m.kind() != "volume" || st == nil || feature == "snapshot" && !st.snapshots() {
			return false
		}
	}
	return true
}
