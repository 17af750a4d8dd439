package spec

// Mount is a USB disk mounted on the host by the UUID of its file system.
type Mount struct {
	Object
	UUIDs   []Disk // in the order written; several take turns
	Path    string
	Options []string // mount options; nofail and a device timeout are always added
	FSType  string   // empty: auto
	Storage string   // the PVE storage on this path; empty: none
	Absent  bool
}

// Disk is one file system. Label is empty where the YAML names only one UUID.
type Disk struct{ Label, UUID string }
