package pvesim

import (
	"fmt"
	"strings"
	"time"
)

// A drive is a whole disk as hardware. Where a world does not describe one, it is made
// up from the file systems (type disk) that lie on it.
type drive struct {
	Device     string           `yaml:"device"` // /dev/sdb
	Model      string           `yaml:"model,omitempty"`
	Serial     string           `yaml:"serial,omitempty"`
	Vendor     string           `yaml:"vendor,omitempty"`
	WWN        string           `yaml:"wwn,omitempty"`
	Type       string           `yaml:"type,omitempty"` // usb, ssd, hdd, nvme, unknown
	Size       int64            `yaml:"size"`
	RPM        int              `yaml:"rpm,omitempty"`
	GPT        bool             `yaml:"gpt,omitempty"`
	Used       string           `yaml:"used,omitempty"`   // what it is used for besides file systems: LVM
	Health     string           `yaml:"health,omitempty"` // PASSED unless given; UNKNOWN without SMART
	Attributes []smartAttribute `yaml:"smart,omitempty"`
	USB        *usbDevice       `yaml:"usb,omitempty"`
}

type smartAttribute struct {
	ID        int    `yaml:"id"`
	Name      string `yaml:"name"`
	Value     int    `yaml:"value,omitempty"` // 100 unless given
	Threshold int    `yaml:"threshold,omitempty"`
	Raw       string `yaml:"raw,omitempty"`   // "0" unless given
	Flags     string `yaml:"flags,omitempty"` // PO---- unless given
}

type usbDevice struct {
	VendorID     string `yaml:"vendid"`
	ProductID    string `yaml:"prodid"`
	Product      string `yaml:"product"`
	Manufacturer string `yaml:"manufacturer"`
	Speed        string `yaml:"speed,omitempty"` // 5000 unless given
}

// drives are all drives of a node that are plugged in, by device.
func (n *node) drives() []*drive {
	found := make(map[string]*drive)
	for _, d := range n.Drives {
		found[d.Device] = d
	}
	for _, k := range n.Disks {
		whole := wholeDisk(k.Device)
		if k.Absent || k.Device == "" || found[whole] != nil {
			continue
		}
		d := &drive{Device: whole, Model: k.Model, Serial: k.Serial, WWN: k.WWN, Type: k.Transport, Size: k.Size, GPT: whole != k.Device, Attributes: smartAttributes(k)}
		switch {
		case k.Failing:
			d.Health = "FAILED"
		case k.WWN == "" && k.Transport != "ssd" && k.Transport != "hdd": // behind a bridge that does not tell
			d.Health = "UNKNOWN"
		}
		if k.Transport == "usb" {
			d.USB = &usbDevice{VendorID: "46f4", ProductID: "0001", Product: k.Model, Manufacturer: "Simulated"}
		}
		found[whole] = d
	}
	var all []*drive
	for _, name := range sortedKeys(found) {
		gone := false // a drive whose file systems were all pulled is away
		for _, k := range n.Disks {
			if wholeDisk(k.Device) == name || k.Absent && found[name].Serial != "" && k.Serial == found[name].Serial {
				gone = k.Absent
				if !gone {
					break
				}
			}
		}
		if !gone {
			all = append(all, found[name])
		}
	}
	return all
}

func smartAttributes(d *disk) []smartAttribute {
	bad, pending := "0", "0"
	if d.Failing {
		bad, pending = "1312", "32"
	}
	return []smartAttribute{
		{ID: 1, Name: "Raw_Read_Error_Rate", Threshold: 6}, {ID: 5, Name: "Reallocated_Sector_Ct", Threshold: 36, Raw: bad},
		{ID: 9, Name: "Power_On_Hours", Raw: "8123"}, {ID: 12, Name: "Power_Cycle_Count", Raw: "41"}, {ID: 194, Name: "Temperature_Celsius", Raw: "34"},
		{ID: 197, Name: "Current_Pending_Sector", Raw: pending}, {ID: 198, Name: "Offline_Uncorrectable", Raw: pending},
	}
}

// wholeDisk is the device without its partition number.
func wholeDisk(device string) string {
	if strings.HasPrefix(device, "/dev/nvme") || strings.HasPrefix(device, "/dev/mmcblk") {
		if i := strings.LastIndexByte(device, 'p'); i > 10 {
			return device[:i]
		}
		return device
	}
	return strings.TrimRight(device, "0123456789")
}

func orElse(v, otherwise string) string {
	if v == "" {
		return otherwise
	}
	return v
}

