package accounts

import (
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
)

// Permissions answers GET /access/permissions.
func Permissions(c *request.Call) error {
	cl := c.Cluster
	who := c.Who
	if id := c.Param("userid"); id != "" && id != who.ID {
		if err := cl.Rights.Need(who, "/access", "Sys.Audit"); err != nil && !(who.Token == nil && strings.HasPrefix(id, who.ID+"!")) {
			return err
		}
		if who = cl.Rights.Subject(id); who == nil {
			return refusal.Fail("no such user ('%s')", id)
		}
	}
	paths := []string{"/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"}
	if p := c.Param("path"); p != "" {
		paths = []string{p}
	} else {
		for _, e := range cl.World.Access.ACL {
			if !slices.Contains(paths, e.Path) {
				paths = append(paths, e.Path)
			}
		}
		for _, p := range cl.World.Pools { // their members have what is given on the pool
			for _, id := range p.VMs {
				if path := rights.OnVM(id); !slices.Contains(paths, path) {
					paths = append(paths, path)
				}
			}
			for _, id := range p.Storages {
				if path := rights.OnStorage(id); !slices.Contains(paths, path) {
					paths = append(paths, path)
				}
			}
		}
	}
	sort.Strings(paths)
	d := c.Data().Open()
	for _, p := range paths {
		privs := cl.Rights.May(who, p)
		if len(privs) == 0 {
			continue
		}
		d.Key(p).Open()
		for _, priv := range slices.Sorted(maps.Keys(privs)) {
			d.Flag(priv, privs[priv])
		}
		d.Close()
	}
	d.Close()
	return nil
}
