package machine

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// ReadFile reads one of the host's files; fs.ErrNotExist where the simulator knows none.
func ReadFile(cl *cluster.Cluster, n *world.Node, name string) ([]byte, error) {
	switch name {
	case "/etc/fstab":
		return []byte(n.Fstab), nil
	case "/proc/sys/kernel/random/boot_id":
		return fmt.Appendf(nil, "%08x-0000-4000-8000-000000000000\n", n.Boot), nil
	case "/etc/pve/.vmlist":
		return cluster.VMList(cl)
	case "/sys/fs/cgroup/cgroup.controllers":
		return []byte("cpuset cpu io memory hugetlb pids\n"), nil
	case "/etc/pve/.version":
		return cluster.Version(cl)
	}
	if text, ok := n.Files[name]; ok {
		return []byte(text), nil
	}
	if text, ok := n.PlainFile(name); ok {
		return []byte(text), nil
	}
	if dir, file := path.Split(name); strings.HasPrefix(dir, "/etc/pve/") && strings.HasSuffix(dir, "/lxc/") {
		node := strings.TrimSuffix(strings.TrimPrefix(dir, "/etc/pve/"), "lxc/")
		node = strings.Trim(strings.TrimPrefix(node, "nodes/"), "/")
		if node == "" || node == "local" {
			node = n.Name
		}
		if g := cl.Guests[notation.Atoi(strings.TrimSuffix(file, ".conf"))]; g != nil && !g.Qemu && g.Node == node {
			return []byte(g.Conf.Text()), nil
		}
	}
	if rest, ok := strings.CutPrefix(name, "/sys/fs/cgroup/lxc/"); ok {
		id, file, _ := strings.Cut(rest, "/")
		if g := cl.Guests[notation.Atoi(id)]; g != nil && g.Running && !g.Qemu && g.Node == n.Name && strconv.Itoa(g.VMID) == id {
			if text := memoryFile(g, file); text != "" {
				return []byte(text), nil
			}
		}
	}
	if text, ok := deviceFile(n, name); ok {
		return []byte(text), nil
	}
	return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
}

// deviceFile is a file of sysfs or of udev's database about a connected disk.
func deviceFile(n *world.Node, name string) (text string, ok bool) {
	for i, d := range n.Disks {
		if d.Absent || d.Device == "" {
			continue
		}
		dir := "/sys/class/block/" + path.Base(d.Device)
		switch name {
		case "/sys/class/block/" + path.Base(world.WholeDisk(d.Device)) + "/diskseq":
			return fmt.Sprintf("%d\n", d.Instance*1000+i+1), true // never the same for two disks
		case dir + "/size":
			return fmt.Sprintf("%d\n", d.Size/512), true
		case dir + "/dev":
			return DeviceNumber(d.Device) + "\n", true
		case "/run/udev/data/b" + DeviceNumber(d.Device):
			return udevEntry(d), true
		}
	}
	return "", false
}

// udevEntry is what udev keeps of a disk since a program that could write closed it last: systemd, src/udev/udev-builtin-blkid.c. It names no file system
// on a disk that has the signatures of several.
func udevEntry(d *world.Disk) string {
	var b strings.Builder
	b.WriteString("I:2104311\n") // microseconds after the boot
	set := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "E:%s=%s\n", key, strings.Map(func(r rune) rune {
				if r <= ' ' {
					return '_'
				}
				return r
			}, value))
		}
	}
	set("ID_BUS", map[bool]string{true: "usb", false: "ata"}[d.Transport == "usb"])
	set("ID_MODEL", d.Model)
	set("ID_SERIAL_SHORT", d.Serial)
	if len(d.Left) == 0 {
		set("ID_FS_LABEL", d.Label)
		set("ID_FS_UUID", d.UUID)
		set("ID_FS_UUID_SUB", Member(d))
		set("ID_FS_TYPE", d.FS)
	}
	return b.String() + "G:systemd\nQ:systemd\nV:1\n"
}

// Watched are the names of the links in /run/udev/watch: the devices that udev reads again when a program that could write closes them.
func Watched(n *world.Node) (names []string) {
	for _, d := range n.Disks {
		if !d.Absent && d.Device != "" {
			names = append(names, "b"+DeviceNumber(d.Device))
		}
	}
	return names
}

// Member tells the devices of a btrfs apart (UUID_SUB); other file systems have only one.
func Member(d *world.Disk) string {
	if d.FS != "btrfs" {
		return ""
	}
	return cmp.Or(d.Member, fmt.Sprintf("00000000-0000-4000-8000-%012x", crc32.ChecksumIEEE([]byte(d.Serial+d.Model+d.Device))))
}

// memoryFile is a file of a running guest's cgroup.
func memoryFile(g *world.Guest, name string) string {
	pinned, limit := pinned(g), g.MemoryLimit()
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

// kernelOctal escapes as the kernel does in mount tables.
var kernelOctal = strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`)

// Octal escapes as the kernel does in mount tables.
func Octal(s string) string { return kernelOctal.Replace(s) }

// DeviceNumber is a device's major:minor, by its name.
func DeviceNumber(device string) string {
	name := strings.TrimPrefix(device, "/dev/")
	if rest, ok := strings.CutPrefix(name, "sd"); ok && rest != "" {
		return fmt.Sprintf("8:%d", int(rest[0]-'a')*16+notation.Atoi(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz")))
	}
	sum := 0
	for _, c := range name {
		sum = sum*31 + int(c)
	}
	return fmt.Sprintf("252:%d", sum&0xfffff)
}