func disksPerm(c *call) error {
	if c.s.can(c.who, "/", "Sys.Audit") || c.s.can(c.who, "/nodes/"+c.param("node"), "Sys.Audit") {
		return nil
	}
	return forbid("")
}

// disksList lists the drives, with include-partitions=1 their partitions too.
func disksList(c *call) error {
	n, parts := c.node, c.flag("include-partitions")
	d := c.data().list()
	for _, k := range n.drives() {
		used, mounted := k.Used, false
		var on []*disk
		for _, f := range n.Disks {
			if f.Absent || wholeDisk(f.Device) != k.Device {
				continue
			}
			if f.Device != k.Device {
				on = append(on, f)
			}
			if f.Device == k.Device || !parts {
				used, mounted = f.FS, mounted || n.mounted(f)
			}
		}
		if parts && len(on) > 0 {
			used = "partitions"
		}
		if c.param("type") == "unused" && used != "" {
			continue
		}
		d.open().str("devpath", k.Device).str("model", orElse(k.Model, "unknown")).str("serial", orElse(k.Serial, "unknown"))
		d.str("vendor", orElse(k.Vendor, "unknown")).str("wwn", orElse(k.WWN, "unknown")).num("size", k.Size).num("rpm", int64(k.RPM)).flag("gpt", k.GPT)
		d.str("type", orElse(k.Type, "unknown")).str("wearout", "N/A").num("osdid", -1).null("osdid-list")
		if k.WWN != "" {
			d.str("by_id_link", "/dev/disk/by-id/ata-"+k.Model+"_"+k.Serial)
		}
		if c.flag("skipsmart") {
			d.str("health", "UNKNOWN")
		} else {
			d.str("health", orElse(k.Health, "PASSED"))
		}
		if used != "" {
			d.str("used", used)
		}
		if mounted {
			d.num("mounted", 1)
		}
		d.close()
		if !parts {
			continue
		}
		for _, f := range on {
			d.open().str("devpath", f.Device).str("parent", k.Device).str("type", "partition").str("used", f.FS).num("size", f.Size)
			d.flag("gpt", k.GPT).num("osdid", -1).null("osdid-list")
			if n.mounted(f) {
				d.num("mounted", 1)
			}
			d.close()
		}
	}
	d.end()
	return nil
}

// mounted reports whether a file system is mounted on the host.
func (n *node) mounted(f *disk) bool {
	for _, m := range n.Mounts {
		if m.UUID == f.UUID && m.Ghost == nil {
			return true
		}
	}
	return false
}

func disksSmart(c *call) error {
	for _, k := range c.node.drives() {
		if k.Device != c.param("disk") {
			continue
		}
		d := c.data().open().str("health", orElse(k.Health, "PASSED"))
		switch {
		case c.flag("healthonly"):
		case k.Health == "UNKNOWN":
			d.str("type", "text").str("text", "")
		default:
			d.str("type", "ata").key("attributes").list()
			for _, a := range k.Attributes {
				value := a.Value
				if value == 0 {
					value = 100
				}
				d.open().str("id", fmt.Sprintf("%3d", a.ID)).str("name", a.Name).num("value", int64(value)).num("normalized", int64(value)).num("worst", int64(value))
				d.num("threshold", int64(a.Threshold)).str("flags", orElse(a.Flags, "PO----")).str("fail", "-").str("raw", orElse(a.Raw, "0")).close()
			}
			d.end()
		}
		d.close()
		return nil
	}
	return fail("not a valid block device")
}

// hardwareUSB lists the two hubs of a controller and what is plugged into them.
func hardwareUSB(c *call) error {
	d := c.data().list()
	for i, hub := range []struct{ speed, product string }{{"480", "0002"}, {"5000", "0003"}} {
		d.open().num("busnum", int64(i+1)).num("devnum", 1).num("class", 9).num("level", 0).num("port", 0).str("speed", hub.speed)
		d.str("vendid", "1d6b").str("prodid", hub.product).str("product", "xHCI Host Controller").str("manufacturer", "Linux "+c.node.kernel()+" xhci-hcd").close()
	}
	i := int64(0)
	for _, k := range c.node.drives() {
		if k.USB == nil {
			continue
		}
		d.open().num("busnum", 2).num("devnum", i+2).num("class", 0).num("level", 1).num("port", i).str("speed", orElse(k.USB.Speed, "5000")).str("usbpath", itoa(int(i+1)))
		d.str("vendid", k.USB.VendorID).str("prodid", k.USB.ProductID).str("product", k.USB.Product).str("manufacturer", k.USB.Manufacturer).close()
		i++
	}
	d.end()
	return nil
}

