package storages

import (
	"maps"
	"slices"
	"strconv"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/retention"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Candidates are the archives of a place with their marks, in the order of their names.
func Candidates(n *world.Node, p *places.Place, k retention.Rule, vmid int, kind string) []*retention.Candidate {
	var all []*retention.Candidate
	groups := make(map[string][]*retention.Candidate)
	for _, name := range slices.Sorted(maps.Keys(p.Items)) {
		m := world.DumpRE.FindStringSubmatch(name)
		if m == nil || impossible(m[3]) || !world.ArchiveRE.MatchString(name) || vmid != 0 && notation.Atoi(m[2]) != vmid || kind != "" && kind != m[1] {
			continue
		}
		v := p.Items[name]
		c := &retention.Candidate{Name: name, Time: archiveTime(n, name, v), VMID: notation.Atoi(m[2]), Kind: m[1]}
		all = append(all, c)
		switch {
		case !Standard(name):
			c.Mark = "renamed"
		case v.Protected:
			c.Mark = "protected"
		default:
			key := m[1] + "/" + m[2]
			groups[key] = append(groups[key], c)
		}
	}
	for _, g := range groups {
		k.Mark(g, n.Location)
	}
	return all
}

// pruneRequest is what both prune methods read.
func pruneRequest(c *request.Call) (p *places.Place, k retention.Rule, vmid int, err error) {
	st, err := places.StorageOn(c.Cluster, c.Node, c.Param("storage"))
	if err != nil {
		return nil, nil, 0, err
	}
	if p, err = places.Of(c.Cluster, c.Node, st); err != nil {
		return nil, nil, 0, err
	}
	text := c.Param("prune-backups")
	if text == "" {
		text = st.Prune
	}
	k, err = retention.Parse(text)
	return p, k, notation.Atoi(c.Param("vmid")), err
}

// PruneDry answers GET /nodes/{node}/storage/{storage}/prunebackups.
func PruneDry(c *request.Call) error {
	p, k, vmid, err := pruneRequest(c)
	if err != nil {
		return err
	}
	d := c.Data().List()
	for _, m := range Candidates(c.Node, p, k, vmid, c.Param("type")) {
		d.Open().Str("volid", p.Storage.ID+":"+m.Name).Num("ctime", m.Time).Str("mark", m.Mark).Str("type", m.Kind)
		if m.Mark == "renamed" {
			d.Str("vmid", strconv.Itoa(m.VMID))
		} else {
			d.Num("vmid", int64(m.VMID))
		}
		d.Close()
	}
	d.End()
	return nil
}

// Prune answers DELETE /nodes/{node}/storage/{storage}/prunebackups.
func Prune(c *request.Call) error {
	cl, id := c.Cluster, c.Param("storage")
	if v := c.Param("vmid"); v != "" {
		if err := cl.Rights.Need(c.Who, rights.OnStorage(id), "Datastore.AllocateSpace"); err != nil {
			return err
		}
		if err := cl.Rights.Need(c.Who, "/vms/"+v, "VM.Backup"); err != nil {
			return err
		}
		id = v + "@" + id
	} else if err := cl.Rights.Need(c.Who, rights.OnStorage(id), "Datastore.Allocate"); err != nil {
		return err
	}
	if _, _, _, err := pruneRequest(c); err != nil {
		return err
	}
	return c.Started(cl.Start(c.Node, "prunebackups", id, c.Who.ID, 0, map[string]string{
		"storage": c.Param("storage"), "keep": c.Param("prune-backups"), "vmid": c.Param("vmid"), "kind": c.Param("type")}))
}

// RunPrune runs prunebackups.
func RunPrune(cl *cluster.Cluster, t *world.Task) error {
	if t.Phase == 0 {
		return cl.Then(t, 1)
	}
	st, err := places.StorageOn(cl, t.Node, t.Args["storage"])
	if err != nil {
		return err
	}
	p, err := places.Of(cl, t.Node, st)
	if err != nil {
		return err
	}
	text := t.Args["keep"]
	if text == "" {
		text = st.Prune
	}
	k, err := retention.Parse(text)
	if err != nil {
		return err
	}
	for _, c := range Candidates(t.Node, p, k, notation.Atoi(t.Args["vmid"]), t.Args["kind"]) {
		if c.Mark == "remove" {
			t.Logf("removing backup '%s:%s'", st.ID, c.Name)
			p.Drop(c.Name)
		}
	}
	return cluster.ErrDone
}
