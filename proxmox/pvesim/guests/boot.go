package guests

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// recovering: a start that replays the journal of a rolled back file system takes
// about 42 s (multi-mount protection), and the guest's status hangs meanwhile.
func recovering(cl *cluster.Cluster, g *world.Guest) bool {
	for _, t := range cl.Running {
		if t.Type == "vzstart" && t.Args["journal"] == "1" && t.ID == strconv.Itoa(g.VMID) {
			return true
		}
	}
	return false
}

// startable: the volumes, binds, devices and bridges that a start needs.
func startable(cl *cluster.Cluster, t *world.Task, g *world.Guest) error {
	n := t.Node
	if g.Qemu {
		return vmStartable(cl, n, g)
	}
	for _, m := range g.Conf.MountPoints() {
		if m.Kind() == "volume" {
			v, p, err := places.Find(cl, n, m.Volid())
			if err != nil {
				return err
			}
			if v == nil {
				return p.Missing(m.Volid())
			}
			continue
		}
		if m.Kind() == "bind" && !n.Exists(m.Volid()) {
			t.Logf("directory '%s' does not exist", m.Volid())
			return fmt.Errorf("startup for container '%d' failed", g.VMID)
		}
		if m.Kind() == "device" && !n.HasDevice(m.Volid()) {
			t.Logf("unable to open '%s': No such file or directory", m.Volid())
			return fmt.Errorf("startup for container '%d' failed", g.VMID)
		}
	}
	for _, k := range g.Conf.Numbered("dev") {
		if p, err := schema.Device.Parse(g.Conf.Vals[k], ""); err == nil && !n.HasDevice(p["path"]) {
			return refusal.Fail("Device %s does not exist", p["path"])
		}
	}
	names := map[string]bool{}
	for _, k := range g.Conf.Numbered("net") {
		net, err := schema.Net.Parse(g.Conf.Vals[k], "")
		if err == nil && names[net["name"]] {
			t.Logf("lxc_create_network_priv: Failed to setup netdev")
			return fmt.Errorf("startup for container '%d' failed", g.VMID)
		}
		if bridgeless(g.Conf.Vals[k]) {
			for _, line := range []int{134, 135} {
				t.Logf("Use of uninitialized value $bridge in concatenation (.) or string at /usr/share/perl5/PVE/Network.pm line %d.", line)
			}
			return errors.New("bridge '' does not exist")
		}
		names[net["name"]] = true
	}
	return WriteRuntime(n, g)
}

// Boot lets a guest run: it keeps the mounts that are there now, and the first start of
// a fresh volume writes what makes it this guest's.
func Boot(cl *cluster.Cluster, n *world.Node, g *world.Guest) {
	g.Running = true
	g.Since = cl.Now.Unix()
	n.PID++
	g.PID = n.PID
	g.Using = g.Appetite()
	g.Holds = nil
	for _, m := range g.Conf.MountPoints() {
		if h, err := machine.HoldOf(cl, n, m); err == nil && !g.Qemu {
			g.Holds = append(g.Holds, h)
		}
		if m.Kind() != "volume" {
			continue
		}
		v, _, _ := places.Find(cl, n, m.Volid())
		if v == nil || !strings.HasSuffix(v.Data, "*") {
			continue
		}
		place := strconv.Itoa(g.VMID) + "/" + m.Key
		cl.World.Boots[place]++
		v.Data = world.Imprint(v.Data, "first start", place, strconv.Itoa(cl.World.Boots[place]))
		if v.Used < v.Size/100 {
			v.Used = v.Size / 100
		}
	}
	if machine.Starves(g) {
		cl.World.Events = append(cl.World.Events, &world.Event{At: cl.Now.Add(2 * time.Second), Kind: "oom", VMID: g.VMID})
	}
}

// Halt is a guest that stopped, however it came.
func Halt(cl *cluster.Cluster, g *world.Guest) {
	if !g.Running {
		return
	}
	g.Running = false
	g.PID, g.Using, g.Shmem, g.Cache = 0, 0, 0, 0
	g.Holds = nil
	g.Since = cl.Now.Unix()
	if !g.Qemu { // its hook writes the config, also where nothing is pending (measured, 9.2.11)
		g.Conf.Write()
	}
	// pending deletions of mount points come into force when the guest stops
	n := cl.World.Node(g.Node)
	ApplyPending(cl, n, g, func(key string, deleted bool) bool {
		return deleted && strings.HasPrefix(key, "mp")
	})
}