func (n *node) kernel() string { return orElse(n.Kernel, "6.17.13-2-pve") }

// nodeNetwork lists what the node's network configuration holds: as the world says, else its interfaces and bridges.
func nodeNetwork(c *call) error {
	d := c.data().list()
	for _, iface := range c.node.Network {
		if t := c.param("type"); t != "" && iface["type"] != t {
			continue
		}
		d.any(iface)
	}
	if c.node.Network == nil {
		for _, nic := range c.node.NICs {
			d.open().str("iface", nic).str("type", "eth").str("method", "manual").str("method6", "manual").num("exists", 1)
			d.num("active", 1).num("priority", 3).key("families").list().text("inet").end().key("altnames").list().text("enp0s1").end().close()
		}
		for i, b := range c.node.Bridges {
			d.open().str("iface", b).str("type", "bridge").str("method", "manual").str("method6", "manual")
			d.num("active", 1).num("autostart", 1).num("priority", int64(i+4)).key("families").list().text("inet").end().close()
		}
	}
	d.end()
	return nil
}

// any writes a value of a world file.
func (d *doc) any(v any) {
	switch v := v.(type) {
	case map[string]any:
		d.open()
		for _, k := range sortedKeys(v) {
			d.key(k)
			d.any(v[k])
		}
		d.close()
	case []any:
		d.list()
		for _, item := range v {
			d.any(item)
		}
		d.end()
	case int:
		d.comma()
		d.b = append(d.b, itoa(v)...)
	case nil:
		d.comma()
		d.b = append(d.b, "null"...)
	default:
		d.text(fmt.Sprint(v))
	}
}

// frames are how long a point of the round-robin databases is, and how many there are. Only
// the hour's was seen on a real node. PVE: RRD create_rrd_data.
var frames = map[string]struct {
	step  time.Duration
	count int64
}{"hour": {time.Minute, 60}, "day": {time.Minute, 1440}, "week": {30 * time.Minute, 336}, "month": {30 * time.Minute, 1440},
	"year": {6 * time.Hour, 1440}, "decade": {7 * 24 * time.Hour, 570}}

// rrdData answers with points of which those from before anything was measured bear only
// their times. The values are made up, but steady.
func rrdData(since func(*call) int64, write func(*call, *doc)) func(*call) error {
	return func(c *call) error {
		frame := frames[c.param("timeframe")]
		step := int64(frame.step / time.Second)
		from := since(c)
		end := c.s.now.Unix() / step * step
		d := c.data().list()
		for i := frame.count - 1; i >= 0; i-- {
			at := end - i*step
			d.open().num("time", at)
			if at >= from && !contains(c.node.Gaps, at) {
				write(c, d)
			}
			d.close()
		}
		d.end()
		return nil
	}
}

func (d *doc) nothing(keys string) {
	for _, k := range strings.Fields(keys) {
		d.num(k, 0)
	}
}

func nodeRRD(c *call, d *doc) {
	n := c.node
	root, used := n.rootDisk(), c.s.memoryUsed(n)
	d.float("cpu", 0.05).num("maxcpu", int64(n.CPUs)).float("loadavg", 0.21).num("memtotal", n.Memory).num("memused", used).num("memavailable", n.Memory-used)
	d.num("roottotal", root.Size).num("rootused", c.s.usedOn(root)).float("netin", 120.5).float("netout", 80.25)
	d.nothing("arcsize iowait swaptotal swapused pressurecpusome pressureiosome pressureiofull pressurememorysome pressurememoryfull")
}

func guestRRD(c *call, d *doc) {
	g, err := c.guest()
	if err != nil {
		return
	}
	d.num("maxcpu", int64(c.s.cpus(g))).num("maxmem", g.memoryLimit()).num("mem", c.s.memoryUse(g)).num("maxdisk", g.rootSize())
	d.nothing("cpu disk diskread diskwrite netin netout memhost pressurecpusome pressurecpufull pressureiosome pressureiofull pressurememorysome pressurememoryfull")
}

func storageRRD(c *call, d *doc) {
	if st := c.s.storages[c.param("storage")]; st != nil {
		if p, err := c.s.place(c.node, st); err == nil {
			d.num("total", p.total).num("used", p.used())
		}
	}
}

func measuredNode(c *call) int64 {
	if c.node.Stats != 0 {
		return c.node.Stats
	}
	return c.node.Boot
}

func measuredGuest(c *call) int64 {
	if g, err := c.guest(); err == nil {
		return g.Born
	}
	return 0
}
