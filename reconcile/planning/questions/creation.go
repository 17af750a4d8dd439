package questions

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/plan"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// A CreationPlan is the restore call of a guest, and what the plan says of it.
type CreationPlan struct {
	Spec    proxmox.RestoreSpec
	Storage string
	Detail  []string
}

// Creation builds the restore of an archive. Every net is sent, with a MAC: PVE keeps
// the archive's where none is sent (twins), and with unique=1 it overwrites what was
// sent. Volumes are sent only where they must be: with rootfs given, PVE makes
// exactly the mount points that are given and ignores the archive's own.
func Creation(q Questions, g *spec.Guest, source spec.Source, own bool, c *node.Choice) (*CreationPlan, *plan.Blocker) {
	in := c.Inside
	b := &CreationPlan{}
	root, _ := in.RootFS()
	rootStorage := ""
	if id, err := proxmox.ParseVolumeID(root.Volume()); err == nil {
		rootStorage = id.Storage
	}
	b.Storage = text.OrElse(g.Storage, rootStorage)
	if ob := TakesVolumes(q, b.Storage); ob != nil {
		return nil, ob
	}

	config := creationConfig(g, own, in)
	config["description"] = marker.Describe(creationText(g, in, own), creationMarker(q, g, source, own, c))
	nets := creationNets(q, g, own, in)
	for i, net := range nets {
		config[fmt.Sprintf("net%d", i)] = net.String()
	}

	b.Spec = proxmox.RestoreSpec{VMID: g.VMID, Archive: c.Volume.VolID, Storage: b.Storage, Config: config}
	size, mounts, passed, ob := CreatedVolumes(q, g, b.Storage, root, in)
	if ob != nil {
		return nil, ob
	}
	if passed {
		rootfs := maps.Clone(root) // its options stay
		rootfs["volume"] = proxmox.NewVolume(b.Storage, size)
		delete(rootfs, "size")
		b.Spec.RootFS = rootfs.String()
		b.Spec.MountPoints = map[int]string{}
		for i, mp := range mounts {
			b.Spec.MountPoints[i] = mp.sent.String()
		}
	}
	b.Detail = creationDetail(q, g, own, size, b.Storage, mounts, nets, in)
	return b, nil
}

// creationConfig are the keys that a restore sets beside those of the archive: the declared
// ones, and what must not be taken over from another guest's archive.
func creationConfig(g *spec.Guest, own bool, in proxmox.GuestConfig) map[string]string {
	config := map[string]string{}
	for key, value := range g.Config.Values {
		if value != "" && key != "protection" {
			config[key] = value
		}
	}
	config["hostname"] = g.Hostname()
	if _, said := config["onboot"]; !said && !own {
		config["onboot"] = "0"
	}
	if in.Protection() || g.Config.Values["protection"] == "1" {
		config["protection"] = "0" // PVE refuses mount points of a protected guest; it is set at the end
	}
	if len(g.Config.Startup) > 0 {
		startup := proxmox.Startup{}
		if own {
			maps.Copy(startup, in.Startup())
		}
		maps.Copy(startup, g.Config.Startup)
		config["startup"] = startup.String()
	}
	had := ""
	if own {
		had = in.Raw["tags"]
	}
	if tags := AddTags(had, g.Config.Tags); tags != "" || !own && in.Raw["tags"] != "" {
		config["tags"] = tags // empty: else PVE gives it those of the archive, which are another guest's
	}
	return config
}

// creationText is the description that people read: the declared one, else for a guest
// from its own backup the one it had.
func creationText(g *spec.Guest, in proxmox.GuestConfig, own bool) string {
	if g.Config.Description != nil {
		return *g.Config.Description
	}
	if own {
		return marker.WithoutMarker(in.Description())
	}
	return ""
}

// creationMarker is the marker of the new guest: one brought back from its own backup
// keeps its birth, everything else is born now.
func creationMarker(q Questions, g *spec.Guest, source spec.Source, own bool, c *node.Choice) marker.Marker {
	m := marker.Marker{Object: g.Ref.Name, VMID: g.VMID, Owner: q.Have.Owner, Born: q.Have.Now}
	if old, ok := marker.OneMarker(c.Inside.Description()); ok && own && !old.Born.IsZero() {
		m.Born = old.Born
		for _, fact := range []string{"from", "template", "rollback"} { // a rollback that was carried out stays carried out
			m = m.With(fact, old.Facts[fact])
		}
	}
	switch {
	case source.Golden != "":
		m = m.With("from", "golden/"+source.Golden)
	case source.Archive != "" || !own:
		m = m.With("from", c.Volume.VolID)
	}
	return m
}

// creationDetail is the line below a creation: what comes back, or what is made.
func creationDetail(q Questions, g *spec.Guest, own bool, size proxmox.Size, storage string, volumes map[int]createdVolume, nets map[int]proxmox.Net, in proxmox.GuestConfig) []string {
	var lines, back, empty []string
	for _, i := range text.Keys(volumes) {
		text := fmt.Sprintf("mp%d %s %s", i, volumes[i].path, volumes[i].size)
		if volumes[i].empty {
			empty = append(empty, text)
		} else {
			back = append(back, text)
		}
	}
	if own {
		lines = append(lines, "brings back: "+strings.Join(append([]string{"rootfs " + size.String()}, back...), ", "))
	} else {
		parts := []string{fmt.Sprintf("%s on %s", size, storage)}
		if cores := text.OrElse(g.Config.Values["cores"], in.Raw["cores"]); cores != "" {
			parts = append(parts, cores+" cores")
		}
		if memory := text.OrElse(g.Config.Values["memory"], in.Raw["memory"]); memory != "" {
			parts = append(parts, memory+" MiB")
		}
		for _, i := range text.Keys(nets) {
			parts = append(parts, fmt.Sprintf("net%d %s %s %s", i, nets[i]["bridge"], text.OrElse(nets[i]["ip"], "no address"), nets[i]["hwaddr"]))
		}
		lines = append(lines, strings.Join(append(parts, back...), ", "))
	}
	var folders []string
	for _, i := range text.Keys(in.MountPoints()) {
		if mp := in.MountPoints()[i]; mp.Kind() != proxmox.VolumeMount && !g.Config.Mounts[i].Bind() {
			folders = append(folders, fmt.Sprintf("mp%d %s (%s on the host)", i, mp.Path(), mp.Volume()))
		}
	}
	if len(folders) > 0 {
		lines = append(lines, "not brought back, for the YAML does not declare it: "+strings.Join(folders, ", "))
	}
	if len(empty) > 0 {
		lines = append(lines, "new and empty: "+strings.Join(empty, ", "))
	}
	return lines
}

// lacksTag reports whether one of some tags, which are in lower case, is not on a list.
func lacksTag(list string, tags []string) bool {
	if len(tags) == 0 || len(tags) == 1 && list == tags[0] {
		return false
	}
	have := proxmox.ParseTags(list)
	return slices.ContainsFunc(tags, func(tag string) bool { return !slices.Contains(have, tag) })
}

// AddTags adds tags to a list as PVE stores it, whose own stay as they are written: a
// datacenter's tag-style may tell cases apart, and only changed tags are checked.
func AddTags(list string, tags []string) string {
	all := strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(",; ", r) })
	have := proxmox.ParseTags(list)
	for _, tag := range tags {
		if !slices.Contains(have, tag) {
			all = append(all, tag)
		}
	}
	return proxmox.FormatTags(all)
}
