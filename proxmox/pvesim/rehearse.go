package pvesim

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Rename gives the first node another name and other bridges, as an installer would have been told. It must have no guests.
func (s *Sim) Rename(name string, bridges []string) {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	n := s.cl.World.Nodes[0]
	n.Name = name
	if len(bridges) > 0 {
		n.Bridges = slices.Clone(bridges)
	}
}

// AddDisk connects a USB disk with an empty ext4 file system of this UUID, in place of one that has it.
func (s *Sim) AddDisk(uuid, label string) {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	n := s.cl.World.Nodes[0]
	n.Disks = slices.DeleteFunc(n.Disks, func(d *world.Disk) bool { return d.UUID == uuid })
	used := map[string]bool{}
	for _, d := range n.Disks {
		used[d.Device] = true
	}
	device := "/dev/sdb1"
	for c := 'b'; used[device] && c <= 'z'; c++ {
		device = fmt.Sprintf("/dev/sd%c1", c)
	}
	n.Disks = append(n.Disks, &world.Disk{UUID: uuid, Label: label, FS: "ext4", Device: device, Size: 4e12, Model: "Simulated USB Disk",
		Serial: "SIMUSB" + uuid[:min(4, len(uuid))], Transport: "usb", Instance: 1, Dirs: map[string]world.Store{"/": {}}})
}

// AddArchive puts a backup of a guest on a disk, by its file name and size in bytes, with the notes that belong to it and the config that is in it.
// created is in Unix seconds. Of the data of a container it has a root file system only, of a virtual machine its drives.
func (s *Sim) AddArchive(uuid, file, notes, config string, vmid int, size, created int64) {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	for _, d := range s.cl.World.Nodes[0].Disks {
		if d.UUID != uuid {
			continue
		}
		if d.Dirs["/"] == nil {
			d.Dirs["/"] = make(world.Store)
		}
		_, format, _ := strings.Cut(path.Base(file), ".")
		d.Dirs["/"]["backup/"+path.Base(file)] = &world.Volume{VMID: vmid, Size: size, Format: format, Created: created, Notes: notes, Config: config,
			Parts: world.PartsOf(file, config, size)}
	}
}

// UseToken says which token the agent has from now on: that of TokenID and TokenSecret.
func (s *Sim) UseToken(id string) {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	s.cl.World.Agent = id
}
