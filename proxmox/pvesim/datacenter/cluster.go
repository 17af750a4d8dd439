package datacenter

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/jsontext"
	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

const repoID = "14a22df35955d97d"

// Version answers GET /version and GET /nodes/{node}/version.
func Version(c *request.Call) error {
	v := c.Cluster.World.Version
	release := v
	if parts := strings.Split(v, "."); len(parts) > 2 {
		release = parts[0] + "." + parts[1]
	}
	c.Data().Open().Str("version", v).Str("repoid", repoID).Str("release", release).Close()
	return nil
}

// fingerprint is the node's certificate's, made up from its name.
func fingerprint(node string) string {
	sum := sha256.Sum256([]byte("pve-ssl " + node))
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}

// ListNodes answers GET /nodes.
func ListNodes(c *request.Call) error {
	cl := c.Cluster
	d := c.Data().List()
	for _, n := range cl.World.Nodes {
		d.Open().Str("node", n.Name).Str("id", "node/"+n.Name).Str("type", "node").Str("level", "")
		if n.Down {
			d.Str("status", "offline")
		} else {
			d.Str("status", "online")
		}
		d.Str("ssl_fingerprint", fingerprint(n.Name))
		if cl.Rights.Can(c.Who, "/nodes/"+n.Name, "Sys.Audit") && !n.Down {
			nodeStats(cl, d, n)
		}
		d.Close()
	}
	d.End()
	return nil
}

func nodeStats(cl *cluster.Cluster, d *jsontext.Doc, n *world.Node) {
	disk := n.RootDisk()
	d.Num("uptime", machine.Uptime(cl, n)).Num("maxcpu", int64(n.CPUs)).Float("cpu", 0.05)
	d.Num("maxmem", n.Memory).Num("mem", machine.MemoryUsed(cl, n)).Num("maxdisk", disk.Size).Num("disk", disk.Taken())
}

// NodeStatus answers GET /nodes/{node}/status.
func NodeStatus(c *request.Call) error {
	cl, n := c.Cluster, c.Node
	disk, used, kernel := n.RootDisk(), machine.MemoryUsed(cl, n), n.KernelRelease()
	const build = "#1 SMP PREEMPT_DYNAMIC PMX 6.17.13-2"
	d := c.Data().Open().Num("uptime", machine.Uptime(cl, n)).Str("pveversion", "pve-manager/"+cl.World.Version+"/"+repoID)
	d.Str("kversion", "Linux "+kernel+" "+build).Float("cpu", 0.05).Num("wait", 0).Num("idle", 0)
	d.Key("current-kernel").Open().Str("sysname", "Linux").Str("release", kernel).Str("version", build).Str("machine", "x86_64").Close()
	d.Key("loadavg").List().Text("0.21").Text("0.18").Text("0.12").End()
	d.Key("memory").Open().Num("total", n.Memory).Num("used", used).Num("free", n.Memory-used).Num("available", n.Memory-used).Close()
	d.Key("swap").Open().Num("total", 0).Num("used", 0).Num("free", 0).Close()
	d.Key("rootfs").Open().Num("total", disk.Size).Num("used", disk.Taken()).Num("free", disk.Free()).Num("avail", disk.Free()).Close()
	d.Key("ksm").Open().Num("shared", 0).Close()
	d.Key("boot-info").Open().Str("mode", "legacy-bios").Close()
	d.Key("cpuinfo").Open().Num("cpus", int64(n.CPUs)).Num("cores", int64(n.CPUs)).Num("sockets", 1).Num("user_hz", 100)
	d.Str("model", "Simulated CPU").Str("vendor", "AuthenticAMD").Str("family", "23").Str("mhz", "2600.000").Str("hvm", "1").Str("flags", "fpu vme de pse").Close()
	d.Close()
	return nil
}

// NodeTime answers GET /nodes/{node}/time.
func NodeTime(c *request.Call) error {
	t := c.Cluster.Now.In(c.Node.Location)
	_, offset := t.Zone()
	c.Data().Open().Num("time", t.Unix()).Num("localtime", t.Unix()+int64(offset)).Str("timezone", c.Node.Zone).Close()
	return nil
}

