package rehearse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
	"github.com/felhom/felhom-agent/spec"
)

// rootUUID stands for a root file system that has none, as on ZFS.
const rootUUID = "00000000-0000-4000-8000-000000000000"

// host copies disks, mounts and /etc/fstab, as far as the root helper tells them, and puts the directory storages on
// them.
func (c *copier) host(ctx context.Context) error {
	var mounts []privileged.Mount
	if c.Ask == nil {
		c.miss("disks and mounts: there is no root helper; each directory storage that must be mounted has a disk of its own in the copy")
	} else if err := c.disks(ctx, &mounts); err != nil {
		if ctx.Err() != nil {
			return err
		}
		c.miss("disks and mounts: the root helper does not answer (%v)", err)
	}
	if c.node.MountAt("/") == nil {
		c.mount(&world.Disk{UUID: rootUUID, FS: "ext4", Device: "/dev/sda2", Size: 1 << 40, Transport: "ssd"}, "/", "/dev/sda2", "ext4", "rw")
	}
	root := c.node.RootDisk()
	root.Folders = append(root.Folders, "/mnt", "/root", "/srv", "/var/lib/vz")
	for _, m := range c.Want.Mounts {
		if c.exists(ctx, m, "") {
			root.Folders = append(root.Folders, m.Path)
		}
	}
	for i, st := range c.dirs {
		here := c.status[st.ID]
		at := st.Path
		if strings.HasPrefix(st.Mountpoint, "/") {
			at = st.Mountpoint
		}
		must := st.Mountpoint != "" && st.Mountpoint != "no" && st.Mountpoint != "0"
		if must && !c.mounted(at) { // it is active, so there is one that nobody tells of
			uuid := fmt.Sprintf("00000000-0000-4000-8001-%012d", i)
			c.mount(&world.Disk{UUID: uuid, FS: "ext4", Device: fmt.Sprintf("/dev/sdz%d", i+1), Size: int64(here.Total)}, at, fmt.Sprintf("/dev/sdz%d", i+1), "ext4", "rw")
		}
		disk, inside := c.node.Inside(st.Path)
		if disk.Dirs == nil {
			disk.Dirs = map[string]world.Store{}
		}
		store := c.volumes[st.ID]
		disk.Dirs[inside] = store
		var taken int64
		for _, v := range store {
			taken += v.Occupies()
		}
		disk.Size, disk.Used = max(disk.Size, int64(here.Total)), max(disk.Used, int64(here.Used)-taken)
	}
	c.folders(ctx)
	return nil
}

// disks copies the file systems and where they are mounted.
func (c *copier) disks(ctx context.Context, mounts *[]privileged.Mount) error {
	disks, err := privileged.Disks(ctx, c.Ask, c.Name)
	if err != nil {
		return err
	}
	if *mounts, err = privileged.Mounts(ctx, c.Ask, c.Name); err != nil {
		return err
	}
	seen := map[string]*world.Disk{}
	for _, d := range disks {
		if d.Silent || d.UUID == "" {
			c.miss("the disk %s, whose file system is not known", d.Device)
			continue
		}
		if seen[d.UUID] != nil {
			continue // the other device of one file system
		}
		transport := "ssd"
		if d.USB {
			transport = "usb"
		}
		seen[d.UUID] = &world.Disk{UUID: d.UUID, Label: d.Label, FS: d.FSType, Device: d.Device, Size: max(d.Size, 1<<20), Transport: transport, Instance: 1}
		c.node.Disks = append(c.node.Disks, seen[d.UUID])
	}
	var fstab strings.Builder
	for _, m := range *mounts {
		if m.Fstab != nil && m.Fstab.Text != "" {
			fstab.WriteString(m.Fstab.Text + "\n")
		}
		switch disk := seen[m.UUID]; {
		case !m.Mounted || m.Gone:
		case disk != nil && (m.Root == "" || m.Root == "/"):
			c.node.Mounts = append(c.node.Mounts, &world.Mount{Device: disk.Device, UUID: disk.UUID, Instance: disk.Instance, Target: m.Path, FS: m.FSType, Options: strings.Join(m.Options, ",")})
		case m.Path == "/":
			c.mount(&world.Disk{UUID: rootUUID, FS: m.FSType, Device: m.Source, Size: 1 << 30}, "/", m.Source, m.FSType, strings.Join(m.Options, ","))
		}
	}
	c.node.Fstab = fstab.String()
	return nil
}

func (c *copier) mount(d *world.Disk, at, device, fs, options string) {
	c.node.Disks = append(c.node.Disks, d)
	c.node.Mounts = append(c.node.Mounts, &world.Mount{Device: device, UUID: d.UUID, Instance: d.Instance, Target: at, FS: fs, Options: options})
}

func (c *copier) mounted(path string) bool {
	return slices.ContainsFunc(c.node.Mounts, func(m *world.Mount) bool { return m.Target == path })
}

// exists asks for a folder of a declared mount; without an answer it is there.
func (c *copier) exists(ctx context.Context, m *spec.Mount, folder string) bool {
	if c.Ask == nil {
		return true
	}
	info, err := privileged.FolderInfo(ctx, c.Ask, c.Name, m.Path, folder)
	return err != nil || info.Exists
}

// assume puts a folder on the disks of a mount that is not there now, so that nobody can tell whether they have it.
func (c *copier) assume(m *spec.Mount, folder string) {
	for _, declared := range m.UUIDs {
		for _, d := range c.node.Disks {
			if strings.EqualFold(d.UUID, declared.UUID) {
				d.Folders = append(d.Folders, "/"+folder)
				c.miss("what is on %s, which is not mounted: the folder %s is assumed to be there", declared.UUID, folder)
			}
		}
	}
}

// folders makes the host folders that guests bind, those of the live configs and those that the desired state names.
func (c *copier) folders(ctx context.Context) {
	paths := map[string]bool{}
	for _, g := range c.world.Guests {
		if g.Node != c.Name || g.Qemu {
			continue
		}
		for _, m := range lxcconf.Parse(g.Text).MountPoints() {
			if m.Kind() == "bind" {
				paths[m.Volid()] = true
			}
		}
	}
	for _, guests := range []map[string]*spec.Guest{c.Want.Guests, c.Want.Restores} {
		for _, g := range guests {
			for _, m := range g.Config.Mounts {
				at := c.Want.Mounts[m.Mount]
				switch {
				case m.Host != "":
					paths[m.Host] = true
				case at == nil:
				case !c.mounted(at.Path):
					c.assume(at, m.Folder)
				case c.exists(ctx, at, m.Folder):
					paths[at.Path+"/"+m.Folder] = true
				}
			}
		}
	}
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		if disk, inside := c.node.Inside(p); disk != nil && inside != "/" {
			disk.Folders = append(disk.Folders, inside)
		}
	}
}
