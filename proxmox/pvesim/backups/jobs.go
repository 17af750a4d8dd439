package backups

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// ListJobs answers GET /cluster/backup.
func ListJobs(c *request.Call) error {
	d := c.Data().List()
	for _, j := range c.Cluster.World.Jobs {
		d.Open()
		for _, k := range slices.Sorted(maps.Keys(j)) {
			switch v := j[k].(type) {
			case int:
				d.Num(k, int64(v))
			case bool:
				d.Flag(k, v)
			default:
				d.Str(k, fmt.Sprint(v))
			}
		}
		d.Close()
	}
	d.End()
	return nil
}

func job(cl *cluster.Cluster, id string) map[string]any {
	for _, j := range cl.World.Jobs {
		if j["id"] == id {
			return j
		}
	}
	return nil
}

var numericJob = map[string]bool{"all": true, "enabled": true, "remove": true, "repeat-missed": true, "protected": true, "quiet": true}

// SetJob makes or changes a backup job; nothing runs it.
func SetJob(c *request.Call) error {
	cl, id := c.Cluster, c.Param("id")
	j := job(cl, id)
	switch {
	case c.Method == "PUT" && j == nil:
		return refusal.BadParam("id", "No such job '"+id+"'")
	case c.Method == "POST" && j != nil:
		return refusal.Fail("Job '%s' already exists", id)
	case j == nil:
		if id == "" {
			id = "backup-" + places.UUID(cl)[:13]
		}
		j = map[string]any{"id": id, "type": "vzdump", "enabled": 1}
		cl.World.Jobs = append(cl.World.Jobs, j)
	}
	for _, k := range notation.SplitList(c.Param("delete")) {
		delete(j, k)
	}
	for k, v := range c.Params {
		switch {
		case k == "id" || k == "delete":
		case numericJob[k]:
			j[k] = notation.Atoi(v)
		default:
			j[k] = v
		}
	}
	return nil
}

// GetJob answers GET /cluster/backup/{id}.
func GetJob(c *request.Call) error {
	j := job(c.Cluster, c.Param("id"))
	if j == nil {
		return refusal.BadParam("id", "No such job '"+c.Param("id")+"'")
	}
	c.Data().Any(j)
	return nil
}

// DeleteJob answers DELETE /cluster/backup/{id}.
func DeleteJob(c *request.Call) error {
	for i, j := range c.Cluster.World.Jobs {
		if j["id"] == c.Param("id") {
			c.Cluster.World.Jobs = append(c.Cluster.World.Jobs[:i:i], c.Cluster.World.Jobs[i+1:]...)
			return nil
		}
	}
	return refusal.BadParam("id", "No such job '"+c.Param("id")+"'")
}

// backs reports whether a job backs up a guest.
func backs(cl *cluster.Cluster, j map[string]any, g *world.Guest) bool {
	id := strconv.Itoa(g.VMID)
	switch {
	case j["enabled"] == 0:
		return false
	case j["all"] == 1:
		return !slices.Contains(notation.SplitList(fmt.Sprint(j["exclude"])), id)
	case j["pool"] != nil:
		p := cl.World.Pool(fmt.Sprint(j["pool"]))
		return p != nil && slices.Contains(p.VMs, g.VMID)
	}
	return slices.Contains(notation.SplitList(fmt.Sprint(j["vmid"])), id)
}

// NotBackedUp lists the guests that no job backs up.
func NotBackedUp(c *request.Call) error {
	d := c.Data().List()
	for _, g := range c.Cluster.World.Guests {
		covered := !c.Cluster.Rights.Can(c.Who, rights.OnVM(g.VMID), "VM.Audit")
		for _, j := range c.Cluster.World.Jobs {
			covered = covered || backs(c.Cluster, j, g)
		}
		if !covered {
			d.Open().Num("vmid", int64(g.VMID)).Str("type", g.Kind()).Str("name", g.Name()).Close()
		}
	}
	d.End()
	return nil
}

// IncludedVolumes answers GET /cluster/backup/{id}/included_volumes.
func IncludedVolumes(c *request.Call) error {
	j := job(c.Cluster, c.Param("id"))
	if j == nil {
		return refusal.BadParam("id", "No such job '"+c.Param("id")+"'")
	}
	d := c.Data().Open().Key("children").List()
	for _, g := range c.Cluster.World.Guests {
		if !backs(c.Cluster, j, g) || !c.Cluster.Rights.Can(c.Who, rights.OnVM(g.VMID), "VM.Audit") {
			continue
		}
		d.Open().Str("id", strconv.Itoa(g.VMID)).Str("type", g.Kind()).Str("name", g.Name()).Num("leaf", 0).Key("children").List()
		for _, m := range g.Conf.MountPoints() {
			in, why := true, "enabled"
			switch {
			case m.Key == "rootfs":
				why = "rootfs always included"
			case m.Kind() != "volume":
				in, why = false, "not a volume"
			case !m.Backed():
				in, why = false, "disabled"
			}
			d.Open().Str("id", strconv.Itoa(g.VMID)+":"+m.Key).Str("name", m.Volid()).Flag("included", in).Str("reason", why).Num("leaf", 1).Close()
		}
		d.End().Close()
	}
	d.End().Close()
	return nil
}
