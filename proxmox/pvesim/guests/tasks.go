package guests

import (
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// LockConfig takes a guest's config flock for a task.
func LockConfig(cl *cluster.Cluster, t *world.Task, vmid int) error {
	return cl.Acquire(t, cluster.FlockKey(vmid), 10*time.Second, cluster.TryLock, cluster.FlockTimeout(vmid))
}

// LockMigration takes the lock that rollback and snapshot deletion share with migrations.
func LockMigration(cl *cluster.Cluster, t *world.Task, vmid int) error {
	return cl.Acquire(t, "migrate/"+strconv.Itoa(vmid), 10*time.Second, cluster.TryLock,
		"Failed to obtain guest migration lock - replication running?")
}

// TaskGuest is the guest that a task works on; it may be gone by now.
func TaskGuest(cl *cluster.Cluster, t *world.Task) (*world.Guest, error) {
	g := cl.Guests[t.VMID()]
	qemu := strings.HasPrefix(t.Type, "qm")
	if g == nil || g.Node != t.Node.Name || g.Qemu != qemu && (qemu || strings.HasPrefix(t.Type, "vz")) {
		return nil, cluster.NoConfig(t.Node.Name, t.VMID(), qemu)
	}
	return g, nil
}
