package questions

import (
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

func BringBack(q Questions, g *spec.Guest, archives []proxmox.StorageContent) string {
	if len(archives) > 0 {
		storage := text.ProxmoxStorage(archives[0].VolID)
		if archives[0].VMID == g.VMID && archives[0].Subtype == g.Type.String() && !slices.ContainsFunc(g.From, func(s spec.Source) bool { return s.Newest == storage }) {
			return fmt.Sprintf("bring it back: from: {newest: %s}", storage)
		}
		return fmt.Sprintf("bring it back: from: {archive: %s}", archives[0].VolID)
	}
	rescan := "pct rescan"
	if g.Type.VM() {
		rescan = "qm disk rescan"
	}
	return fmt.Sprintf("bring the volumes back as root: %s --vmid %d, after its config is restored", rescan, g.VMID)
}

// Disregarded reports whether `despite` lets a thing be passed over: it is known to be
// older than that time, which has been.
func Disregarded(q Questions, o *spec.Object, v proxmox.StorageContent) bool {
	return !o.Despite.IsZero() && !q.Have.Future(o.Despite) && !v.CTime.IsZero() && v.CTime.Before(o.Despite)
}

// Traces lists what exists of a guest's data: its volumes, and its archives, newest
// first. What `despite` releases is left out.
func Traces(q Questions, g *spec.Guest) (volumes, archives []proxmox.StorageContent) {
	seen := map[string]bool{} // of a folder that two storages have, one is enough
	again := func(v *proxmox.StorageContent) bool {
		file := q.Have.File(v.VolID)
		defer func() { seen[file] = true }()
		return seen[file]
	}
	for _, v := range q.Have.ByGuest[g.VMID] {
		if Disregarded(q, &g.Object, *v) || again(v) {
			continue
		}
		switch v.Content {
		case "backup":
			archives = append(archives, *v)
		case "images", "rootdir":
			volumes = append(volumes, *v)
		}
	}
	named := q.Have.ByObject[g.Ref.Name]
	if g.Was != "" {
		named = append(slices.Clone(named), q.Have.ByObject[g.Was]...)
	}
	for _, v := range named { // archives of it under another number
		if v.VMID != g.VMID && !Disregarded(q, &g.Object, *v) && !again(v) {
			archives = append(archives, *v)
		}
	}
	node.NewestFirst(archives)
	return volumes, archives
}

func TracesText(q Questions, volumes, archives []proxmox.StorageContent) string {
	var parts []string
	if n := len(archives); n > 0 {
		parts = append(parts, fmt.Sprintf("%s (newest %s on %s)", text.Count(n, "backup of it exists", "backups of it exist"), q.Have.Date(archives[0].CTime), text.ProxmoxStorage(archives[0].VolID)))
	}
	if n := len(volumes); n > 0 {
		var names []string
		for _, v := range volumes {
			names = append(names, fmt.Sprintf("%s, %s", v.VolID, v.Size))
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", text.Count(n, "volume", "volumes"), strings.Join(names, "; ")))
	}
	return strings.Join(parts, " and ")
}
