package pvesim

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const repoID = "14a22df35955d97d"

func version(c *call) error {
	v := c.s.w.Version
	release := v
	if parts := strings.Split(v, "."); len(parts) > 2 {
		release = parts[0] + "." + parts[1]
	}
	c.data().open().str("version", v).str("repoid", repoID).str("release", release).close()
	return nil
}

// fingerprint is the node's certificate's, made up from its name.
func fingerprint(node string) string {
	sum := sha256.Sum256([]byte("pve-ssl " + node))
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}

func (s *Sim) uptime(n *node) int64 { return max(0, s.now.Unix()-n.Boot) }

// memoryUsed is the host's: itself and its guests.
func (s *Sim) memoryUsed(n *node) int64 {
	used := int64(1 << 30)
	for _, g := range s.w.Guests {
		if g.Running && g.Node == n.Name {
			used += s.memoryUse(g)
		}
	}
	return min(used, n.Memory)
}

func (n *node) rootDisk() *disk { return n.diskOf(n.mountAt("/")) }

func nodes(c *call) error {
	s := c.s
	d := c.data().list()
	for _, n := range s.w.Nodes {
		d.open().str("node", n.Name).str("id", "node/"+n.Name).str("type", "node").str("level", "")
		if n.Down {
			d.str("status", "offline")
		} else {
			d.str("status", "online")
		}
		d.str("ssl_fingerprint", fingerprint(n.Name))
		if s.can(c.who, "/nodes/"+n.Name, "Sys.Audit") && !n.Down {
			s.nodeStats(d, n)
		}
		d.close()
	}
	d.end()
	return nil
}

func (s *Sim) nodeStats(d *doc, n *node) {
	disk := n.rootDisk()
	d.num("uptime", s.uptime(n)).num("maxcpu", int64(n.CPUs)).float("cpu", 0.05)
	d.num("maxmem", n.Memory).num("mem", s.memoryUsed(n)).num("maxdisk", disk.Size).num("disk", s.usedOn(disk))
}

func nodeStatus(c *call) error {
	s, n := c.s, c.node
	disk, used, kernel := n.rootDisk(), s.memoryUsed(n), n.kernel()
	const build = "#1 SMP PREEMPT_DYNAMIC PMX 6.17.13-2"
	d := c.data().open().num("uptime", s.uptime(n)).str("pveversion", "pve-manager/"+s.w.Version+"/"+repoID)
	d.str("kversion", "Linux "+kernel+" "+build).float("cpu", 0.05).num("wait", 0).num("idle", 0)
	d.key("current-kernel").open().str("sysname", "Linux").str("release", kernel).str("version", build).str("machine", "x86_64").close()
	d.key("loadavg").list().text("0.21").text("0.18").text("0.12").end()
	d.key("memory").open().num("total", n.Memory).num("used", used).num("free", n.Memory-used).num("available", n.Memory-used).close()
	d.key("swap").open().num("total", 0).num("used", 0).num("free", 0).close()
	d.key("rootfs").open().num("total", disk.Size).num("used", s.usedOn(disk)).num("free", s.freeOn(disk)).num("avail", s.freeOn(disk)).close()
	d.key("ksm").open().num("shared", 0).close()
	d.key("boot-info").open().str("mode", "legacy-bios").close()
	d.key("cpuinfo").open().num("cpus", int64(n.CPUs)).num("cores", int64(n.CPUs)).num("sockets", 1).num("user_hz", 100)
	d.str("model", "Simulated CPU").str("vendor", "AuthenticAMD").str("family", "23").str("mhz", "2600.000").str("hvm", "1").str("flags", "fpu vme de pse").close()
	d.close()
	return nil
}

func nodeTime(c *call) error {
	t := c.s.now.In(c.node.zone)
	_, offset := t.Zone()
	c.data().open().num("time", t.Unix()).num("localtime", t.Unix()+int64(offset)).str("timezone", c.node.Zone).close()
	return nil
}

// setNodeTime changes the zone at once, also in what lists the times of archives.
func setNodeTime(c *call) error {
	zone, err := time.LoadLocation(c.param("timezone"))
	if err != nil {
		return fail("No such timezone.")
	}
	c.node.Zone, c.node.zone = c.param("timezone"), zone
	return nil
}

// nodeCommand reboots or shuts down: running guests stop, those with onboot start again.
func nodeCommand(c *call) error {
	c.s.reboot(c.node, c.param("command") == "reboot")
	return nil
}

func clusterStatus(c *call) error {
	s := c.s
	d := c.data().list()
	if len(s.w.Nodes) > 1 {
		d.open().str("id", "cluster").str("type", "cluster").str("name", "sim").num("version", int64(len(s.w.Nodes)))
		d.num("nodes", int64(len(s.w.Nodes))).flag("quorate", !s.w.NoQuorum).close()
	}
	for i, n := range s.w.Nodes {
		ip := n.IP
		if ip == "" {
			ip = "192.0.2." + itoa(11+i)
		}
		id := int64(i + 1)
		if len(s.w.Nodes) == 1 {
			id = 0
		}
		d.open().str("id", "node/"+n.Name).str("type", "node").str("name", n.Name).str("ip", ip)
		d.num("nodeid", id).flag("online", !n.Down).flag("local", i == 0).str("level", "").close()
	}
	d.end()
	return nil
}

// statAge is how often pvestatd looks.
const statAge = 10

// seen reports whether pvestatd has looked since a time.
func (s *Sim) seen(since int64) bool {
	return since <= 0 || s.now.Unix()/statAge*statAge > since
}