// SetNodeTime changes the zone at once, also in what lists the times of archives.
func SetNodeTime(c *request.Call) error {
	zone, err := time.LoadLocation(c.Param("timezone"))
	if err != nil {
		return refusal.Fail("No such timezone.")
	}
	c.Node.Zone, c.Node.Location = c.Param("timezone"), zone
	return nil
}

// NodeCommand reboots or shuts down: running guests stop, those with onboot start again.
func NodeCommand(c *request.Call) error {
	guests.RebootNode(c.Cluster, c.Node, c.Param("command") == "reboot")
	return nil
}

// Status answers GET /cluster/status.
func Status(c *request.Call) error {
	cl := c.Cluster
	d := c.Data().List()
	if len(cl.World.Nodes) > 1 {
		d.Open().Str("id", "cluster").Str("type", "cluster").Str("name", "sim").Num("version", int64(len(cl.World.Nodes)))
		d.Num("nodes", int64(len(cl.World.Nodes))).Flag("quorate", !cl.World.NoQuorum).Close()
	}
	for i, n := range cl.World.Nodes {
		ip := n.IP
		if ip == "" {
			ip = "192.0.2." + strconv.Itoa(11+i)
		}
		id := int64(i + 1)
		if len(cl.World.Nodes) == 1 {
			id = 0
		}
		d.Open().Str("id", "node/"+n.Name).Str("type", "node").Str("name", n.Name).Str("ip", ip)
		d.Num("nodeid", id).Flag("online", !n.Down).Flag("local", i == 0).Str("level", "").Close()
	}
	d.End()
	return nil
}

// statAge is how often pvestatd looks.
const statAge = 10

// seen reports whether pvestatd has looked since a time.
func seen(cl *cluster.Cluster, since int64) bool {
	return since <= 0 || cl.Now.Unix()/statAge*statAge > since
}

// Resources answers GET /cluster/resources.
func Resources(c *request.Call) error {
	cl := c.Cluster
	kind := c.Param("type")
	d := c.DataOf(2048 + len(cl.World.Guests)*400).List()
	if kind == "" || kind == "vm" {
		for _, g := range cl.World.Guests {
			if cl.Rights.Can(c.Who, rights.OnVM(g.VMID), "VM.Audit") {
				resource(cl, d, c.Who, g)
			}
		}
	}
	if kind == "" || kind == "node" {
		for _, n := range cl.World.Nodes {
			d.Open().Str("id", "node/"+n.Name).Str("type", "node").Str("node", n.Name).Str("level", "").Num("cgroup-mode", 2)
			if n.Down {
				d.Str("status", "offline")
			} else {
				d.Str("status", "online")
				if cl.Rights.Can(c.Who, "/nodes/"+n.Name, "Sys.Audit") {
					nodeStats(cl, d, n)
				}
			}
			d.Close()
		}
	}
	if kind == "" || kind == "storage" {
		for _, n := range cl.World.Nodes {
			for _, st := range cl.World.Storages {
				if st.Disable || !st.On(n.Name) || cl.Rights.NeedAny(c.Who, rights.OnStorage(st.ID), "Datastore.Audit", "Datastore.AllocateSpace") != nil {
					continue
				}
				d.Open().Str("id", "storage/"+n.Name+"/"+st.ID).Str("type", "storage").Str("node", n.Name).Str("storage", st.ID)
				d.Str("plugintype", st.Type).Str("content", strings.Join(st.Content, ",")).Flag("shared", st.Shared)
				if p, err := places.Of(cl, n, st); err == nil && !n.Down {
					d.Str("status", "available").Num("maxdisk", p.Total).Num("disk", p.Used())
				} else {
					d.Str("status", "unknown")
				}
				d.Close()
			}
		}
	}
	d.End()
	return nil
}

