package pvesim

import (
	"errors"
	"fmt"
	"time"
)

// acquire takes a lock for a task, or lets it wait; said is what it logs then.
func (s *Sim) acquire(t *task, key string, wait time.Duration, said, timeout string) error {
	if contains(t.Holds, key) {
		return nil
	}
	if s.locks[key] == "" {
		s.locks[key] = t.upid()
		t.Holds = append(t.Holds, key)
		if t.Wait == key {
			t.Wait = ""
			if said == tryLock && len(t.Log) > 0 {
				t.Log[len(t.Log)-1] += " OK"
			}
		}
		return nil
	}
	if t.Wait == key && !s.now.Before(t.Until) {
		t.Wait = ""
		return errors.New(timeout)
	}
	if t.Wait != key {
		t.Wait, t.Until = key, s.now.Add(wait)
		t.log("%s", said)
	}
	t.Due = t.Until
	return errWait
}

const tryLock = "trying to acquire lock..."

// lockConfig takes a guest's config flock for a task.
func (s *Sim) lockConfig(t *task, vmid int) error {
	return s.acquire(t, flockKey(vmid), 10*time.Second, tryLock, flockTimeout(vmid))
}

// lockMigration takes the lock that rollback and snapshot deletion share with migrations.
func (s *Sim) lockMigration(t *task, vmid int) error {
	return s.acquire(t, "migrate/"+itoa(vmid), 10*time.Second, tryLock,
		"Failed to obtain guest migration lock - replication running?")
}

func flockKey(vmid int) string { return "config/" + itoa(vmid) }

func flockTimeout(vmid int) string {
	return fmt.Sprintf("can't lock file '/run/lock/lxc/pve-config-%d.lock' - got timeout", vmid)
}

// unlock gives a lock of a task back before its end.
func (s *Sim) unlock(t *task, key string) {
	for i, h := range t.Holds {
		if h == key {
			t.Holds = append(t.Holds[:i:i], t.Holds[i+1:]...)
			s.release(key, t.upid())
			return
		}
	}
}

// release frees a lock and wakes all who wait for it: the first takes it, unless it
// fails before, and the others go on waiting.
func (s *Sim) release(key, owner string) {
	if s.locks[key] != owner {
		return
	}
	delete(s.locks, key)
	for _, t := range s.running {
		if t.Wait == key {
			t.Due = s.now
		}
	}
}

// withConfig runs a synchronous change under a guest's flock. PVE: lock_config, 10 s.
func (c *call) withConfig(vmid int, change func() error) error {
	if err := c.flock(vmid, 10*time.Second); err != nil {
		return err
	}
	return change()
}

// flock waits for a guest's flock, which a synchronous change holds for no time.
func (c *call) flock(vmid int, wait time.Duration) error {
	s, key := c.s, flockKey(vmid)
	if s.locks[key] == "" {
		return nil
	}
	if err := s.sleepUntil(c.ctx, s.now.Add(wait), func() bool { return s.locks[key] == "" }); err != nil {
		return err
	}
	if s.locks[key] != "" {
		return fail("%s", flockTimeout(vmid))
	}
	return nil
}
