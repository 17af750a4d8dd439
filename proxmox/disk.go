package proxmox

import "context"

// Disk is a whole disk of a node, as PVE lists it.
type Disk struct {
	Device string // /dev/sda
	Model  string // "" where it does not tell
	Serial string
	Health string // PVE's word: PASSED, UNKNOWN (no SMART, as behind many USB bridges), or what smartctl says else
	Size   Size
}

// Disks lists the disks of a node. PVE asks each for its health, which takes it seconds (PVE::Diskmanage get_disks).
// Needs Sys.Audit on / or on the node.
func (v *View) Disks(ctx context.Context, node string) ([]Disk, error) {
	w, _, err := read[[]struct {
		DevPath, Model, Serial, Health text
		Size                           number
	}](ctx, v, On(node).path("disks", "list"), nil)
	known := func(s text) string {
		if s == "unknown" {
			return ""
		}
		return string(s)
	}
	var disks []Disk
	for _, d := range w {
		disks = append(disks, Disk{string(d.DevPath), known(d.Model), known(d.Serial), string(d.Health), Size(d.Size)})
	}
	return disks, err
}
