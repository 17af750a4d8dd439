package guests

import (
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
)

// MigratePreview says where a guest could go.
func MigratePreview(c *request.Call) error {
	g, err := c.Guest()
	if err != nil {
		return err
	}
	d := c.Data().Open().Flag("running", g.Running).Key("allowed-nodes").List()
	for _, n := range c.Cluster.World.Nodes {
		if n.Name != g.Node && !n.Down {
			d.Text(n.Name)
		}
	}
	d.End().Key("not-allowed-nodes").Open().Close().Key("dependent-ha-resources").List().End().Close()
	return nil
}

// Migrate refuses what PVE refuses at the call; nothing is moved between nodes here.
func Migrate(c *request.Call) error {
	target := c.Param("target")
	if target == c.Node.Name {
		return refusal.BadParam("target", "target is local node.")
	}
	if c.Cluster.World.Node(target) == nil {
		return refusal.Fail("no such cluster node '%s'", target)
	}
	g, err := c.Guest()
	if err != nil {
		return err
	}
	if g.Running && !c.Flag("online") && !c.Flag("restart") {
		return refusal.Fail("can't migrate running container without --online or --restart")
	}
	return request.NotSimulated(c)
}
