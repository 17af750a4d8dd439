package spec

import "github.com/felhom/felhom-agent/proxmox"

// Config is the declared configuration of a guest, in PVE's canonical form.
// What is not in it is not compared.
type Config struct {
	// Values are the plain keys as PVE stores them: memory and swap in MiB,
	// booleans 0 or 1, nameserver and searchdomain separated by single blanks.
	// An empty value means: unset the key.
	Values      map[string]string
	Description *string  // nil: not declared
	Tags        []string // at least these; lower case, sorted
	Startup     proxmox.Startup
	Features    proxmox.Features // under restores and guests at most nesting
	Nets        map[int]proxmox.Net
	Mounts      map[int]MountPoint
	Devices     map[int]proxmox.Device
}

// MountPoint is a declared mpN: a volume to allocate (Storage, Size), a volume
// to attach (Volume), or a bind of a folder of a declared disk (Mount, Folder)
// or of the host (Host).
type MountPoint struct {
	Pos      Pos
	Storage  string
	Size     proxmox.Size
	Volume   string // volume id
	Mount    string // name of an object under mounts
	Folder   string // relative to the mount's path, clean
	Host     string // absolute path on the host, clean
	Path     string // mp: the path inside the guest
	Backup   bool
	ReadOnly bool
	Options  map[string]string // acl, quota, replicate, shared, mountoptions, …: the declared ones, canonical
}

// Bind reports whether the mount point binds a folder of the host.
func (m MountPoint) Bind() bool { return m.Mount != "" || m.Host != "" }
