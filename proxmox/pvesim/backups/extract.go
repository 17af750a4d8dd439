package backups

import (
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/storages"
)

// ExtractConfig is the pct.conf of an archive.
func ExtractConfig(c *request.Call) error {
	cl, volid := c.Cluster, c.Param("volume")
	if err := storages.VolumeAccess(cl, c.Who, 0, volid, "backup"); err != nil {
		return err
	}
	id, name, ok := strings.Cut(volid, ":")
	if !ok {
		return refusal.Fail("unable to parse volume ID '%s'", volid)
	}
	st := cl.Storages[id]
	if st == nil {
		return refusal.Fail("storage '%s' does not exist", id)
	}
	_, owner, err := st.KindOf(name)
	if err != nil {
		return err
	}
	if owner != 0 {
		if err := cl.Rights.Need(c.Who, rights.OnVM(owner), "VM.Backup"); err != nil {
			return err
		}
	}
	v, p, err := places.Find(cl, c.Node, volid)
	if err != nil {
		return err
	}
	if v == nil {
		return refusal.Fail("volume '%s' does not exist", volid)
	}
	if err := p.LacksKey(v); err != nil {
		return err
	}
	if v.Garbage || v.Unfinished {
		return refusal.Fail("ERROR: archive contains no configuration file")
	}
	c.Data().Text(v.Config)
	return nil
}

// Defaults answers GET /nodes/{node}/vzdump/defaults.
func Defaults(c *request.Call) error {
	cl, id := c.Cluster, c.Param("storage")
	if id == "" {
		id = "local"
	}
	if err := cl.Rights.NeedAny(c.Who, rights.OnStorage(id), "Datastore.Audit", "Datastore.AllocateSpace"); err != nil {
		return err
	}
	st, err := places.StorageOn(cl, c.Node, id)
	if err != nil {
		return err
	}
	keep := st.Prune
	if keep == "" {
		keep = "keep-all=1"
	}
	d := c.Data().Open()
	for _, k := range []string{"all", "bwlimit", "pigz", "quiet", "stop"} {
		d.Num(k, 0)
	}
	d.Num("ionice", 7).Num("lockwait", 180).Num("remove", 1).Num("stdexcludes", 1).Num("stopwait", 10).Num("zstd", 1)
	d.Str("compress", "0").Str("mode", "snapshot").Str("storage", id).Str("prune-backups", keep)
	d.Str("mailnotification", "always").Str("notification-mode", "auto")
	d.Key("fleecing").Open().Num("enabled", 0).Close()
	d.Key("performance").Open().Num("max-workers", 16).Num("pbs-entries-max", 1048576).Close()
	if st.IsDir() {
		d.Str("dumpdir", st.Path+"/dump")
	}
	d.Close()
	return nil
}