// resource writes a guest as pvestatd saw it last; its existence, node, tags, lock and pool
// are live. Without who, as a member of a pool, its pool is left out.
func resource(cl *cluster.Cluster, d *jsontext.Doc, who *rights.Subject, g *world.Guest) {
	kind := "lxc"
	if g.Qemu {
		kind = "qemu"
	}
	pools := cl.World.Pools
	if who == nil {
		pools = nil
	}
	d.Open().Str("id", kind+"/"+strconv.Itoa(g.VMID)).Str("type", kind).Num("vmid", int64(g.VMID)).Str("node", g.Node)
	if v := g.Conf.Vals["tags"]; v != "" {
		d.Str("tags", v)
	}
	if v := g.Conf.Vals["lock"]; v != "" {
		d.Str("lock", v)
	}
	if g.HA != "" {
		d.Str("hastate", g.HA)
	}
	for _, p := range pools {
		if slices.Contains(p.VMs, g.VMID) && cl.Rights.Can(who, "/pool/"+p.ID, "Pool.Audit") {
			d.Str("pool", p.ID)
		}
	}
	n := cl.World.Node(g.Node)
	if !seen(cl, g.Born) || n.Down {
		d.Str("status", "unknown").Close()
		return
	}
	if g.Filled == 0 && g.Conf.Vals["lock"] == "create" || g.Filled != 0 && !seen(cl, g.Filled) { // what pvestatd saw was an empty config
		d.Str("status", "stopped").Num("uptime", 0).Num("mem", 0).Str("name", "CT"+strconv.Itoa(g.VMID)).Num("maxcpu", int64(n.CPUs)).Num("cpu", 0)
		d.Num("maxmem", 512<<20).Num("disk", 0).Num("maxdisk", 4<<30).Num("netin", 0).Num("netout", 0).Num("diskread", 0).Num("diskwrite", 0)
		d.Flag("template", false).Num("memhost", 0).Close()
		return
	}
	running := g.Running
	if !seen(cl, g.Since) {
		running = !running
	}
	if running {
		d.Str("status", "running").Num("uptime", max(0, cl.Now.Unix()/statAge*statAge-g.Since)).Num("mem", machine.MemoryUse(g))
	} else {
		d.Str("status", "stopped").Num("uptime", 0).Num("mem", 0)
	}
	d.Str("name", g.Name()).Num("maxcpu", int64(machine.CPUs(cl, g))).Num("cpu", 0).Num("maxmem", g.MemoryLimit()).Num("disk", 0)
	d.Num("maxdisk", g.RootSize()).Num("netin", 0).Num("netout", 0).Num("diskread", 0).Num("diskwrite", 0)
	d.Flag("template", g.Conf.Vals["template"] == "1").Num("memhost", 0).Close()
}

// NextID answers GET /cluster/nextid.
func NextID(c *request.Call) error {
	if v := c.Param("vmid"); v != "" {
		if c.Cluster.Guests[notation.Atoi(v)] != nil {
			return refusal.BadParam("vmid", "VM "+v+" already exists")
		}
		c.Data().Text(strconv.Itoa(notation.Atoi(v)))
		return nil
	}
	for id := 100; id < 1000000; id++ {
		if c.Cluster.Guests[id] == nil {
			c.Data().Text(strconv.Itoa(id))
			return nil
		}
	}
	return refusal.Fail("unable to get any free VMID in range [100, 1000000]")
}

// Options answers GET /cluster/options.
func Options(c *request.Call) error {
	d := c.Data().Open().Str("mac_prefix", "BC:24:11").Str("description", "").Key("allowed-tags").List()
	for _, t := range c.Cluster.World.Tags {
		d.Text(t)
	}
	d.End().Close()
	return nil
}

// Bulk starts or stops all guests of a node in one worker.
func Bulk(kind string) func(*request.Call) error {
	return func(c *request.Call) error {
		args := map[string]string{}
		if v := c.Param("vms"); v != "" {
			args["vms"] = v
		}
		return c.Started(c.Cluster.Start(c.Node, kind, "", c.Who.ID, 0, args))
	}
}
