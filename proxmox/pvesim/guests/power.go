package guests

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

func rootOnly(c *request.Call) error {
	if c.Flag("skiplock") && !c.Who.Root() {
		return refusal.BadParam("skiplock", "Only root may use this option.")
	}
	return nil
}

// onNode is a guest that lives on the node of the call; nil when none does.
func onNode(c *request.Call) *world.Guest {
	g, _ := c.Guest()
	return g
}

func noun(c *request.Call) string {
	if c.Qemu() {
		return "VM"
	}
	return "CT"
}

func templateNoun(g *world.Guest) string {
	if g.Qemu {
		return "vm"
	}
	return "CT"
}

// Start answers POST /nodes/{node}/lxc/{vmid}/status/start: a missing guest is a task that fails. PVE: LXC/Status vm_start.
func Start(c *request.Call) error {
	if err := rootOnly(c); err != nil {
		return err
	}
	g := onNode(c)
	if g != nil && g.Running {
		return refusal.Fail("%s %d already running", noun(c), c.VMID())
	}
	if err := c.Cluster.World.Quorum(); err != nil {
		return err
	}
	if g != nil && g.HA != "" {
		return c.Worker("hastart", nil)
	}
	args := map[string]string{}
	if c.Flag("skiplock") {
		args["skiplock"] = "1"
	}
	return c.Worker("vzstart", args)
}

// Stop answers POST /nodes/{node}/lxc/{vmid}/status/stop.
func Stop(c *request.Call) error {
	if err := rootOnly(c); err != nil {
		return err
	}
	g := onNode(c)
	if g == nil || !g.Running {
		return refusal.Fail("%s %d not running", noun(c), c.VMID())
	}
	if g.HA != "" {
		return c.Worker("hastop", nil)
	}
	args := map[string]string{}
	if c.Flag("skiplock") {
		args["skiplock"] = "1"
	}
	if c.Flag("overrule-shutdown") {
		for _, t := range append([]*world.Task(nil), c.Cluster.Running...) {
			if isShutdown(t) && t.ID == strconv.Itoa(g.VMID) && t.Node == c.Node && (c.Owns(t.User) || c.Cluster.Rights.Can(c.Who, "/nodes/"+c.Node.Name, "Sys.Modify")) {
				c.Cluster.Kill(t)
			}
		}
	}
	return c.Worker("vzstop", args)
}

// Shutdown answers POST /nodes/{node}/lxc/{vmid}/status/shutdown.
func Shutdown(c *request.Call) error {
	g := onNode(c)
	if g == nil || !g.Running {
		return refusal.Fail("%s %d not running", noun(c), c.VMID())
	}
	if g.HA != "" {
		return c.Worker("hastop", nil)
	}
	args := map[string]string{"timeout": "60", "force": c.Param("forceStop")}
	if v := c.Param("timeout"); v != "" {
		args["timeout"] = v
	}
	return c.Worker("vzshutdown", args)
}

// Reboot answers POST /nodes/{node}/lxc/{vmid}/status/reboot.
func Reboot(c *request.Call) error {
	g := onNode(c)
	if g == nil || !g.Running {
		return refusal.Fail("VM %d not running", c.VMID())
	}
	return c.Worker("vzreboot", map[string]string{"timeout": c.Param("timeout")})
}

// Freeze answers POST suspend and resume of a guest: kind is the type of the task.
func Freeze(kind string) func(*request.Call) error {
	return func(c *request.Call) error {
		running := false
		if g := onNode(c); g != nil {
			running = g.Running
		}
		switch {
		case kind == "vzsuspend" && !running:
			return refusal.Fail("%s %d not running", noun(c), c.VMID())
		case kind == "vzresume" && running:
			return refusal.Fail("%s %d already running", noun(c), c.VMID())
		}
		return c.Worker(kind, nil)
	}
}

