package datacenter

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/jsontext"
	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// MaySeeDisks is who may list the disks of a node.
func MaySeeDisks(c *request.Call) error {
	if c.Cluster.Rights.Can(c.Who, "/", "Sys.Audit") || c.Cluster.Rights.Can(c.Who, "/nodes/"+c.Param("node"), "Sys.Audit") {
		return nil
	}
	return refusal.Forbid("")
}

// ListDisks lists the drives, with include-partitions=1 their partitions too.
func ListDisks(c *request.Call) error {
	n, parts := c.Node, c.Flag("include-partitions")
	d := c.Data().List()
	for _, k := range n.AllDrives() {
		used, mounted := k.Used, false
		var on []*world.Disk
		for _, f := range n.Disks {
			if f.Absent || world.WholeDisk(f.Device) != k.Device {
				continue
			}
			if f.Device != k.Device {
				on = append(on, f)
			}
			if f.Device == k.Device || !parts {
				used, mounted = f.FS, mounted || n.Mounted(f)
			}
		}
		if parts && len(on) > 0 {
			used = "partitions"
		}
		if c.Param("type") == "unused" && used != "" {
			continue
		}
		d.Open().Str("devpath", k.Device).Str("model", cmp.Or(k.Model, "unknown")).Str("serial", cmp.Or(k.Serial, "unknown"))
		d.Str("vendor", cmp.Or(k.Vendor, "unknown")).Str("wwn", cmp.Or(k.WWN, "unknown")).Num("size", k.Size).Num("rpm", int64(k.RPM)).Flag("gpt", k.GPT)
		d.Str("type", cmp.Or(k.Type, "unknown")).Str("wearout", "N/A").Num("osdid", -1).Null("osdid-list")
		if k.WWN != "" {
			d.Str("by_id_link", "/dev/disk/by-id/ata-"+k.Model+"_"+k.Serial)
		}
		if c.Flag("skipsmart") {
			d.Str("health", "UNKNOWN")
		} else {
			d.Str("health", cmp.Or(k.Health, "PASSED"))
		}
		if used != "" {
			d.Str("used", used)
		}
		if mounted {
			d.Num("mounted", 1)
		}
		d.Close()
		if !parts {
			continue
		}
		for _, f := range on {
			d.Open().Str("devpath", f.Device).Str("parent", k.Device).Str("type", "partition").Str("used", f.FS).Num("size", f.Size)
			d.Flag("gpt", k.GPT).Num("osdid", -1).Null("osdid-list")
			if n.Mounted(f) {
				d.Num("mounted", 1)
			}
			d.Close()
		}
	}
	d.End()
	return nil
}

// SMART answers GET /nodes/{node}/disks/smart.
func SMART(c *request.Call) error {
	for _, k := range c.Node.AllDrives() {
		if k.Device != c.Param("disk") {
			continue
		}
		d := c.Data().Open().Str("health", cmp.Or(k.Health, "PASSED"))
		switch {
		case c.Flag("healthonly"):
		case k.Health == "UNKNOWN":
			d.Str("type", "text").Str("text", "")
		default:
			d.Str("type", "ata").Key("attributes").List()
			for _, a := range k.Attributes {
				value := a.Value
				if value == 0 {
					value = 100
				}
				d.Open().Str("id", fmt.Sprintf("%3d", a.ID)).Str("name", a.Name).Num("value", int64(value)).Num("normalized", int64(value)).Num("worst", int64(value))
				d.Num("threshold", int64(a.Threshold)).Str("flags", cmp.Or(a.Flags, "PO----")).Str("fail", "-").Str("raw", cmp.Or(a.Raw, "0")).Close()
			}
			d.End()
		}
		d.Close()
		return nil
	}
	return refusal.Fail("not a valid block device")
}

// USB lists the two hubs of a controller and what is plugged into them.
func USB(c *request.Call) error {
	d := c.Data().List()
	for i, hub := range []struct{ speed, product string }{{"480", "0002"}, {"5000", "0003"}} {
		d.Open().Num("busnum", int64(i+1)).Num("devnum", 1).Num("class", 9).Num("level", 0).Num("port", 0).Str("speed", hub.speed)
		d.Str("vendid", "1d6b").Str("prodid", hub.product).Str("product", "xHCI Host Controller").Str("manufacturer", "Linux "+c.Node.KernelRelease()+" xhci-hcd").Close()
	}
	i := int64(0)
	for _, k := range c.Node.AllDrives() {
		if k.USB == nil {
			continue
		}
		d.Open().Num("busnum", 2).Num("devnum", i+2).Num("class", 0).Num("level", 1).Num("port", i).Str("speed", cmp.Or(k.USB.Speed, "5000")).Str("usbpath", strconv.Itoa(int(i+1)))
		d.Str("vendid", k.USB.VendorID).Str("prodid", k.USB.ProductID).Str("product", k.USB.Product).Str("manufacturer", k.USB.Manufacturer).Close()
		i++
	}
	d.End()
	return nil
}

