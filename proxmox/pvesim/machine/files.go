package machine

import (
	"encoding/json"
	"fmt"
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
	case "/etc/pve/.vmlist":
		return vmList(cl)
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

// vmList is the cluster's list of guests.
func vmList(cl *cluster.Cluster) ([]byte, error) {
	type entry struct {
		Node    string `json:"node"`
		Type    string `json:"type"`
		Version int    `json:"version"`
	}
	ids := make(map[string]entry)
	for _, g := range cl.World.Guests {
		kind := "lxc"
		if g.Qemu {
			kind = "qemu"
		}
		ids[strconv.Itoa(g.VMID)] = entry{g.Node, kind, 1}
	}
	return json.Marshal(map[string]any{"version": 1, "ids": ids})
}

// deviceFile is a file of sysfs or of udev's database about a connected disk.
func deviceFile(n *world.Node, name string) (text string, ok bool) {
	for i, d := range n.Disks {
		if !d.Absent && name == "/sys/class/block/"+path.Base(world.WholeDisk(d.Device))+"/diskseq" { // never the same for two disks
			return fmt.Sprintf("%d\n", d.Instance*len(n.Disks)+i+1), true
		}
		if d.Absent || !strings.HasPrefix(name, "/sys/class/block/"+path.Base(d.Device)+"/") {
			if !d.Absent && name == "/run/udev/data/b"+DeviceNumber(d.Device) && d.Transport == "usb" {
				return "E:ID_BUS=usb\n", true
			}
			continue
		}
		switch path.Base(name) {
		case "size":
			return fmt.Sprintf("%d\n", d.Size/512), true
		case "dev":
			return DeviceNumber(d.Device) + "\n", true
		}
	}
	return "", false
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
