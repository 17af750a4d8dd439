package spec

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
)

func (c *checker) sources() {
	for _, g := range sorted(c.Restores, c.Guests) {
		for _, s := range g.From {
			golden := c.Golden[s.Golden]
			fail := func(fix, format string, args ...any) {
				c.add(&Error{File: s.Pos.File, Line: s.Pos.Line, Field: string(g.Ref.Kind) + "." + g.Ref.Name + ".from", Message: fmt.Sprintf(format, args...), Fix: fix})
			}
			switch {
			case s.Golden == "":
			case golden != nil && golden.Publish == nil && !golden.Has("publish"):
				fail(fmt.Sprintf("Add publish: {storage: local, revision: 1} to it (%s).", golden.Pos), "%s is not published, so there is no archive to restore", golden.Ref)
			case golden == nil && c.Guest(s.Golden) != nil:
				fail("Say {newest: STORAGE, vmid: …} to copy a guest from its backup.", "%s is a guest, not a golden image", s.Golden)
			case golden == nil && c.whole:
				fail(c.reference(s.Golden, KindGolden), "names the golden image %q, which is not declared", s.Golden)
			}
		}
	}
}

func (c *checker) guests() {
	for _, h := range c.hosts() {
		c.config(h)
	}
	for _, g := range sorted(c.Golden) {
		checkNets(c, &g.Object, g.Config.Nets, netOfVMs, "an interface of a VM")
	}
	for _, g := range sorted(c.Golden) {
		if size := g.RootFS.Size; size%proxmox.GiB != 0 {
			c.fail(&g.Object, "rootfs.size", fmt.Sprintf("Write %s.", (size/proxmox.GiB+1)*proxmox.GiB), "invalid size %s: the root helper creates golden images in full GiB", size)
		}
	}
	for _, g := range sorted(c.Restores, c.Guests) {
		checkType(c, g)
		if g.Restart == RestartAuto && g.State != Running {
			c.fail(&g.Object, "restart", "Add state: running, or leave restart out.", "restart: auto ends with a start, so it needs state: running")
		}
		checkGuard(c, g)
		if g.Has("backup") && !g.Absent {
			c.fail(&g.Object, "backup", "Leave it out; what is backed up is declared under backups:.", "backup is for ensure: absent")
		}
		for _, name := range g.Needs {
			need := c.refers(&g.Object, "needs", name, "those do not run")
			switch {
			case need == nil || g.Absent:
			case need.Absent:
				c.fail(&g.Object, "needs", "Remove it here.", "would never be started: %s is declared ensure: absent (%s)", need.Ref, need.At("ensure"))
			case need.State == Stopped && g.State == Running:
				c.fail(&g.Object, "needs", "Let that one run, or remove it here.", "would never be started: %s is declared state: stopped (%s)", need.Ref, need.At("state"))
			}
		}
		if r := g.Rollback; r != nil {
			for _, key := range r.Loses {
				if n, err := strconv.Atoi(strings.TrimPrefix(key, "mp")); err == nil && g.Config.Mounts[n].Bind() {
					c.fail(&g.Object, "rollback.loses", "Leave it out.", "%s is a folder of the host, which no snapshot contains", key)
				}
			}
		}
	}
}

// config looks at what only the whole household can tell about a configuration.
func (c *checker) config(h host) {
	inside := map[string]string{}
	for _, i := range slices.Sorted(maps.Keys(h.config.Mounts)) {
		m, field := h.config.Mounts[i], "config.mp"+strconv.Itoa(i)
		if other, twice := inside[m.Path]; twice && m.Path != "" {
			c.fail(h.Object, field, "Give each its own path.", "is mounted at %s, like %s", m.Path, other)
		}
		inside[m.Path] = "mp" + strconv.Itoa(i)
		if m.Volume != "" {
			id, _ := proxmox.ParseVolumeID(m.Volume)
			if owner, ok := id.Owner(); ok && h.vmid != 0 && owner != h.vmid {
				c.fail(h.Object, field, fmt.Sprintf("Attach volumes of %d alone; move one from guest to guest with pct move-volume.", h.vmid), "%s belongs to guest %d: whoever deletes that guest deletes the data", m.Volume, owner)
			} else if strings.HasPrefix(id.Name, "backup/") || strings.HasPrefix(id.Name, "vztmpl/") || strings.HasPrefix(id.Name, "iso/") {
				c.fail(h.Object, field, "expected a volume, for example local-lvm:vm-111-disk-1.", "invalid disk %s", m.Volume)
			}
		}
		if m.Bind() && h.Ref.Kind == KindGolden {
			c.fail(h.Object, field, "Declare it on what is restored from the golden image.", "is a folder of the host, which no archive contains, so it would never reach a copy")
			continue
		}
		if m.Mount != "" {
			disk := c.Mounts[m.Mount]
			switch {
			case disk == nil && c.whole:
				c.fail(h.Object, field, c.reference(m.Mount, KindMount), "names the disk %q, which is not declared", m.Mount)
			case disk == nil:
			case disk.Absent:
				c.fail(h.Object, field, "Remove the one or the other.", "binds a folder of %s, which is declared ensure: absent (%s)", disk.Ref, disk.At("ensure"))
			case elsewhere(disk.Node, h.Node):
				c.fail(h.Object, field, "Declare a disk of that node.", "%s is a disk of %s, this is created on %s", disk.Ref, disk.Node, h.Node)
			}
		}
		if m.Host != "" {
			c.bindsHost(h, field, m)
		}
		c.mapsIDs(h, field, m)
	}
	c.nets(h)
}

