package storages

import (
	"cmp"
	"crypto/sha1"
	"encoding/hex"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/jsontext"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// What an administrator does to storages and backup jobs, and what a node says of itself
// that the agent does not ask.

// Set makes or changes a storage. PVE: API2/Storage/Config.
func Set(c *request.Call) error {
	cl, id := c.Cluster, c.Param("storage")
	st := cl.Storages[id]
	switch {
	case id == "":
		return refusal.BadParam("storage", schema.Missing)
	case c.Method == "POST" && st != nil:
		return refusal.Fail("create storage failed: storage ID '%s' already defined", id)
	case c.Method == "PUT" && st == nil:
		return refusal.Fail("update storage failed: storage '%s' does not exist", id)
	case st == nil:
		st = &world.Storage{ID: id, Type: c.Param("type"), Content: []string{"images", "rootdir"}, Size: 100 << 30}
		if st.IsDir() {
			st.Content, st.Size = []string{"images", "rootdir", "vztmpl", "iso", "backup", "snippets"}, 0
		}
		if st.Type == "pbs" {
			st.Content, st.Size, st.Shared = []string{"backup"}, 0, true
		}
		cl.World.Storages = append(cl.World.Storages, st)
		cl.Storages[id] = st
	}
	for _, k := range notation.SplitList(c.Param("delete")) {
		switch k {
		case "disable":
			st.Disable = false
		case "is_mountpoint":
			st.Mountpoint = ""
		case "prune-backups":
			st.Prune = ""
		case "nodes":
			st.Nodes = nil
		}
	}
	change(st, c.Params)
	cl.StorageWrites++
	c.Data().Open().Str("storage", id).Str("type", st.Type).Close()
	return nil
}

// change gives a storage what a request says of it.
func change(st *world.Storage, params map[string]string) {
	for k, v := range params {
		switch k {
		case "server", "datastore", "namespace", "username", "fingerprint", "encryption-key":
			st.SetServer(k, v)
		case "path":
			st.Path = v
		case "vgname":
			st.VG = v
		case "thinpool", "pool":
			st.Pool = v
		case "content":
			st.Content = notation.SplitList(v)
		case "disable":
			st.Disable = v == "1"
		case "is_mountpoint":
			st.Mountpoint = v
		case "prune-backups":
			st.Prune = v
		case "nodes":
			st.Nodes = notation.SplitList(v)
		case "shared":
			st.Shared = v == "1"
		case "max-protected-backups":
			n := notation.Atoi(v)
			st.MaxProtected = &n
		}
	}
}

// Delete answers DELETE /storage/{storage}.
func Delete(c *request.Call) error {
	id := c.Param("storage")
	if c.Cluster.Storages[id] == nil {
		return refusal.Fail("delete storage failed: storage '%s' does not exist", id)
	}
	delete(c.Cluster.Storages, id)
	c.Cluster.StorageWrites++
	for i, st := range c.Cluster.World.Storages {
		if st.ID == id {
			c.Cluster.World.Storages = append(c.Cluster.World.Storages[:i:i], c.Cluster.World.Storages[i+1:]...)
			break
		}
	}
	return nil
}

// Allocate makes an empty volume without a guest's config. PVE: API2/Storage/Content create.
func Allocate(c *request.Call) error {
	size := c.Param("size")
	bytes := notation.ParseSize(size)
	if strings.Trim(size, "0123456789") == "" {
		bytes <<= 10 // without a unit it is KiB
	}
	st, err := places.StorageOn(c.Cluster, c.Node, c.Param("storage"))
	if err != nil {
		return err
	}
	p, err := places.Of(c.Cluster, c.Node, st)
	if err != nil {
		return err
	}
	name := c.Param("filename")
	prefix, format := "vm-"+c.Param("vmid")+"-", c.Param("format")
	for _, known := range []string{"raw", "qcow2", "vmdk"} {
		if !strings.HasSuffix(name, "."+known) {
			continue
		}
		if format != "" && format != known {
			return refusal.BadParam("format", "different storage formats ("+format+" != "+known+")")
		}
		format = known
	}
	switch {
	case st.IsDir() && (format == "" || !strings.HasSuffix(name, "."+format)):
		return refusal.Fail("unable to parse volume filename '%s'", name)
	case !strings.HasPrefix(name, prefix):
		return refusal.Fail("illegal name '%s' - should be '%s*'", name, prefix)
	case st.IsDir():
		name = c.Param("vmid") + "/" + name
	}
	if p.Items[name] != nil {
		return refusal.Fail("disk image '%s' already exists", st.File(name))
	}
	p.Items[name] = &world.Volume{VMID: notation.Atoi(c.Param("vmid")), Size: bytes, Format: cmp.Or(format, "raw"), Created: c.Cluster.Now.Unix(), Data: world.EmptyData}
	c.Data().Text(st.ID + ":" + name)
	return nil
}

// digest is storage.cfg's.
func digest(cl *cluster.Cluster) string {
	var d jsontext.Doc
	for _, st := range cl.World.Storages {
		configFields(&d, st, "")
	}
	sum := sha1.Sum(d.B)
	return hex.EncodeToString(sum[:])
}

func configFields(d *jsontext.Doc, st *world.Storage, digest string) {
	d.Open().Str("storage", st.ID).Str("type", st.Type).Str("content", strings.Join(st.Content, ",")).Str("digest", digest)
	if st.Path != "" {
		d.Str("path", st.Path)
	}
	serverConfig(d, st)
	if st.Type == "lvmthin" || st.Type == "lvm" {
		d.Str("vgname", st.VolumeGroup())
	}
	if st.Type == "lvmthin" {
		thin := st.Pool
		if thin == "" {
			thin = "data"
		}
		d.Str("thinpool", thin)
	} else if st.Pool != "" {
		d.Str("pool", st.Pool)
	}
	if st.Mountpoint != "" {
		d.Str("is_mountpoint", st.Mountpoint)
	}
	if st.Prune != "" {
		d.Str("prune-backups", st.Prune)
	}
	if st.MaxProtected != nil {
		d.Num("max-protected-backups", int64(*st.MaxProtected))
	}
	if len(st.Nodes) > 0 {
		d.Str("nodes", strings.Join(st.Nodes, ","))
	}
	if st.Shared {
		d.Num("shared", 1)
	}
	if st.Disable {
		d.Num("disable", 1)
	}
	d.Close()
}

// List answers GET /storage.
func List(c *request.Call) error {
	digest := digest(c.Cluster)
	d := c.Data().List()
	for _, st := range c.Cluster.World.Storages {
		if t := c.Param("type"); t != "" && t != st.Type || c.Cluster.Rights.NeedAny(c.Who, rights.OnStorage(st.ID), "Datastore.Audit", "Datastore.AllocateSpace") != nil {
			continue
		}
		configFields(d, st, digest)
	}
	d.End()
	return nil
}

// Get answers GET /storage/{storage}.
func Get(c *request.Call) error {
	st := c.Cluster.Storages[c.Param("storage")]
	if st == nil {
		return refusal.Fail("storage '%s' does not exist", c.Param("storage"))
	}
	configFields(c.Data(), st, digest(c.Cluster))
	return nil
}
