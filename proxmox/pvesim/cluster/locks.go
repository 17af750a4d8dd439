package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Acquire takes a lock for a task, or lets it wait; said is what it logs then.
func (cl *Cluster) Acquire(t *world.Task, key string, wait time.Duration, said, timeout string) error {
	if slices.Contains(t.Holds, key) {
		return nil
	}
	if cl.Locks[key] == "" {
		cl.Locks[key] = t.UPID()
		t.Holds = append(t.Holds, key)
		if t.Wait == key {
			t.Wait = ""
			if said == TryLock && len(t.Log) > 0 {
				t.Log[len(t.Log)-1] += " OK"
			}
		}
		return nil
	}
	if t.Wait == key && !cl.Now.Before(t.Until) {
		t.Wait = ""
		return errors.New(timeout)
	}
	if t.Wait != key {
		t.Wait, t.Until = key, cl.Now.Add(wait)
		t.Logf("%s", said)
	}
	t.Due = t.Until
	return ErrWait
}

// TryLock is what a task logs while it waits for a lock, and finishes with OK.
const TryLock = "trying to acquire lock..."

// FlockKey is the lock on a guest's config file.
func FlockKey(vmid int) string { return "config/" + strconv.Itoa(vmid) }

// FlockTimeout is the error of who waited in vain for that lock.
func FlockTimeout(vmid int) string {
	return fmt.Sprintf("can't lock file '/run/lock/lxc/pve-config-%d.lock' - got timeout", vmid)
}

// Unlock gives a lock of a task back before its end.
func (cl *Cluster) Unlock(t *world.Task, key string) {
	for i, h := range t.Holds {
		if h == key {
			t.Holds = append(t.Holds[:i:i], t.Holds[i+1:]...)
			cl.release(key, t.UPID())
			return
		}
	}
}

// release frees a lock and wakes all who wait for it: the first takes it, unless it
// fails before, and the others go on waiting.
func (cl *Cluster) release(key, owner string) {
	if cl.Locks[key] != owner {
		return
	}
	delete(cl.Locks, key)
	for _, t := range cl.Running {
		if t.Wait == key {
			t.Due = cl.Now
		}
	}
}
