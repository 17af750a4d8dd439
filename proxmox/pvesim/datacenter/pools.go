package datacenter

import (
	"slices"
	"strconv"

	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// SetPool makes a pool, or adds members to it and takes them out.
func SetPool(c *request.Call) error {
	cl, id := c.Cluster, c.Param("poolid")
	p := cl.World.Pool(id)
	switch {
	case c.Method == "POST" && p != nil:
		return refusal.Fail("create pool failed: pool '%s' already exists", id)
	case c.Method == "PUT" && p == nil:
		return refusal.Fail("update pools failed: pool '%s' does not exist", id)
	case p == nil:
		p = &world.Pool{ID: id}
		cl.World.Pools = append(cl.World.Pools, p)
	}
	if v, ok := c.Params["comment"]; ok {
		p.Comment = v
	}
	for _, v := range notation.SplitList(c.Param("vms")) {
		vmid := notation.Atoi(v)
		in := slices.Contains(p.VMs, vmid)
		switch {
		case c.Flag("delete") && !in:
			return refusal.Fail("update pools failed: VM %d is not a pool member", vmid)
		case c.Flag("delete"):
			p.VMs = notation.Without(p.VMs, vmid)
		case cl.Guests[vmid] == nil:
			return refusal.Fail("update pools failed: VM %d does not exist", vmid)
		case in:
			return refusal.Fail("update pools failed: VM %d is already a pool member", vmid)
		default:
			p.VMs = append(p.VMs, vmid)
		}
	}
	for _, st := range notation.SplitList(c.Param("storage")) {
		if c.Flag("delete") {
			p.Storages = notation.Without(p.Storages, st)
		} else if !slices.Contains(p.Storages, st) {
			p.Storages = append(p.Storages, st)
		}
	}
	cl.Rights.Dirty()
	return nil
}

// DeletePool answers DELETE /pools and DELETE /pools/{poolid}.
func DeletePool(c *request.Call) error {
	for i, p := range c.Cluster.World.Pools {
		if p.ID != c.Param("poolid") {
			continue
		}
		if len(p.VMs)+len(p.Storages) > 0 {
			return refusal.Fail("delete pool failed: pool '%s' is not empty", p.ID)
		}
		c.Cluster.World.Pools = append(c.Cluster.World.Pools[:i:i], c.Cluster.World.Pools[i+1:]...)
		c.Cluster.Rights.Dirty()
		return nil
	}
	return refusal.Fail("delete pool failed: pool '%s' does not exist", c.Param("poolid"))
}

// ListPools answers GET /pools.
func ListPools(c *request.Call) error {
	d := c.Data().List()
	for _, p := range c.Cluster.World.Pools {
		if id := c.Param("poolid"); id != "" && id != p.ID || !c.Cluster.Rights.Can(c.Who, "/pool/"+p.ID, "Pool.Audit") {
			continue
		}
		d.Open().Str("poolid", p.ID)
		if p.Comment != "" {
			d.Str("comment", p.Comment)
		}
		if c.Param("poolid") != "" {
			d.Key("members").List()
			for _, id := range p.VMs {
				if g := c.Cluster.Guests[id]; g != nil {
					resource(c.Cluster, d, nil, g)
				}
			}
			d.End()
		}
		d.Close()
	}
	d.End()
	return nil
}

// GetPool answers GET /pools/{poolid}.
func GetPool(c *request.Call) error {
	id := c.Param("poolid")
	if err := c.Cluster.Rights.Need(c.Who, "/pool/"+id, "Pool.Audit"); err != nil {
		return err
	}
	for _, p := range c.Cluster.World.Pools {
		if p.ID != id {
			continue
		}
		d := c.Data().Open().Str("comment", p.Comment).Key("members").List()
		for _, v := range p.VMs {
			if g := c.Cluster.Guests[v]; g != nil {
				d.Open().Str("id", "lxc/"+strconv.Itoa(v)).Str("type", "lxc").Num("vmid", int64(v)).Str("node", g.Node).Close()
			}
		}
		for _, st := range p.Storages {
			d.Open().Str("id", "storage/"+c.Cluster.World.Nodes[0].Name+"/"+st).Str("type", "storage").Str("storage", st).Close()
		}
		d.End().Close()
		return nil
	}
	return refusal.Fail("pool '%s' does not exist", id)
}
