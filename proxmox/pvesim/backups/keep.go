package backups

import (
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/retention"
	"github.com/felhom/felhom-agent/proxmox/pvesim/storages"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// roomFor is why the storage takes no further backup of a guest.
func roomFor(t *world.Task, p *places.Place, vmid, base string) error {
	st := p.Storage
	if k, limit := dumpKeep(t, st), 0; t.Args["remove"] == "0" && !k.All() {
		for _, kind := range retention.Kinds {
			limit += k[kind]
		}
		if countBackups(p, vmid) >= limit {
			return refusal.Fail("There is a max backup limit of %d enforced by the target storage or the vzdump parameters. Either increase the limit or delete old backups.", limit)
		}
	}
	if t.Args["protected"] == "1" && st.MaxProtected != nil && countProtected(p, vmid) >= *st.MaxProtected { // before it begins (measured, 9.2.11)
		return refusal.Fail("The number of protected backups per guest is limited to %d on storage '%s'", *st.MaxProtected, st.ID)
	}
	if p.Ghost || p.Avail() < 4096 && p.Datastore == nil {
		return refusal.Fail("unable to create temporary directory '%s/dump/%s.tmp' at /usr/share/perl5/PVE/VZDump.pm line 1048.", st.Path, base)
	}
	return nil
}

// dumpKeep is the retention that a job prunes by.
func dumpKeep(t *world.Task, st *world.Storage) retention.Rule {
	text := t.Args["prune-backups"]
	if text == "" {
		text = st.Prune
	}
	k, err := retention.Parse(text)
	if err != nil {
		return retention.Rule{}
	}
	return k
}

func countProtected(p *places.Place, vmid string) int {
	count := 0
	for name, v := range p.Items {
		if p.GuestOf(name) == vmid && v.Protected {
			count++
		}
	}
	return count
}

func countBackups(p *places.Place, vmid string) int {
	count := 0
	for name, v := range p.Items {
		if p.GuestOf(name) == vmid && (p.Datastore != nil || storages.Standard(name)) && !v.Protected {
			count++
		}
	}
	return count
}

// pruneAfter removes older archives of the guest, whoever made them.
func pruneAfter(t *world.Task, p *places.Place, g *world.Guest) {
	k := dumpKeep(t, p.Storage)
	if k.All() {
		return
	}
	t.Logf("INFO: prune older backups with retention: %s", k)
	count := 0
	for _, c := range storages.Candidates(t.Node, p, k, g.VMID, g.Kind()) {
		if c.Mark == "remove" {
			t.Logf("INFO: removing backup '%s:%s'", p.Storage.ID, c.Name)
			p.Drop(c.Name)
			count++
		}
	}
	t.Logf("INFO: pruned %d backup(s) not covered by keep-retention policy", count)
}
