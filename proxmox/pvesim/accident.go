package pvesim

import (
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/host"
	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Heal takes all faults away, and ends tasks that hang as one who stops them does.
// Requests whose effect is delayed still come.
func (s *Sim) Heal() {
	defer s.cl.Enter()()
	s.cl.World.Faults = nil
	for _, t := range append([]*world.Task(nil), s.cl.Running...) {
		t.Fault = ""
		if t.Hung {
			t.Hung = false
			s.cl.Kill(t)
		}
	}
}

// SetOutage stops daemons of a node: "pvedaemon-down", "pvedaemon-hung" (its requests
// come through when it runs again), "pmxcfs-down"; "" lets them run again.
func (s *Sim) SetOutage(node, what string) {
	defer s.cl.Enter()()
	for _, n := range s.cl.World.Nodes {
		if n.Name == node {
			n.Outage = what
		}
	}
}

// LoseConfig loses a guest's config file and nothing else: its volumes and archives
// stay, as after a pmxcfs database that was set up anew.
func (s *Sim) LoseConfig(vmid int) {
	defer s.cl.Enter()()
	if g := s.cl.Guests[vmid]; g != nil {
		guests.Halt(s.cl, g)
		s.cl.DropGuest(vmid)
	}
}

// SetRetention gives a storage a retention of its own ("keep-last=1"), as pvesm set
// STORAGE --prune-backups does.
func (s *Sim) SetRetention(storage, prune string) {
	defer s.cl.Enter()()
	if st := s.cl.Storages[storage]; st != nil {
		st.Prune = prune
		s.cl.StorageWrites++
	}
}

// StepClock sets all clocks forward or back, as ntp does on a machine whose battery is
// empty: what goes on takes as long as before, and what has happened keeps its date.
func (s *Sim) StepClock(by time.Duration) {
	defer s.cl.Enter()()
	s.cl.Now = s.cl.Now.Add(by)
	for _, t := range s.cl.Running {
		t.Due, t.Until = t.Due.Add(by), t.Until.Add(by)
	}
	for _, e := range s.cl.World.Events {
		e.At = e.At.Add(by)
	}
}

// Die ends what runs in a guest, as when its init crashes.
func (s *Sim) Die(vmid int) {
	defer s.cl.Enter()()
	if g := s.cl.Guests[vmid]; g != nil {
		guests.Halt(s.cl, g)
	}
}

// FillMemory has a running guest keep files in shared memory and have read others, in
// MiB, until it stops.
func (s *Sim) FillMemory(vmid, shmem, cache int) {
	defer s.cl.Enter()()
	if g := s.cl.Guests[vmid]; g != nil && g.Running {
		g.Shmem, g.Cache = shmem, cache
	}
}

// Furnish says what runs and is stored in a guest. Archives made of it from now on have it too.
func (s *Sim) Furnish(vmid int, inside world.Inside) {
	defer s.cl.Enter()()
	if g := s.cl.Guests[vmid]; g != nil {
		g.Inside = inside.Copy()
	}
}

// FurnishArchive says what a guest has that is restored from an archive: one whose services fail,
// for example. It is an error when there is no such archive on the first node.
func (s *Sim) FurnishArchive(volid string, inside world.Inside) error {
	defer s.cl.Enter()()
	v, _, err := places.Find(s.cl, s.cl.World.Nodes[0], volid)
	switch {
	case err != nil:
		return fmt.Errorf("pvesim: %w", err)
	case v == nil:
		return fmt.Errorf("pvesim: volume %s does not exist", volid)
	}
	v.Inside = inside.Copy()
	return nil
}

// Inject adds a fault to the world.
func (s *Sim) Inject(f world.Fault) error {
	if err := f.Check(); err != nil {
		return fmt.Errorf("pvesim: %w", err)
	}
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	s.cl.World.Faults = append(s.cl.World.Faults, &f)
	return nil
}

// Reinstall is the node after a fire: guests, their volumes, mounts and the fstab are
// gone, Proxmox is set up again as before (storages, tokens, templates), and the disks
// are plugged in with what was on them, unmounted. The clock goes on.
func (s *Sim) Reinstall() {
	defer s.cl.Enter()()
	if err := machine.Reinstall(s.cl); err != nil {
		panic("pvesim: reinstall: " + err.Error())
	}
}

// Plug plugs the disk with a file system's UUID in. Where its old device name is still
// in use it gets the next free one.
func (s *Sim) Plug(uuid string) {
	defer s.cl.Enter()()
	machine.Plug(s.cl, uuid)
}

// Unplug pulls the disk with a file system's UUID out. What was mounted stays mounted
// and goes on showing what the page cache has; an archive that was written within the
// last seconds and not synced is gone from the disk, one that was written within half a
// minute is cut off. systemd unmounts what a line in the fstab describes, unless
// something is still writing there.
func (s *Sim) Unplug(uuid string) {
	defer s.cl.Enter()()
	machine.Unplug(s.cl, uuid)
}

// Hang makes the disk with a file system's UUID answer no more, or again: a program that
// reads it hangs until it is killed. What is cached of a mounted one is still there.
func (s *Sim) Hang(uuid string, hangs bool) {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	machine.Hang(s.cl, uuid, hangs)
}

// PutFile puts a plain file on what is mounted at the host's path name; text nil removes it. It is for stories.
func (s *Sim) PutFile(name string, text []byte) error {
	return host.PutFile(s.Host(s.Node()), name, text)
}

// PutTemplate puts a container template on a storage of the node, by its volume id. text is its file, where that is one of the simulator's; of others
// there is only the size.
func (s *Sim) PutTemplate(volume, text string, size int64) error {
	storage, name, _ := strings.Cut(volume, ":vztmpl/")
	v := world.ParseTemplate(name, text)
	if v == nil {
		v = &world.Volume{Size: size, OS: "debian"}
	}
	return host.PutTemplate(s.Host(s.Node()), storage, name, v)
}

// Strip is a node on which Proxmox has just been installed: of storages local and local-lvm, of users
// root@pam, no template. Call it after Reinstall.
func (s *Sim) Strip() {
	s.cl.Mu.Lock()
	defer s.cl.Mu.Unlock()
	if err := machine.Strip(s.cl); err != nil {
		panic("pvesim: strip: " + err.Error())
	}
}

// RestartPmxcfs lets pmxcfs begin anew, as systemctl restart pve-cluster does: what it counts of its files begins at one again.
func (s *Sim) RestartPmxcfs() {
	defer s.cl.Enter()()
	cluster.RestartPmxcfs(s.cl)
}
