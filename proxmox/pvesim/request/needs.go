package request

import (
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
)

// NotSimulated answers for an operation that the simulator does not carry out.
func NotSimulated(c *Call) error {
	return refusal.Fail("pvesim does not simulate %s %s", c.Method, c.Path)
}

// Index answers with the names of a path's children, as PVE's directory methods do; some
// call them name, some subdir, one cmd.
func Index(key string, names ...string) func(*Call) error {
	return func(c *Call) error {
		d := c.Data().List()
		for _, n := range names {
			d.Open().Str(key, n).Close()
		}
		d.End()
		return nil
	}
}

// OfGuest is for methods that first look whether the guest exists.
func OfGuest(run func(*Call) error) func(*Call) error {
	return func(c *Call) error {
		if _, err := c.Guest(); err != nil {
			return err
		}
		return run(c)
	}
}

// VMNeeds has a route ask for all of some privileges on the guest of the path.
func VMNeeds(privs ...string) func(*Call) error {
	return func(c *Call) error { return c.Cluster.Rights.Need(c.Who, "/vms/"+c.Param("vmid"), privs...) }
}

// VMNeedsAny has a route ask for one of some privileges on the guest of the path.
func VMNeedsAny(privs ...string) func(*Call) error {
	return func(c *Call) error { return c.Cluster.Rights.NeedAny(c.Who, "/vms/"+c.Param("vmid"), privs...) }
}

// StorageNeedsAny has a route ask for one of some privileges on the storage of the path.
func StorageNeedsAny(privs ...string) func(*Call) error {
	return func(c *Call) error { return c.Cluster.Rights.NeedAny(c.Who, "/storage/"+c.Param("storage"), privs...) }
}

// NodeNeeds has a route ask for all of some privileges on the node of the path.
func NodeNeeds(privs ...string) func(*Call) error {
	return func(c *Call) error { return c.Cluster.Rights.Need(c.Who, "/nodes/"+c.Param("node"), privs...) }
}

// TopNeeds has a route ask for all of some privileges on /.
func TopNeeds(privs ...string) func(*Call) error {
	return func(c *Call) error { return c.Cluster.Rights.Need(c.Who, "/", privs...) }
}
