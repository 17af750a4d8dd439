package spec

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// storages is where PVE mounts network storages. A root above it does not open it.
const storages = "/mnt/pve"

// firstGuestID is the first ID of the host that belongs to unprivileged containers.
const firstGuestID = 100_000

// mapsHostIDs reports whether an idmap (TYPE:CONTAINER:DISK:COUNT parts joined by
// semicolons, or passthrough) gives a guest IDs that belong to the host.
func mapsHostIDs(idmap string) bool {
	if idmap == "" {
		return false
	}
	for part := range strings.SplitSeq(idmap, ";") {
		f := strings.Split(part, ":")
		if len(f) != 4 {
			return true
		}
		first, err := strconv.ParseUint(f[2], 10, 32)
		count, err2 := strconv.ParseUint(f[3], 10, 32)
		if err != nil || err2 != nil || first < firstGuestID || first+count > 1<<32 {
			return true
		}
	}
	return false
}

// mapsIDs refuses a bind in which root of the guest would be root of the host, where
// root has not allowed that for the folder.
func (c *checker) mapsIDs(h host, field string, m MountPoint) {
	if !m.Bind() || !mapsHostIDs(m.Options["idmap"]) {
		return
	}
	folder := m.Host
	if disk := c.Mounts[m.Mount]; m.Mount != "" {
		if disk == nil {
			return // a mistake that is named already
		}
		folder = path.Join(disk.Path, m.Folder)
	}
	if slices.ContainsFunc(c.idmap, func(dir string) bool { return under(folder, path.Clean(dir)) }) {
		return
	}
	c.fail(h.Object, field, `Leave idmap out, or let root allow it for this folder in /etc/felhom-agent/fence.json: {"idmap": ["`+folder+`"]}.`,
		"maps IDs of the guest to IDs of the host below %d (idmap %s): root of the guest would be root in %s", firstGuestID, m.Options["idmap"], folder)
}
