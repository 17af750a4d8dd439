package request

import (
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
)

// WithConfig runs a synchronous change under a guest's flock. PVE: lock_config, 10 s.
func (c *Call) WithConfig(vmid int, change func() error) error {
	if err := c.Flock(vmid, 10*time.Second); err != nil {
		return err
	}
	return change()
}

// Flock waits for a guest's flock, which a synchronous change holds for no time.
func (c *Call) Flock(vmid int, wait time.Duration) error {
	cl, key := c.Cluster, cluster.FlockKey(vmid)
	if cl.Locks[key] == "" {
		return nil
	}
	if err := cl.SleepUntil(c.Ctx, cl.Now.Add(wait), func() bool { return cl.Locks[key] == "" }); err != nil {
		return err
	}
	if cl.Locks[key] != "" {
		return refusal.Fail("%s", cluster.FlockTimeout(vmid))
	}
	return nil
}
