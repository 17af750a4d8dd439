package guests

import (
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// RunHA only sets the wish; HA carries it out afterwards.
func RunHA(cl *cluster.Cluster, t *world.Task) error {
	g, err := TaskGuest(cl, t)
	if err != nil {
		return err
	}
	kind := "vzstop"
	g.HA = "stopped"
	if t.Type == "hastart" {
		kind, g.HA = "vzstart", "started"
	} else if g.Running {
		kind = "vzshutdown"
	}
	cl.Start(t.Node, kind, t.ID, "root@pam", 0, map[string]string{"timeout": "60", "force": "1"})
	return cluster.ErrDone
}

// RunAll is startall and stopall: one worker per guest, in order.
func RunAll(cl *cluster.Cluster, t *world.Task) error {
	if t.Phase > 0 {
		return cluster.ErrDone
	}
	var all []*world.Guest
	for _, g := range cl.World.Guests {
		if g.Node != t.Node.Name || g.Qemu || g.Running == (t.Type == "startall") {
			continue
		}
		if v := t.Args["vms"]; v != "" && !slices.Contains(notation.SplitList(v), strconv.Itoa(g.VMID)) {
			continue
		}
		if t.Type == "startall" && t.Args["vms"] == "" && g.Conf.Vals["onboot"] != "1" {
			continue
		}
		all = append(all, g)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].VMID < all[j].VMID })
	longest := time.Duration(0)
	for _, g := range all {
		kind := "vzshutdown"
		if t.Type == "startall" {
			kind = "vzstart"
			t.Logf("Starting CT %d", g.VMID)
		} else {
			t.Logf("Stopping CT %d (timeout = 60 seconds)", g.VMID)
		}
		inner := cl.Start(t.Node, kind, strconv.Itoa(g.VMID), t.User, 0, map[string]string{"timeout": "60", "force": "1"})
		longest = max(longest, inner.Length)
	}
	return cl.After(t, longest+time.Second)
}

// RebootNode is the host going down and coming back: tasks die, guests stop, those with
// onboot start again.
func RebootNode(cl *cluster.Cluster, n *world.Node, comesBack bool) {
	for _, t := range append([]*world.Task(nil), cl.Running...) {
		if t.Node == n {
			cl.End(t, "")
		}
	}
	for _, g := range cl.World.Guests {
		if g.Node == n.Name {
			Halt(cl, g)
			g.Mounted = false
		}
	}
	machine.UnmountAll(n)
	if !comesBack {
		return
	}
	n.Boot = cl.Now.Unix()
	machine.MountFstab(n)
	cl.Start(n, "startall", "", "root@pam", 0, nil)
}
