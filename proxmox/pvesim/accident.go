package pvesim

import "time"

// Heal takes all faults away, and ends tasks that hang as one who stops them does.
// Requests whose effect is delayed still come.
func (s *Sim) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	s.w.Faults = nil
	for _, t := range append([]*task(nil), s.running...) {
		t.Fault = ""
		if t.Hung {
			t.Hung = false
			s.kill(t)
		}
	}
}

// SetOutage stops daemons of a node: "pvedaemon-down", "pvedaemon-hung" (its requests
// come through when it runs again), "pmxcfs-down"; "" lets them run again.
func (s *Sim) SetOutage(node, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	for _, n := range s.w.Nodes {
		if n.Name == node {
			n.Outage = what
		}
	}
}

// LoseConfig loses a guest's config file and nothing else: its volumes and archives
// stay, as after a pmxcfs database that was set up anew.
func (s *Sim) LoseConfig(vmid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if g := s.guests[vmid]; g != nil {
		s.halt(g)
		s.dropGuest(vmid)
	}
}

// SetRetention gives a storage a retention of its own ("keep-last=1"), as pvesm set
// STORAGE --prune-backups does.
func (s *Sim) SetRetention(storage, prune string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if st := s.storages[storage]; st != nil {
		st.Prune = prune
	}
}

// StepClock sets all clocks forward or back, as ntp does on a machine whose battery is
// empty: what goes on takes as long as before, and what has happened keeps its date.
func (s *Sim) StepClock(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	s.now = s.now.Add(by)
	for _, t := range s.running {
		t.Due, t.Until = t.Due.Add(by), t.Until.Add(by)
	}
	for _, e := range s.w.Events {
		e.At = e.At.Add(by)
	}
}

// Die ends what runs in a guest, as when its init crashes.
func (s *Sim) Die(vmid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if g := s.guests[vmid]; g != nil {
		s.halt(g)
	}
}

// FillMemory has a running guest keep files in shared memory and have read others, in
// MiB, until it stops.
func (s *Sim) FillMemory(vmid, shmem, cache int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if g := s.guests[vmid]; g != nil && g.Running {
		g.Shmem, g.Cache = shmem, cache
	}
}