func clusterResources(c *call) error {
	s := c.s
	kind := c.param("type")
	d := c.dataOf(2048 + len(s.w.Guests)*400).list()
	if kind == "" || kind == "vm" {
		for _, g := range s.w.Guests {
			if s.can(c.who, onVM(g.VMID), "VM.Audit") {
				s.resource(d, c.who, g)
			}
		}
	}
	if kind == "" || kind == "node" {
		for _, n := range s.w.Nodes {
			d.open().str("id", "node/"+n.Name).str("type", "node").str("node", n.Name).str("level", "").num("cgroup-mode", 2)
			if n.Down {
				d.str("status", "offline")
			} else {
				d.str("status", "online")
				if s.can(c.who, "/nodes/"+n.Name, "Sys.Audit") {
					s.nodeStats(d, n)
				}
			}
			d.close()
		}
	}
	if kind == "" || kind == "storage" {
		for _, n := range s.w.Nodes {
			for _, st := range s.w.Storages {
				if st.Disable || !st.on(n.Name) || s.needAny(c.who, onStorage(st.ID), "Datastore.Audit", "Datastore.AllocateSpace") != nil {
					continue
				}
				d.open().str("id", "storage/"+n.Name+"/"+st.ID).str("type", "storage").str("node", n.Name).str("storage", st.ID)
				d.str("plugintype", st.Type).str("content", strings.Join(st.Content, ",")).flag("shared", st.Shared)
				if p, err := s.place(n, st); err == nil && !n.Down {
					d.str("status", "available").num("maxdisk", p.total).num("disk", p.used())
				} else {
					d.str("status", "unknown")
				}
				d.close()
			}
		}
	}
	d.end()
	return nil
}

// resource writes a guest as pvestatd saw it last; its existence, node, tags, lock and pool
// are live. Without who, as a member of a pool, its pool is left out.
func (s *Sim) resource(d *doc, who *subject, g *guest) {
	kind := "lxc"
	if g.Qemu {
		kind = "qemu"
	}
	pools := s.w.Pools
	if who == nil {
		pools = nil
	}
	d.open().str("id", kind+"/"+itoa(g.VMID)).str("type", kind).num("vmid", int64(g.VMID)).str("node", g.Node)
	if v := g.conf.vals["tags"]; v != "" {
		d.str("tags", v)
	}
	if v := g.conf.vals["lock"]; v != "" {
		d.str("lock", v)
	}
	if g.HA != "" {
		d.str("hastate", g.HA)
	}
	for _, p := range pools {
		if contains(p.VMs, g.VMID) && s.can(who, "/pool/"+p.ID, "Pool.Audit") {
			d.str("pool", p.ID)
		}
	}
	n := s.node(g.Node)
	if !s.seen(g.Born) || n.Down {
		d.str("status", "unknown").close()
		return
	}
	if g.Filled == 0 && g.conf.vals["lock"] == "create" || g.Filled != 0 && !s.seen(g.Filled) { // what pvestatd saw was an empty config
		d.str("status", "stopped").num("uptime", 0).num("mem", 0).str("name", "CT"+itoa(g.VMID)).num("maxcpu", int64(n.CPUs)).num("cpu", 0)
		d.num("maxmem", 512<<20).num("disk", 0).num("maxdisk", 4<<30).num("netin", 0).num("netout", 0).num("diskread", 0).num("diskwrite", 0)
		d.flag("template", false).num("memhost", 0).close()
		return
	}
	running := g.Running
	if !s.seen(g.Since) {
		running = !running
	}
	if running {
		d.str("status", "running").num("uptime", max(0, s.now.Unix()/statAge*statAge-g.Since)).num("mem", s.memoryUse(g))
	} else {
		d.str("status", "stopped").num("uptime", 0).num("mem", 0)
	}
	d.str("name", g.name()).num("maxcpu", int64(s.cpus(g))).num("cpu", 0).num("maxmem", g.memoryLimit()).num("disk", 0)
	d.num("maxdisk", g.rootSize()).num("netin", 0).num("netout", 0).num("diskread", 0).num("diskwrite", 0)
	d.flag("template", g.conf.vals["template"] == "1").num("memhost", 0).close()
}

func nextID(c *call) error {
	if v := c.param("vmid"); v != "" {
		if c.s.guests[atoi(v)] != nil {
			return badParam("vmid", "VM "+v+" already exists")
		}
		c.data().text(strconv.Itoa(atoi(v)))
		return nil
	}
	for id := 100; id < 1000000; id++ {
		if c.s.guests[id] == nil {
			c.data().text(itoa(id))
			return nil
		}
	}
	return fail("unable to get any free VMID in range [100, 1000000]")
}

func clusterOptions(c *call) error {
	d := c.data().open().str("mac_prefix", "BC:24:11").str("description", "").key("allowed-tags").list()
	for _, t := range c.s.w.Tags {
		d.text(t)
	}
	d.end().close()
	return nil
}

func backupJobs(c *call) error {
	d := c.data().list()
	for _, j := range c.s.w.Jobs {
		d.open()
		for _, k := range sortedKeys(j) {
			switch v := j[k].(type) {
			case int:
				d.num(k, int64(v))
			case bool:
				d.flag(k, v)
			default:
				d.str(k, fmt.Sprint(v))
			}
		}
		d.close()
	}
	d.end()
	return nil
}

// bulk starts or stops all guests of a node in one worker.
func bulk(kind string) func(*call) error {
	return func(c *call) error {
		args := map[string]string{}
		if v := c.param("vms"); v != "" {
			args["vms"] = v
		}
		return c.upid(c.s.start(c.node, kind, "", c.who.id, 0, args))
	}
}
