package privileged

import (
	"fmt"
	"strconv"
	"strings"
)

// GoldenSpec is a container that is made from a template. It is always unprivileged.
type GoldenSpec struct {
	VMID        int
	Object      string                    // our name for it; the description must bear the marker of this object, VMID and owner
	Owner       string                    //
	Template    string                    // volume id, e.g. local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst
	Storage     string                    // of the root file system
	SizeGiB     int                       // of the root file system
	Hostname    string                    //
	Description string                    // with our marker in it
	Features    map[string]string         // e.g. keyctl: 1, nesting: 1
	Nets        map[int]map[string]string // netN: name, bridge, ip, ...
	Volumes     map[int]VolumeSpec        // mpN that are allocated
	Config      map[string]string         // cores, memory, ... as PVE writes them
}

// VolumeSpec is a volume of a new container besides its root.
type VolumeSpec struct {
	Storage string
	SizeGiB int
	Target  string            // mount point in the container
	Options map[string]string // backup, ro, acl, quota, replicate, mountoptions
}

// CreateGoldenLXC makes a container from a template with `pct create`. It is not the API because PVE lets only root@pam itself set
// features other than nesting.
func CreateGoldenLXC(node string, g GoldenSpec) Op {
	a := args{}
	a.num("vmid", g.VMID)
	a.set("object", g.Object)
	a.set("owner", g.Owner)
	a.set("template", g.Template)
	a.set("storage", g.Storage)
	a.num("size", g.SizeGiB)
	a.set("hostname", g.Hostname)
	a.set("description", g.Description)
	for k, v := range g.Features {
		a["features."+k] = v
	}
	for n, net := range g.Nets {
		for k, v := range net {
			a[fmt.Sprintf("net%d.%s", n, k)] = v
		}
	}
	for n, v := range g.Volumes {
		key := fmt.Sprintf("mp%d.", n)
		a.set(key+"storage", v.Storage)
		a.num(key+"size", v.SizeGiB)
		a.set(key+"mp", v.Target)
		for k, o := range v.Options {
			a[key+k] = o
		}
	}
	for k, v := range g.Config {
		a["config."+k] = v
	}
	return Op{Node: node, Name: "CreateGoldenLXC", Args: a}
}

// MountSpec is a file system that is to be mounted on the host.
type MountSpec struct {
	Name    string   // the object's name; our fstab line bears it
	UUID    string   // of the file system, as blkid prints it
	Path    string   // the mount point, under an allowed root
	FSType  string   // ext4, xfs, btrfs, vfat, exfat, ...; empty: what is on the disk
	Options []string // further mount options, e.g. noatime
	Fstab   bool     // also keep a line in /etc/fstab; only where the object has one UUID, for two lines with one path break systemd's generator
}

// MountUSBByUUID mounts a file system by its UUID and, when asked, keeps a line in /etc/fstab for it. Doing it again changes nothing. It is not
// the API because PVE has no call that mounts an existing file system.
func MountUSBByUUID(node string, m MountSpec) Op {
	a := args{}
	a.set("name", m.Name)
	a.set("uuid", m.UUID)
	a.set("path", m.Path)
	a.set("fstype", m.FSType)
	a.set("options", strings.Join(m.Options, ","))
	a.flag("fstab", m.Fstab)
	return Op{Node: node, Name: "MountUSBByUUID", Args: a}
}

// UnmountSpec is a file system that is to be unmounted.
type UnmountSpec struct {
	Name      string
	UUID      string // what must be mounted there; empty: nothing is unmounted, only the fstab line goes
	Path      string
	DropFstab bool // also take our line out of /etc/fstab
}

// UnmountUSB writes a file system out, unmounts it and makes sure that nobody holds the disk any more: it refuses while a running guest still
// has it mounted, and mounts it again when the disk turns out to be in use after all. It is not the API because PVE has no such call.
func UnmountUSB(node string, m UnmountSpec) Op {
	a := args{}
	a.set("name", m.Name)
	a.set("uuid", m.UUID)
	a.set("path", m.Path)
	a.flag("fstab", m.DropFstab)
	return Op{Node: node, Name: "UnmountUSB", Args: a}
}

