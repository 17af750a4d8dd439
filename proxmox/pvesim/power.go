package pvesim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

func rootOnly(c *call) error {
	if c.flag("skiplock") && !c.who.root() {
		return badParam("skiplock", "Only root may use this option.")
	}
	return nil
}

// onNode is a guest that lives on the node of the call; nil when none does.
func (c *call) onNode() *guest {
	g, _ := c.guest()
	return g
}

func (s *Sim) quorum() error {
	if s.w.NoQuorum && len(s.w.Nodes) > 1 {
		return fail("cluster not ready - no quorum?")
	}
	return nil
}

func (c *call) worker(kind string, args map[string]string) error {
	return c.upid(c.s.start(c.node, kind, c.param("vmid"), c.who.id, 0, args))
}

// startGuest: a missing guest is a task that fails. PVE: LXC/Status vm_start.
func startGuest(c *call) error {
	if err := rootOnly(c); err != nil {
		return err
	}
	g := c.onNode()
	if g != nil && g.Running {
		return fail("CT %d already running", c.vmid())
	}
	if err := c.s.quorum(); err != nil {
		return err
	}
	if g != nil && g.HA != "" {
		return c.worker("hastart", nil)
	}
	args := map[string]string{}
	if c.flag("skiplock") {
		args["skiplock"] = "1"
	}
	return c.worker("vzstart", args)
}

func stopGuest(c *call) error {
	if err := rootOnly(c); err != nil {
		return err
	}
	g := c.onNode()
	if g == nil || !g.Running {
		return fail("CT %d not running", c.vmid())
	}
	if g.HA != "" {
		return c.worker("hastop", nil)
	}
	args := map[string]string{}
	if c.flag("skiplock") {
		args["skiplock"] = "1"
	}
	if c.flag("overrule-shutdown") {
		for _, t := range append([]*task(nil), c.s.running...) {
			if t.Type == "vzshutdown" && t.ID == itoa(g.VMID) && t.node == c.node && (c.owns(t.User) || c.s.can(c.who, "/nodes/"+c.node.Name, "Sys.Modify")) {
				c.s.kill(t)
			}
		}
	}
	return c.worker("vzstop", args)
}

func shutdownGuest(c *call) error {
	g := c.onNode()
	if g == nil || !g.Running {
		return fail("CT %d not running", c.vmid())
	}
	if g.HA != "" {
		return c.worker("hastop", nil)
	}
	args := map[string]string{"timeout": "60", "force": c.param("forceStop")}
	if v := c.param("timeout"); v != "" {
		args["timeout"] = v
	}
	return c.worker("vzshutdown", args)
}

func rebootGuest(c *call) error {
	g := c.onNode()
	if g == nil || !g.Running {
		return fail("VM %d not running", c.vmid())
	}
	return c.worker("vzreboot", map[string]string{"timeout": c.param("timeout")})
}

func freezeGuest(kind string) func(*call) error {
	return func(c *call) error {
		running := false
		if g := c.onNode(); g != nil {
			running = g.Running
		}
		switch {
		case kind == "vzsuspend" && !running:
			return fail("CT %d not running", c.vmid())
		case kind == "vzresume" && running:
			return fail("CT %d already running", c.vmid())
		}
		return c.worker(kind, nil)
	}
}

// taskGuest is the guest that a task works on; it may be gone by now.
func (s *Sim) taskGuest(t *task) (*guest, error) {
	g := s.guests[t.vmid()]
	if g == nil || g.Node != t.node.Name || g.Qemu {
		return nil, noConfig(t.node.Name, t.vmid())
	}
	return g, nil
}

// recovering: a start that replays the journal of a rolled back file system takes
// about 42 s (multi-mount protection), and the guest's status hangs meanwhile.
func (s *Sim) recovering(g *guest) bool {
	for _, t := range s.running {
		if t.Type == "vzstart" && t.Args["journal"] == "1" && t.ID == itoa(g.VMID) {
			return true
		}
	}
	return false
}

func (s *Sim) runStart(t *task) error {
	g, err := s.taskGuest(t)
	if err != nil {
		return err
	}
	if t.Phase == 0 {
		if err := s.lockConfig(t, g.VMID); err != nil {
			return err
		}
		if g.conf.vals["template"] == "1" {
			return errors.New("you can't start a CT if it's a template")
		}
		if l := g.conf.vals["lock"]; l != "" && l != "mounted" && t.Args["skiplock"] != "1" {
			return checkLock(g.conf)
		}
		if g.Running {
			return fmt.Errorf("CT %d already running", g.VMID)
		}
		s.applyPending(t.node, g, func(string, bool) bool { return true })
		if err := s.startable(t, g); err != nil {
			return err
		}
		if g.Journal {
			t.Args["journal"] = "1"
			s.locks["migrate/"+t.ID] = t.upid()
			t.Holds = append(t.Holds, "migrate/"+t.ID)
			return s.after(t, 42*time.Second+t.Length)
		}
		return s.then(t, 1)
	}
	if err := s.startable(t, g); err != nil { // a disk may have gone meanwhile
		return err
	}
	g.Journal = false
	s.boot(t.node, g)
	return errDone
}