// RunStart runs vzstart.
func RunStart(cl *cluster.Cluster, t *world.Task) error {
	g, err := TaskGuest(cl, t)
	if err != nil {
		return err
	}
	if t.Phase == 0 {
		if err := LockConfig(cl, t, g.VMID); err != nil {
			return err
		}
		if g.Conf.Vals["template"] == "1" {
			return errors.New("you can't start a " + templateNoun(g) + " if it's a template")
		}
		if l := g.Conf.Vals["lock"]; l != "" && l != "mounted" && t.Args["skiplock"] != "1" {
			return CheckLock(g)
		}
		if g.Running {
			return fmt.Errorf("%s %d already running", g.Noun(), g.VMID)
		}
		ApplyPending(cl, t.Node, g, func(string, bool) bool { return true })
		if err := startable(cl, t, g); err != nil {
			return err
		}
		if g.Journal {
			t.Args["journal"] = "1"
			cl.Locks["migrate/"+t.ID] = t.UPID()
			t.Holds = append(t.Holds, "migrate/"+t.ID)
			return cl.After(t, 42*time.Second+t.Length)
		}
		return cl.Then(t, 1)
	}
	if err := startable(cl, t, g); err != nil { // a disk may have gone meanwhile
		return err
	}
	g.Journal = false
	Boot(cl, t.Node, g)
	return cluster.ErrDone
}

func isShutdown(t *world.Task) bool { return t.Type == "vzshutdown" || t.Type == "qmshutdown" }

// RunStop runs the stop and the shutdown of a guest.
func RunStop(cl *cluster.Cluster, t *world.Task) error {
	g, err := TaskGuest(cl, t)
	if err != nil {
		return err
	}
	if t.Phase == 0 {
		if err := LockConfig(cl, t, g.VMID); err != nil {
			return err
		}
		if !g.Running {
			return fmt.Errorf("%s %d not running", g.Noun(), g.VMID)
		}
		if l := g.Conf.Vals["lock"]; l != "" && l != "mounted" && t.Args["skiplock"] != "1" {
			return CheckLock(g)
		}
		if isShutdown(t) {
			sec, _ := strconv.Atoi(t.Args["timeout"])
			timeout := time.Duration(sec) * time.Second
			if g.Stubborn || timeout < t.Length {
				t.Args["expires"] = "1"
				return cl.After(t, timeout)
			}
		}
		return cl.Then(t, 1)
	}
	if t.Args["expires"] == "1" && t.Args["force"] != "1" {
		if g.Qemu {
			return errors.New("VM quit/powerdown failed - got timeout")
		}
		return errors.New("container did not stop")
	}
	Halt(cl, g)
	return cluster.ErrDone
}

// RunReboot stops without looking at the lock; the start hook does look at it.
func RunReboot(cl *cluster.Cluster, t *world.Task) error {
	g, err := TaskGuest(cl, t)
	if err != nil {
		return err
	}
	switch t.Phase {
	case 0:
		if err := LockConfig(cl, t, g.VMID); err != nil {
			return err
		}
		return cl.Then(t, 0.6)
	case 1:
		Halt(cl, g)
		if g.Conf.Vals["lock"] != "" {
			t.Logf("%s is locked (%s)", g.Noun(), g.Conf.Vals["lock"])
			return fmt.Errorf("startup for container '%d' failed", g.VMID)
		}
		ApplyPending(cl, t.Node, g, func(string, bool) bool { return true })
		if err := startable(cl, t, g); err != nil {
			return err
		}
		return cl.Then(t, 0.4)
	}
	Boot(cl, t.Node, g)
	return cluster.ErrDone
}

// RunFreeze fails as it does where CRIU is not installed, which PVE does not bring along.
func RunFreeze(cl *cluster.Cluster, t *world.Task) error {
	g, err := TaskGuest(cl, t)
	if err != nil {
		return err
	}
	if t.Phase == 0 {
		if t.Type == "vzsuspend" {
			if err := CheckLock(g); err != nil {
				return err
			}
		}
		return cl.Then(t, 0.5)
	}
	how := "-s"
	if t.Type == "vzresume" {
		how = "-r --foreground"
	}
	return fmt.Errorf("command 'lxc-checkpoint -n %d %s -D /var/lib/vz/dump' failed: exit code 1", g.VMID, how)
}
