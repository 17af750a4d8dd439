package pvesim

import (
	"sort"
	"time"
)

// runHA only sets the wish; HA carries it out afterwards.
func (s *Sim) runHA(t *task) error {
	g, err := s.taskGuest(t)
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
	s.start(t.node, kind, t.ID, "root@pam", 0, map[string]string{"timeout": "60", "force": "1"})
	return errDone
}

// runAll is startall and stopall: one worker per guest, in order.
func (s *Sim) runAll(t *task) error {
	if t.Phase > 0 {
		return errDone
	}
	var all []*guest
	for _, g := range s.w.Guests {
		if g.Node != t.node.Name || g.Qemu || g.Running == (t.Type == "startall") {
			continue
		}
		if v := t.Args["vms"]; v != "" && !contains(splitList(v), itoa(g.VMID)) {
			continue
		}
		if t.Type == "startall" && t.Args["vms"] == "" && g.conf.vals["onboot"] != "1" {
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
			t.log("Starting CT %d", g.VMID)
		} else {
			t.log("Stopping CT %d (timeout = 60 seconds)", g.VMID)
		}
		inner := s.start(t.node, kind, itoa(g.VMID), t.User, 0, map[string]string{"timeout": "60", "force": "1"})
		longest = max(longest, inner.Length)
	}
	return s.after(t, longest+time.Second)
}

// reboot is the host going down and coming back: tasks die, guests stop, those with
// onboot start again.
func (s *Sim) reboot(n *node, comesBack bool) {
	for _, t := range append([]*task(nil), s.running...) {
		if t.node == n {
			s.end(t, "")
		}
	}
	for _, g := range s.w.Guests {
		if g.Node == n.Name {
			s.halt(g)
			g.Mounted = false
		}
	}
	s.unmountAll(n)
	if !comesBack {
		return
	}
	n.Boot = s.now.Unix()
	s.mountFstab(n)
	s.start(n, "startall", "", "root@pam", 0, nil)
}
