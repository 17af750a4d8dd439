package lifecycle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Destroy is DELETE of a guest. PVE: destroy_vm.
func Destroy(c *request.Call) error {
	g, err := c.Guest()
	if err != nil {
		return err
	}
	if g.Conf.Vals["protection"] == "1" {
		return refusal.Fail("can't remove %s %d - protection mode enabled", g.Noun(), g.VMID)
	}
	if err := guests.CheckLock(g); err != nil {
		return err
	}
	if g.HA != "" && !c.Flag("purge") {
		return refusal.Fail("unable to remove CT %d - used in HA resources and purge parameter not set.", g.VMID)
	}
	if g.Running && !c.Flag("force") {
		if g.Qemu {
			return refusal.Fail("VM %d is running - destroy failed", g.VMID)
		}
		return refusal.Fail("unable to destroy CT %d - container is running", g.VMID)
	}
	args := map[string]string{"purge": c.Param("purge"), "force": c.Param("force"), "unreferenced": c.Param("destroy-unreferenced-disks")}
	return c.Worker("vzdestroy", args)
}

// RunDestroy runs vzdestroy.
func RunDestroy(cl *cluster.Cluster, t *world.Task) error {
	g, err := guests.TaskGuest(cl, t)
	if err != nil {
		return err
	}
	if t.Phase == 0 {
		if err := guests.LockConfig(cl, t, g.VMID); err != nil {
			return err
		}
		if err := guests.CheckLock(g); err != nil {
			return err
		}
		if g.Running {
			if t.Args["force"] != "1" {
				return fmt.Errorf("unable to destroy CT %d - container is running", g.VMID)
			}
			t.Logf("forced to stop CT %d before destroying!", g.VMID)
			guests.Halt(cl, g)
		}
		t.Args["volumes"] = strings.Join(volumesOf(cl, g), " ")
		conf := lxcconf.New()
		conf.Section.Set("lock", "destroyed")
		g.Rewrite(conf)
		return cl.Then(t, 1)
	}
	for _, volid := range strings.Fields(t.Args["volumes"]) {
		lines, err := places.Free(cl, t.Node, volid)
		t.Log = append(t.Log, lines...)
		if err != nil {
			t.Logf("%s", err.Error())
		}
	}
	if t.Args["unreferenced"] == "1" {
		for _, volid := range guests.Strays(cl, t.Node, g.VMID) {
			lines, _ := places.Free(cl, t.Node, volid)
			t.Log = append(t.Log, lines...)
		}
	}
	if t.Args["purge"] == "1" {
		t.Logf("purging CT %d from related configurations..", g.VMID)
	}
	forgetAccess(cl, g.VMID)
	cl.DropGuest(g.VMID)
	return cluster.ErrDone
}

// forgetAccess removes a guest from the permissions and the pools. PVE: remove_vm_access, remove_vm_from_pool.
func forgetAccess(cl *cluster.Cluster, vmid int) {
	cl.World.Access.Drop(func(e world.ACLEntry) bool { return e.Path == rights.OnVM(vmid) })
	for _, p := range cl.World.Pools {
		p.VMs = slices.DeleteFunc(slices.Clone(p.VMs), func(v int) bool { return v == vmid })
	}
	cl.Rights.Forget()
}