// nets looks at a guest's interfaces together. One without a bridge is stored by PVE and keeps the guest from starting
// (bridge ” does not exist, PVE 9.2.11); so do two of one name (Failed to setup netdev).
func (c *checker) nets(h host) {
	names, macs := map[string]int{}, map[string]int{}
	for _, i := range slices.Sorted(maps.Keys(h.config.Nets)) {
		net, field := h.config.Nets[i], "config.net"+strconv.Itoa(i)
		name, mac := net["name"], strings.ToUpper(net["hwaddr"])
		wrong := string(h.Ref.Kind) + "." + h.Ref.Name + "." + field // a mistake in it may have hidden the bridge
		if net["bridge"] == "" && !slices.ContainsFunc(c.list, func(e *Error) bool {
			return under(strings.ReplaceAll(e.Field, ".", "/"), strings.ReplaceAll(wrong, ".", "/"))
		}) {
			c.fail(h.Object, field, "Write for example bridge: vmbr0; add link_down: true for an interface that is not connected.", "has no bridge, and PVE does not start a guest with such an interface")
		}
		if other, twice := names[name]; twice && name != "" {
			c.fail(h.Object, field, "Give each its own name: eth0, eth1.", "is called %s, like net%d", name, other)
		}
		if other, twice := macs[mac]; twice && mac != "" {
			c.fail(h.Object, field, "Give each its own hwaddr, or leave it out.", "has the hardware address %s, like net%d", mac, other)
		}
		names[name], macs[mac] = i, i
	}
}

func (c *checker) bindsHost(h host, field string, m MountPoint) {
	for _, disk := range sorted(c.Mounts) {
		if disk.Path == "" || elsewhere(disk.Node, h.Node) {
			continue
		}
		if under(m.Host, disk.Path) {
			folder := strings.TrimPrefix(strings.TrimPrefix(m.Host, disk.Path), "/")
			c.fail(h.Object, field, fmt.Sprintf("Say it so: {mount: %s, folder: %s, mp: %s}; then order, absence and re-plugging follow.", disk.Ref.Name, cmp.Or(folder, "NAME"), m.Path),
				"%s is on the disk %s (%s)", m.Host, disk.Ref, disk.Pos)
			return
		}
		if under(disk.Path, m.Host) {
			c.fail(h.Object, field, fmt.Sprintf("Bind a folder of it: {mount: %s, folder: NAME, mp: %s}.", disk.Ref.Name, m.Path), "%s holds the path of the disk %s (%s)", m.Host, disk.Ref, disk.Pos)
			return
		}
	}
	c.rooted(h.Object, field, m.Host)
}

// cycles finds guests that wait for each other.
func (c *checker) cycles() {
	const (
		fresh = iota
		open
		done
	)
	state := map[string]int{}
	var way []string
	var visit func(g *Guest)
	visit = func(g *Guest) {
		name := g.Ref.Name
		state[name] = open
		way = append(way, name)
		for _, need := range g.Needs {
			switch next := c.Guest(need); {
			case next == nil || state[need] == done:
			case state[need] == open:
				ring := append(slices.Clone(way[slices.Index(way, need):]), need)
				c.fail(&g.Object, "needs", "Remove one of them.", "goes round in a circle: %s", strings.Join(ring, " needs "))
			default:
				visit(next)
			}
		}
		state[name] = done
		way = way[:len(way)-1]
	}
	for _, g := range sorted(c.Restores, c.Guests) {
		if state[g.Ref.Name] == fresh {
			visit(g)
		}
	}
}
