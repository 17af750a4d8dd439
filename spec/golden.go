package spec

import "github.com/felhom/felhom-agent/proxmox"

// Golden is a guest built once from a template and published as an archive.
type Golden struct {
	Object
	VMID     proxmox.VMID
	Template string // volume id of the template
	RootFS   RootFS
	Features proxmox.Features
	Config   Config
	Publish  *Publish // nil: built, but not published
}

// RootFS is the root disk. Zero values are not declared.
type RootFS struct {
	Storage string
	Size    proxmox.Size
}

// Publish says where the archive of a golden is kept. A new revision publishes
// anew.
type Publish struct {
	Storage  string
	Revision int
}