// BindSpec is a directory of the host that a guest is to see. The guest must bear the marker of Object, VMID and Owner.
type BindSpec struct {
	VMID     int
	Object   string
	Owner    string
	Index    int               // N of mpN, 0 to 255
	Source   string            // on the host, under an allowed root; it must exist and may not lead through a symbolic link
	Mount    string            // when set: the mount point that Source lies under; it must be mounted, and Source on it
	Target   string            // in the guest
	ReadOnly bool              //
	Options  map[string]string // acl, backup, mountoptions, quota, replicate, shared
}

// BindMount sets mpN of a guest to a directory of the host. It is not the API because PVE lets only root@pam itself set a mount point of type bind.
func BindMount(node string, b BindSpec) Op {
	a := guestArgs(b.VMID, b.Object, b.Owner, b.Index)
	a.set("source", b.Source)
	a.set("mount", b.Mount)
	a.set("mp", b.Target)
	a.flag("ro", b.ReadOnly)
	for k, v := range b.Options {
		a["option."+k] = v
	}
	return Op{Node: node, Name: "BindMount", Args: a}
}

// UnbindSpec names a bind mount of a guest. Source must be what the guest's mpN binds now, so that a volume is never detached by mistake.
type UnbindSpec struct {
	VMID   int
	Object string
	Owner  string
	Index  int
	Source string
}

// Unbind deletes mpN of a guest when it is a bind mount of Source.
func Unbind(node string, b UnbindSpec) Op {
	a := guestArgs(b.VMID, b.Object, b.Owner, b.Index)
	a.set("source", b.Source)
	return Op{Node: node, Name: "Unbind", Args: a}
}

// DeviceSpec is a character device of the host that a guest may use.
type DeviceSpec struct {
	VMID      int
	Object    string
	Owner     string
	Index     int    // N of devN, 0 to 255
	Path      string // under the fence's allow-list of devices, e.g. /dev/dri/renderD128
	Mode      string // octal with a leading zero, e.g. 0660; empty: PVE's default
	UID, GID  int    // in the guest; 0 is PVE's default
	DenyWrite bool
}

// PassDevice sets devN of a guest. It is not the API because PVE lets only root@pam itself configure device passthrough.
func PassDevice(node string, d DeviceSpec) Op {
	a := guestArgs(d.VMID, d.Object, d.Owner, d.Index)
	a.set("path", d.Path)
	a.set("mode", d.Mode)
	if d.UID != 0 {
		a.num("uid", d.UID)
	}
	if d.GID != 0 {
		a.num("gid", d.GID)
	}
	a.flag("deny-write", d.DenyWrite)
	return Op{Node: node, Name: "PassDevice", Args: a}
}

// RemoveDeviceSpec names a device of a guest. Path must be what devN passes now.
type RemoveDeviceSpec struct {
	VMID   int
	Object string
	Owner  string
	Index  int
	Path   string
}

// RemoveDevice deletes devN of a guest.
func RemoveDevice(node string, d RemoveDeviceSpec) Op {
	a := guestArgs(d.VMID, d.Object, d.Owner, d.Index)
	a.set("path", d.Path)
	return Op{Node: node, Name: "RemoveDevice", Args: a}
}

// SealSpec names a golden of ours.
type SealSpec struct {
	VMID   int
	Object string
	Owner  string
}

// SealGolden takes machine-id and SSH host keys out of a stopped container, so that its copies are no twins (PVE renews them on create and
// clone, not on restore). It is not the API because PVE has no call that changes files inside a container.
func SealGolden(node string, s SealSpec) Op {
	a := args{}
	a.num("vmid", s.VMID)
	a.set("object", s.Object)
	a.set("owner", s.Owner)
	return Op{Node: node, Name: "SealGolden", Args: a}
}

// args collects the arguments of an Op; what is empty or off is left out, so that equal wishes are equal Ops.
type args map[string]string

func (a args) set(key, value string) {
	if value != "" {
		a[key] = value
	}
}

func (a args) num(key string, n int) { a[key] = strconv.Itoa(n) }

func (a args) flag(key string, on bool) {
	if on {
		a[key] = "1"
	}
}

func guestArgs(vmid int, object, owner string, index int) args {
	a := args{}
	a.num("vmid", vmid)
	a.set("object", object)
	a.set("owner", owner)
	a.num("index", index)
	return a
}