// startable: the volumes, binds, devices and bridges that a start needs.
func (s *Sim) startable(t *task, g *guest) error {
	n := t.node
	for _, m := range g.conf.mountPoints() {
		if m.kind() == "volume" {
			v, p, err := s.volume(n, m.volid())
			if err != nil {
				return err
			}
			if v == nil {
				return p.missing(m.volid())
			}
			continue
		}
		if m.kind() == "bind" && !n.exists(m.volid()) {
			t.log("directory '%s' does not exist", m.volid())
			return fmt.Errorf("startup for container '%d' failed", g.VMID)
		}
		if m.kind() == "device" && !n.hasDevice(m.volid()) {
			t.log("unable to open '%s': No such file or directory", m.volid())
			return fmt.Errorf("startup for container '%d' failed", g.VMID)
		}
	}
	for _, k := range g.conf.numbered("dev") {
		if p, err := devSchema.parse(g.conf.vals[k], ""); err == nil && !n.hasDevice(p["path"]) {
			return fail("Device %s does not exist", p["path"])
		}
	}
	names := map[string]bool{}
	for _, k := range g.conf.numbered("net") {
		net, err := netSchema.parse(g.conf.vals[k], "")
		if err == nil && names[net["name"]] {
			t.log("lxc_create_network_priv: Failed to setup netdev")
			return fmt.Errorf("startup for container '%d' failed", g.VMID)
		}
		if bridgeless(g.conf.vals[k]) {
			for _, line := range []int{134, 135} {
				t.log("Use of uninitialized value $bridge in concatenation (.) or string at /usr/share/perl5/PVE/Network.pm line %d.", line)
			}
			return errors.New("bridge '' does not exist")
		}
		names[net["name"]] = true
	}
	return s.writeRuntime(n, g)
}

// boot lets a guest run: it keeps the mounts that are there now, and the first start of
// a fresh volume writes what makes it this guest's.
func (s *Sim) boot(n *node, g *guest) {
	g.Running = true
	g.Since = s.now.Unix()
	n.PID++
	g.PID = n.PID
	g.Using = g.appetite()
	g.Holds = nil
	for _, m := range g.conf.mountPoints() {
		if h, err := s.holdOf(n, m); err == nil {
			g.Holds = append(g.Holds, h)
		}
		if m.kind() != "volume" {
			continue
		}
		v, _, _ := s.volume(n, m.volid())
		if v == nil || !strings.HasSuffix(v.Data, "*") {
			continue
		}
		place := itoa(g.VMID) + "/" + m.key
		s.w.Boots[place]++
		v.Data = imprint(v.Data, "first start", place, itoa(s.w.Boots[place]))
		if v.Used < v.Size/100 {
			v.Used = v.Size / 100
		}
	}
	if s.starves(g) {
		s.w.Events = append(s.w.Events, &event{At: s.now.Add(2 * time.Second), Kind: "oom", VMID: g.VMID})
	}
}

// halt is a guest that stopped, however it came.
func (s *Sim) halt(g *guest) {
	if !g.Running {
		return
	}
	g.Running = false
	g.PID, g.Using, g.Shmem, g.Cache = 0, 0, 0, 0
	g.Holds = nil
	g.Since = s.now.Unix()
	// pending deletions of mount points come into force when the guest stops
	n := s.node(g.Node)
	s.applyPending(n, g, func(key string, deleted bool) bool {
		return deleted && strings.HasPrefix(key, "mp")
	})
}

func (s *Sim) runStop(t *task) error {
	g, err := s.taskGuest(t)
	if err != nil {
		return err
	}
	if t.Phase == 0 {
		if err := s.lockConfig(t, g.VMID); err != nil {
			return err
		}
		if !g.Running {
			return fmt.Errorf("CT %d not running", g.VMID)
		}
		if l := g.conf.vals["lock"]; l != "" && l != "mounted" && t.Args["skiplock"] != "1" {
			return checkLock(g.conf)
		}
		if t.Type == "vzshutdown" {
			sec, _ := strconv.Atoi(t.Args["timeout"])
			timeout := time.Duration(sec) * time.Second
			if g.Stubborn || timeout < t.Length {
				t.Args["expires"] = "1"
				return s.after(t, timeout)
			}
		}
		return s.then(t, 1)
	}
	if t.Args["expires"] == "1" && t.Args["force"] != "1" {
		return errors.New("container did not stop")
	}
	s.halt(g)
	return errDone
}

// runReboot stops without looking at the lock; the start hook does look at it.
func (s *Sim) runReboot(t *task) error {
	g, err := s.taskGuest(t)
	if err != nil {
		return err
	}
	switch t.Phase {
	case 0:
		if err := s.lockConfig(t, g.VMID); err != nil {
			return err
		}
		return s.then(t, 0.6)
	case 1:
		s.halt(g)
		if g.conf.vals["lock"] != "" {
			t.log("CT is locked (%s)", g.conf.vals["lock"])
			return fmt.Errorf("startup for container '%d' failed", g.VMID)
		}
		s.applyPending(t.node, g, func(string, bool) bool { return true })
		if err := s.startable(t, g); err != nil {
			return err
		}
		return s.then(t, 0.4)
	}
	s.boot(t.node, g)
	return errDone
}

// runFreeze fails as it does where CRIU is not installed, which PVE does not bring along.
func (s *Sim) runFreeze(t *task) error {
	g, err := s.taskGuest(t)
	if err != nil {
		return err
	}
	if t.Phase == 0 {
		if t.Type == "vzsuspend" {
			if err := checkLock(g.conf); err != nil {
				return err
			}
		}
		return s.then(t, 0.5)
	}
	how := "-s"
	if t.Type == "vzresume" {
		how = "-r --foreground"
	}
	return fmt.Errorf("command 'lxc-checkpoint -n %d %s -D /var/lib/vz/dump' failed: exit code 1", g.VMID, how)
}
