package world

import (
	"cmp"
	"maps"
	"slices"
	"strings"
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
	Attributes []SMARTAttribute `yaml:"smart,omitempty"`
	USB        *usbDevice       `yaml:"usb,omitempty"`
}

// A SMARTAttribute is one line of what a disk tells of its health.
type SMARTAttribute struct {
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

// AllDrives are all drives of a node that are plugged in, by device.
func (n *Node) AllDrives() []*drive {
	found := make(map[string]*drive)
	for _, d := range n.Drives {
		found[d.Device] = d
	}
	for _, k := range n.Disks {
		whole := WholeDisk(k.Device)
		if k.Absent || k.Device == "" || found[whole] != nil {
			continue
		}
		d := &drive{Device: whole, Model: k.Model, Serial: k.Serial, WWN: k.WWN, Type: k.Transport, Size: k.Size, GPT: whole != k.Device, Attributes: DiskAttributes(k)}
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
	for _, name := range slices.Sorted(maps.Keys(found)) {
		gone := false // a drive whose file systems were all pulled is away
		for _, k := range n.Disks {
			if WholeDisk(k.Device) == name || k.Absent && found[name].Serial != "" && k.Serial == found[name].Serial {
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

// DiskAttributes are those that a disk tells where its drive says none of its own.
func DiskAttributes(d *Disk) []SMARTAttribute {
	bad, pending := "0", "0"
	if d.Failing {
		bad, pending = "1312", "32"
	}
	return []SMARTAttribute{
		{ID: 1, Name: "Raw_Read_Error_Rate", Threshold: 6}, {ID: 5, Name: "Reallocated_Sector_Ct", Threshold: 36, Raw: bad},
		{ID: 9, Name: "Power_On_Hours", Raw: "8123"}, {ID: 12, Name: "Power_Cycle_Count", Raw: "41"}, {ID: 194, Name: "Temperature_Celsius", Raw: "34"},
		{ID: 197, Name: "Current_Pending_Sector", Raw: pending}, {ID: 198, Name: "Offline_Uncorrectable", Raw: pending},
	}
}

// WholeDisk is the device without its partition number.
func WholeDisk(device string) string {
	if strings.HasPrefix(device, "/dev/nvme") || strings.HasPrefix(device, "/dev/mmcblk") {
		if i := strings.LastIndexByte(device, 'p'); i > 10 {
			return device[:i]
		}
		return device
	}
	return strings.TrimRight(device, "0123456789")
}

// Mounted reports whether a file system is mounted on the host.
func (n *Node) Mounted(f *Disk) bool {
	for _, m := range n.Mounts {
		if m.UUID == f.UUID && m.Ghost == nil {
			return true
		}
	}
	return false
}

// KernelRelease is what uname -r says.
func (n *Node) KernelRelease() string { return cmp.Or(n.Kernel, "6.17.13-2-pve") }
