package request

import (
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
)

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

func VmNeeds(privs ...string) func(*Call) error {
	return func(c *Call) error { return c.Cluster.Rights.Need(c.Who, "/vms/"+c.Param("vmid"), privs...) }
}

func VmNeedsAny(privs ...string) func(*Call) error {
	return func(c *Call) error { return c.Cluster.Rights.NeedAny(c.Who, "/vms/"+c.Param("vmid"), privs...) }
}

func StorageNeedsAny(privs ...string) func(*Call) error {
	return func(c *Call) error { return c.Cluster.Rights.NeedAny(c.Who, "/storage/"+c.Param("storage"), privs...) }
}

func NodeNeeds(privs ...string) func(*Call) error {
	return func(c *Call) error { return c.Cluster.Rights.Need(c.Who, "/nodes/"+c.Param("node"), privs...) }
}

func TopNeeds(privs ...string) func(*Call) error {
	return func(c *Call) error { return c.Cluster.Rights.Need(c.Who, "/", privs...) }
}
