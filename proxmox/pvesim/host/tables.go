package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// BlockDevices lists the devices with a file system that are plugged in.
func (h *Host) BlockDevices() (devices []string, err error) {
	err = h.locked(func(n *world.Node) error {
		for _, d := range n.Disks {
			if !d.Absent && d.Device != "" && (d.UUID != "" || d.FS != "") {
				devices = append(devices, d.Device)
			}
		}
		return nil
	})
	return devices, err
}

// MountTables are the mount tables of the host and of every guest that runs.
func (h *Host) MountTables() (tables [][]byte, err error) {
	pids := []int{1}
	err = h.locked(func(n *world.Node) error {
		for _, g := range h.cl.World.Guests {
			if g.Running && !g.Qemu && g.Node == n.Name && g.PID > 1 {
				pids = append(pids, g.PID)
			}
		}
		return nil
	})
	for _, pid := range pids {
		table, e := h.MountInfo(pid)
		if errors.Is(e, fs.ErrNotExist) { // it stopped meanwhile
			continue
		}
		err = errors.Join(err, e)
		tables = append(tables, table)
	}
	return tables, err
}

// ReadDir lists what the kernel built on a device, what udev watches, the cgroups of guests, and the plain files of a disk; the simulator knows no other
// directory.
func (h *Host) ReadDir(name string) (names []string, err error) {
	err = h.locked(func(n *world.Node) error {
		for _, d := range n.Disks {
			if !d.Absent && name == "/sys/class/block/"+path.Base(d.Device)+"/holders" {
				names = append(names, d.Holders...)
				return nil
			}
		}
		if name == "/run/udev/watch" {
			names = machine.Watched(n)
			return nil
		}
		if names = append(machine.Groups(h.cl, n, name), n.PlainNames(name)...); len(names) > 0 {
			return nil
		}
		return fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	})
	return names, err
}

// MountInfo is the mount table that a process sees: 1 is the host, else a guest's first process.
func (h *Host) MountInfo(pid int) (text []byte, err error) {
	err = h.locked(func(n *world.Node) error {
		var b bytes.Buffer
		if pid == 1 {
			for i, m := range n.Mounts {
				parent := 24
				if m.Target != "/" {
					parent = 25
				}
				options, _, _ := strings.Cut(m.Options, ",errors=")
				fmt.Fprintf(&b, "%d %d %s / %s %s shared:%d - %s %s rw\n", 25+i, parent, machine.DeviceNumber(m.Device), machine.Octal(m.Target), options, i+1, m.FS, machine.Octal(m.Device))
			}
			text = b.Bytes()
			return nil
		}
		for _, g := range h.cl.World.Guests {
			if !g.Running || g.PID != pid || g.Node != n.Name {
				continue
			}
			for i, hold := range g.Holds {
				fmt.Fprintf(&b, "%d %d %s %s %s %s master:%d - %s %s rw\n", 300+i, 299, machine.DeviceNumber(hold.Source), machine.Octal(hold.Root), machine.Octal(hold.Path), hold.Options, i+1, hold.FS, machine.Octal(hold.Source))
			}
			text = b.Bytes()
			return nil
		}
		return fmt.Errorf("open /proc/%d/mountinfo: %w", pid, fs.ErrNotExist)
	})
	return text, err
}
