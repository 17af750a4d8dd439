// Package storages answers the requests about storages and their contents: lists, notes,
// protection, deletion, pruning.
package storages

import (
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/jsontext"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// ListLVM is the tree of volume groups and their devices.
func ListLVM(c *request.Call) error {
	d := c.Data().Open().Num("leaf", 0).Key("children").List()
	for _, vg := range volumeGroups(c) {
		d.Open().Str("name", vg.VolumeGroup()).Num("size", vg.Size).Num("free", 0).Num("leaf", 0).Key("children").List().End().Close()
	}
	d.End().Close()
	return nil
}

// ListLVMThin answers GET /nodes/{node}/disks/lvmthin.
func ListLVMThin(c *request.Call) error {
	d := c.Data().List()
	for _, vg := range volumeGroups(c) {
		if p, err := places.Of(c.Cluster, c.Node, vg); err == nil && vg.Type == "lvmthin" {
			d.Open().Str("lv", vg.Pool).Str("vg", vg.VolumeGroup()).Num("lv_size", p.Total).Num("used", p.Used()).Num("metadata_size", 1<<30).Num("metadata_used", 1<<24).Close()
		}
	}
	d.End()
	return nil
}

// volumeGroups are the LVM storages of a node.
func volumeGroups(c *request.Call) []*world.Storage {
	var all []*world.Storage
	for _, st := range c.Cluster.World.Storages {
		if strings.HasPrefix(st.Type, "lvm") && st.On(c.Node.Name) {
			all = append(all, st)
		}
	}
	return all
}

// RRD writes one point of a storage's chart.
func RRD(c *request.Call, d *jsontext.Doc) {
	if st := c.Cluster.Storages[c.Param("storage")]; st != nil {
		if p, err := places.Of(c.Cluster, c.Node, st); err == nil {
			d.Num("total", p.Total).Num("used", p.Used())
		}
	}
}

// state writes what a storage's status is on a node, without opening or closing.
func state(cl *cluster.Cluster, d *jsontext.Doc, n *world.Node, st *world.Storage) {
	d.Str("type", st.Type).Str("content", strings.Join(st.Content, ",")).Flag("enabled", !st.Disable).Flag("shared", st.Shared)
	var p *places.Place
	if !st.Disable {
		p, _ = places.Of(cl, n, st)
	}
	if p == nil {
		d.Num("active", 0).Num("total", 0).Num("used", 0).Num("avail", 0)
		return
	}
	d.Num("active", 1).Num("total", p.Total).Num("used", p.Used()).Num("avail", p.Avail())
}

// OfNode answers GET /nodes/{node}/storage.
func OfNode(c *request.Call) error {
	cl := c.Cluster
	d := c.Data().List()
	want := notation.SplitList(c.Param("content"))
	for _, st := range cl.World.Storages {
		if !st.On(c.Node.Name) || cl.Rights.NeedAny(c.Who, rights.OnStorage(st.ID), "Datastore.Audit", "Datastore.AllocateSpace") != nil {
			continue
		}
		if id := c.Param("storage"); id != "" && id != st.ID || c.Flag("enabled") && st.Disable {
			continue
		}
		if len(want) > 0 {
			any := false
			for _, w := range want {
				any = any || st.Holds(w)
			}
			if !any {
				continue
			}
		}
		d.Open().Str("storage", st.ID)
		state(cl, d, c.Node, st)
		if p, err := places.Of(cl, c.Node, st); err == nil && !st.Disable && p.Total > 0 {
			d.Float("used_fraction", float64(p.Used())/float64(p.Total))
		}
		d.Close()
	}
	d.End()
	return nil
}

// Status answers GET /nodes/{node}/storage/{storage}/status.
func Status(c *request.Call) error {
	st := c.Cluster.Storages[c.Param("storage")]
	if st == nil {
		return refusal.Fail("storage '%s' does not exist", c.Param("storage"))
	}
	if !st.On(c.Node.Name) {
		return refusal.Fail("storage '%s' is not available on node '%s'", st.ID, c.Node.Name)
	}
	d := c.Data().Open()
	state(c.Cluster, d, c.Node, st)
	d.Close()
	return nil
}
