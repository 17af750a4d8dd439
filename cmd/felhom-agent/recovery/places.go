package recovery

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/spec"
)

// A place is the folder of a backup storage, and the disk that is there now.
type place struct {
	name, storage, path, disk, uuid string
	mounted                         bool
}

func (p place) key() string {
	if p.uuid == "" {
		return p.storage
	}
	return p.storage + "/" + p.uuid
}

// placesOf are the folders of the backup storages that are connected and can be written, each once.
func placesOf(seen *Seen) []place {
	var places []place
	known := map[string]bool{}
	for _, name := range slices.Sorted(mapKeys(seen.Want.Backups)) {
		i := slices.IndexFunc(seen.Storages, func(s proxmox.Storage) bool { return s.ID == seen.Want.Backups[name].Storage })
		if i < 0 || known[seen.Storages[i].ID] {
			continue
		}
		s := seen.Storages[i]
		known[s.ID] = true
		p := place{name: s.ID, storage: s.ID, path: s.Path, mounted: s.IsMountpoint != "" && s.IsMountpoint != "no"}
		if s.Type == "nfs" || s.Type == "cifs" {
			p.path, p.mounted = cmp.Or(s.Path, "/mnt/pve/"+s.ID), true
		}
		for _, m := range seen.Want.Mounts {
			if m.Storage == s.ID {
				p.name, p.path, p.mounted = m.Ref.Name, m.Path, true
			}
		}
		if s.Disabled || p.path == "" || !p.find(seen.Mounts) {
			continue
		}
		places = append(places, p)
	}
	return places
}

// find takes the disk that is mounted at a place, and reports whether it can be written now.
func (p *place) find(mounts []privileged.Mount) bool {
	i := slices.IndexFunc(mounts, func(m privileged.Mount) bool { return m.Path == p.path && m.Mounted })
	if i < 0 {
		return !p.mounted
	}
	m := mounts[i]
	p.uuid, p.disk = m.UUID, cmp.Or(m.Label, m.UUID)
	return !m.Gone && !m.Silent && !slices.Contains(m.Options, "ro")
}

// missing says which storage of a backup does not exist. A kit made now would lack it, and would push out those of before
// that know how it was made.
func missing(seen *Seen) error {
	for _, name := range slices.Sorted(mapKeys(seen.Want.Backups)) {
		id := seen.Want.Backups[name].Storage
		if !slices.ContainsFunc(seen.Storages, func(s proxmox.Storage) bool { return s.ID == id }) {
			return fmt.Errorf("storage %s does not exist or is not visible, and a new kit would lack it", id)
		}
	}
	for _, guests := range []map[string]*spec.Guest{seen.Want.Restores, seen.Want.Guests} {
		for _, name := range slices.Sorted(mapKeys(guests)) {
			for _, from := range guests[name].From {
				if from.Newest != "" && !slices.ContainsFunc(seen.Storages, func(s proxmox.Storage) bool { return s.ID == from.Newest }) {
					return fmt.Errorf("storage %s does not exist or is not visible, and a new kit would lack it", from.Newest)
				}
			}
		}
	}
	return nil
}
