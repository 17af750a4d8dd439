package questions

import (
	"maps"
	"strconv"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/spec"
)

// GoldenSpec is the operation by which root builds the golden.
func GoldenSpec(q Questions, golden *spec.Golden) privileged.GoldenSpec {
	m := marker.Marker{Object: golden.Ref.Name, VMID: golden.VMID, Owner: q.Have.Owner, Born: q.Have.Now}.With("template", golden.Template)
	if golden.Publish != nil {
		m = m.With("revision", strconv.Itoa(golden.Publish.Revision)).With("digest", node.GoldenDigest(golden))
	}
	text := ""
	if golden.Config.Description != nil {
		text = *golden.Config.Description
	}
	s := privileged.GoldenSpec{
		VMID: int(golden.VMID), Object: golden.Ref.Name, Owner: q.Have.Owner, Template: golden.Template,
		Storage: golden.RootFS.Storage, SizeGiB: int((golden.RootFS.Size + proxmox.GiB - 1) / proxmox.GiB),
		Hostname: golden.Ref.Name, Description: marker.Describe(text, m), Features: golden.Features,
		Nets: map[int]map[string]string{}, Config: map[string]string{},
	}
	for i, net := range golden.Config.Nets {
		n := proxmox.Net{"name": "eth" + strconv.Itoa(i), "hwaddr": Mac(q.Have.Owner, golden.VMID, i)}
		maps.Copy(n, net)
		s.Nets[i] = n
	}
	for key, value := range golden.Config.Values {
		if value != "" && key != "protection" {
			s.Config[key] = value
		}
	}
	if len(golden.Config.Startup) > 0 {
		s.Config["startup"] = golden.Config.Startup.String()
	}
	if len(golden.Config.Tags) > 0 {
		s.Config["tags"] = proxmox.FormatTags(golden.Config.Tags)
	}
	return s
}