// Appliances answers GET /nodes/{node}/aplinfo: the templates that can be downloaded.
func Appliances(c *request.Call) error {
	all := world.Appliances()
	d := c.Data().List()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		d.Open().Str("template", name).Str("type", "lxc").Str("os", all[name].OS).Str("section", "system").Str("sha512sum", world.SHA512(all[name].TemplateText(name))).Close()
	}
	d.End()
	return nil
}

// Network lists what the node's network configuration holds: as the world says, else its interfaces and bridges.
func Network(c *request.Call) error {
	d := c.Data().List()
	for _, iface := range c.Node.Network {
		if t := c.Param("type"); t != "" && iface["type"] != t {
			continue
		}
		d.Any(iface)
	}
	if c.Node.Network == nil {
		for _, nic := range c.Node.NICs {
			d.Open().Str("iface", nic).Str("type", "eth").Str("method", "manual").Str("method6", "manual").Num("exists", 1)
			d.Num("active", 1).Num("priority", 3).Key("families").List().Text("inet").End().Key("altnames").List().Text("enp0s1").End().Close()
		}
		for i, b := range c.Node.Bridges {
			d.Open().Str("iface", b).Str("type", "bridge").Str("method", "manual").Str("method6", "manual")
			d.Num("active", 1).Num("autostart", 1).Num("priority", int64(i+4)).Key("families").List().Text("inet").End().Close()
		}
	}
	d.End()
	return nil
}

// frames are how long a point of the round-robin databases is, and how many there are. Only
// the hour's was seen on a real node. PVE: RRD create_rrd_data.
var frames = map[string]struct {
	step  time.Duration
	count int64
}{"hour": {time.Minute, 60}, "day": {time.Minute, 1440}, "week": {30 * time.Minute, 336}, "month": {30 * time.Minute, 1440},
	"year": {6 * time.Hour, 1440}, "decade": {7 * 24 * time.Hour, 570}}

// RRD answers with points of which those from before anything was measured bear only
// their times. The values are made up, but steady.
func RRD(since func(*request.Call) int64, write func(*request.Call, *jsontext.Doc)) func(*request.Call) error {
	return func(c *request.Call) error {
		frame := frames[c.Param("timeframe")]
		step := int64(frame.step / time.Second)
		from := since(c)
		end := c.Cluster.Now.Unix() / step * step
		d := c.Data().List()
		for i := frame.count - 1; i >= 0; i-- {
			at := end - i*step
			d.Open().Num("time", at)
			if at >= from && !slices.Contains(c.Node.Gaps, at) {
				write(c, d)
			}
			d.Close()
		}
		d.End()
		return nil
	}
}

// NodeRRD writes one point of a node's chart.
func NodeRRD(c *request.Call, d *jsontext.Doc) {
	n := c.Node
	root, used := n.RootDisk(), machine.MemoryUsed(c.Cluster, n)
	d.Float("cpu", 0.05).Num("maxcpu", int64(n.CPUs)).Float("loadavg", 0.21).Num("memtotal", n.Memory).Num("memused", used).Num("memavailable", n.Memory-used)
	d.Num("roottotal", root.Size).Num("rootused", root.Taken()).Float("netin", 120.5).Float("netout", 80.25)
	d.Nothing("arcsize iowait swaptotal swapused pressurecpusome pressureiosome pressureiofull pressurememorysome pressurememoryfull")
}

// GuestRRD writes one point of a guest's chart.
func GuestRRD(c *request.Call, d *jsontext.Doc) {
	g, err := c.Guest()
	if err != nil {
		return
	}
	d.Num("maxcpu", int64(machine.CPUs(c.Cluster, g))).Num("maxmem", g.MemoryLimit()).Num("mem", machine.MemoryUse(g)).Num("maxdisk", g.RootSize())
	d.Nothing("cpu disk diskread diskwrite netin netout memhost pressurecpusome pressurecpufull pressureiosome pressureiofull pressurememorysome pressurememoryfull")
}

// MeasuredNode is since when (Unix seconds) there are points of a node.
func MeasuredNode(c *request.Call) int64 {
	if c.Node.Stats != 0 {
		return c.Node.Stats
	}
	return c.Node.Boot
}

// MeasuredGuest is since when (Unix seconds) there are points of a guest.
func MeasuredGuest(c *request.Call) int64 {
	if g, err := c.Guest(); err == nil {
		return g.Born
	}
	return 0
}
