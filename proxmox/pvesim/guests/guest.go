// Package guests answers the requests about one guest that exists: its status, its config and what
// is pending, power, migration. What other operations ask of a guest first (locks, rights, features) is
// here too.
package guests

import (
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/jsontext"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// vmstatus writes a guest as the lists do. PVE: LXC vmstatus, QemuServer vmstatus.
func vmstatus(cl *cluster.Cluster, d *jsontext.Doc, g *world.Guest) {
	c := g.Conf
	if c.Status == nil {
		var fixed jsontext.Doc
		fixedStatus(cl, &fixed, g)
		c.Status = fixed.B
	}
	d.Comma()
	d.B = append(d.B, c.Status...)
	size := g.RootSize()
	if !g.Running {
		d.Str("status", "stopped").Num("mem", 0).Num("disk", 0).Num("maxdisk", size).Num("uptime", 0)
		d.Num("diskread", 0).Num("diskwrite", 0).Close()
		return
	}
	used := int64(0)
	if v, _, _ := places.Find(cl, cl.World.Node(g.Node), c.Rootfs().Volid()); v != nil && !g.Qemu { // of a virtual machine PVE does not know
		used = v.Used
	}
	d.Str("status", "running").Num("mem", min(machine.MemoryUse(g), g.MemoryLimit())).Num("disk", used).Num("maxdisk", size-size/20)
	d.Num("uptime", max(0, cl.Now.Unix()-g.Since)).Num("pid", int64(g.PID))
	d.B = append(d.B, runningStatus...)
	d.Close()
}

// runningStatus is what this simulator does not measure.
const runningStatus = `,"diskread":7979008,"diskwrite":6668288,"pressurecpusome":"0.14","pressurecpufull":"0.09","pressureiosome":"0.00","pressureiofull":"0.00","pressurememorysome":"0.00","pressurememoryfull":"0.00"`

// fixedStatus is the part of a guest's status that only its config decides, so that a
// list of thousands is quick. The object stays open.
func fixedStatus(cl *cluster.Cluster, d *jsontext.Doc, g *world.Guest) {
	c := g.Conf
	d.Open().Num("vmid", int64(g.VMID))
	if !g.Qemu {
		d.Str("type", "lxc")
	}
	d.Str("name", g.Name())
	d.Num("cpus", int64(machine.CPUs(cl, g))).Num("maxmem", g.MemoryLimit())
	if _, ok := c.Vals["swap"]; ok {
		d.Num("maxswap", g.SwapLimit())
	} else if !g.Qemu {
		d.Num("maxswap", 0)
	}
	if v := c.Vals["tags"]; v != "" {
		d.Str("tags", v)
	}
	if v := c.Vals["lock"]; v != "" {
		d.Str("lock", v)
	}
	if c.Vals["template"] == "1" {
		d.Num("template", 1)
	}
	if !g.Qemu {
		d.Num("swap", 0)
	}
	d.Num("netin", 0).Num("netout", 0).Num("cpu", 0)
}

// List lists the guests of a node in no order, those that the caller may see.
func List(c *request.Call) error {
	cl := c.Cluster
	all := allGuests(cl, c.Who)
	d := c.DataOf(512 + len(cl.World.Guests)*500).List()
	Shuffled(cl, len(cl.World.Guests), func(i int) {
		g := cl.World.Guests[i]
		if g.Node == c.Node.Name && g.Qemu == c.Qemu() && (all || cl.Rights.Can(c.Who, rights.OnVM(g.VMID), "VM.Audit")) {
			vmstatus(cl, d, g)
		}
	})
	d.End()
	return nil
}

// allGuests reports whether a subject sees every guest, so that nobody has to ask
// for each: VM.Audit on / propagates and nothing deeper replaces it.
func allGuests(cl *cluster.Cluster, w *rights.Subject) bool {
	if w.Root() {
		return true
	}
	for _, e := range cl.World.Access.ACL {
		if e.Path != "/" {
			return false
		}
	}
	return cl.Rights.May(w, "/")["VM.Audit"]
}

// Shuffled visits 0..n-1 in another order each time, the same in each run: PVE's
// lists come in the order of a Perl hash.
func Shuffled(cl *cluster.Cluster, n int, visit func(int)) {
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
	at := cl.Requests % n
	for i := 0; i < n; i++ {
		visit(at)
		at = (at + step) % n
	}
}

// Status answers GET /nodes/{node}/lxc/{vmid}/status/current.
func Status(c *request.Call) error {
	g, err := c.Guest()
	if err != nil {
		return err
	}
	if recovering(c.Cluster, g) {
		if err := c.Cluster.SleepUntil(c.Ctx, c.Cluster.Now.Add(request.HungFor), nil); err != nil {
			return err
		}
		return &refusal.Refusal{Code: 596, Text: "Connection timed out"}
	}
	d := c.Data()
	vmstatus(c.Cluster, d, g)
	d.B = d.B[:len(d.B)-1]
	d.Key("ha").Open().Flag("managed", g.HA != "")
	if g.HA != "" {
		d.Str("state", g.HA)
	}
	d.Close().Close()
	return nil
}

// Feature says whether a guest can be snapshot, cloned or copied.
func Feature(c *request.Call) error {
	g, err := c.Guest()
	if err != nil {
		return err
	}
	sec := &g.Conf.Section
	if name := c.Param("snapname"); name != "" {
		if sec = g.Conf.Snaps[name]; sec == nil {
			return refusal.Fail("snapshot '%s' does not exist", name)
		}
	}
	c.Data().Open().Flag("hasFeature", HasFeature(c.Cluster, sec, c.Param("feature"))).Close()
	return nil
}

// HasFeature reports whether a guest can be snapshot, cloned or copied: every mount point must be able to. PVE: has_feature.
func HasFeature(cl *cluster.Cluster, sec *lxcconf.Section, feature string) bool {
	for _, m := range sec.MountPoints() {
		id, _, _ := strings.Cut(m.Volid(), ":")
		st := cl.Storages[id]
		if m.Kind() != "volume" || st == nil || feature == "snapshot" && !st.CanSnapshot() {
			return false
		}
	}
	return true
}
