package spec

import (
	"fmt"
	"math"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/proxmox"
)

// Golden is a guest built once from a template and published as an archive.
type Golden struct {
	Object
	VMID     proxmox.VMID
	Template string // volume id of the template
	RootFS   RootFS
	Features proxmox.Features
	Config   Config
	Publish  *Publish // nil: built, but not published

	canonical string // see Canonical; "": it was not read from YAML
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

var goldenShape = shaped(map[string]string{
	"state":        "A golden image is a pattern and does not run; declare state: on what is restored from it.",
	"from":         "A golden image is built from its template. What is created from an archive belongs under restores.",
	"storage":      "Say it in rootfs: {storage: local-lvm, size: 8G}.",
	"net0":         "Write it under config:.",
	"is":           "The hostname of a golden image is its name.",
	"unprivileged": "Leave it out: a golden image is always unprivileged.",
	"needs":        "A golden image is a pattern and does not run; declare needs: on what is restored from it.",
},
	append([]field[Golden]{
		of("vmid", BirthOnly, vmid, func(g *Golden, v proxmox.VMID) { g.VMID = v }, "The guest's number.").
			must("Give it a number of its own: vmid: 9000."),
		of("template", BirthOnly, name("volume id of a template", checkTemplate), func(g *Golden, v string) { g.Template = v }, "The template it is built from.").
			must("Say which: template: local:vztmpl/FILE (pveam list local prints them)."),
		of("rootfs", BirthOnly, goldenRootFS, func(g *Golden, v RootFS) { g.RootFS = v }, "Its root disk.").
			must("Say where and how large: rootfs: {storage: local-lvm, size: 8G}."),
		of("features", BirthOnly, features, func(g *Golden, v proxmox.Features) { g.Features = v }, "Features that PVE allows only to root; guests created from the image have them too."),
		of("config", Live, goldenConfigShape.value("map"), func(g *Golden, v Config) { g.Config = v }, "Its configuration; converges like a guest's."),
		of("publish", Agent, publishShape.value("map"), func(g *Golden, v Publish) { g.Publish = &v }, "Seal the image (empty machine-id, no SSH host keys) and keep one current archive of it."),
	}, objectFields(func(g *Golden) *Object { return &g.Object })...)...,
)

var publishShape = shaped(nil,
	of("storage", Agent, storage, func(p *Publish, v string) { p.Storage = v }, "The storage that holds the archive.").
		must("Say where: storage: local."),
	of("revision", Agent, number(1, math.MaxInt32), func(p *Publish, v int) { p.Revision = v }, "A larger number publishes the image again.").
		must("Count from 1: revision: 1."),
)

var rootShape = shaped(nil,
	of("storage", BirthOnly, storage, func(r *RootFS, v string) { r.Storage = v }, "The storage of the disk.").
		must("Say where: storage: local-lvm."),
	of("size", BirthOnly, size(proxmox.GiB, proxmox.MiB), func(r *RootFS, v proxmox.Size) { r.Size = v }, "Its size at creation, a multiple of 1 GiB; a guest created from it may have a larger one.").
		must("Say how large: size: 8G."),
)

// goldenRootFS is a map, or what PVE prints or takes: "local-lvm:8" and
// "local-lvm:vm-9000-disk-0,size=8G".
var goldenRootFS = value[RootFS]{
	name: "map", schema: either(rootShape.schema(), typed("string")), below: rootShape.table(),
	read: func(a at, n *yaml.Node) (r RootFS, ok bool) {
		n = resolve(n)
		if n.Kind == yaml.ScalarNode {
			return readRootText(a, n)
		}
		ok = rootShape.fill(a, n, &r)
		return r, ok
	},
}

func readRootText(a at, n *yaml.Node) (r RootFS, ok bool) {
	if n.ShortTag() != "!!str" {
		a.fail("Write {storage: local-lvm, size: 8G}.", "needs a map or PVE's string, this is %s", show(n))
		return r, false
	}
	m, err := proxmox.ParseMountPoint(n.Value)
	if err != nil {
		a.refuse(err)
		return r, false
	}
	for key := range m {
		if key != "volume" && key != "size" {
			a.fail("Leave it out.", "%s of a root disk cannot be declared", key)
			return r, false
		}
	}
	id, err := proxmox.ParseVolumeID(m.Volume())
	if err != nil {
		a.fail("Write {storage: local-lvm, size: 8G}.", "%q names no storage and size", n.Value)
		return r, false
	}
	r.Storage = id.Storage
	if s, asked, err := newVolume(id); asked {
		if err != nil {
			a.refuse(err)
			return r, false
		}
		r.Size = s
	} else if r.Size, ok = m.Size(); !ok {
		a.fail("Add it: "+n.Value+",size=8G.", "says no size")
		return r, false
	}
	return r, true
}

// newVolume is the size in STORAGE:SIZE, with which PVE is asked for a new
// volume; the size counts in GiB.
func newVolume(id proxmox.VolumeID) (s proxmox.Size, asked bool, err error) {
	if !decimal.MatchString(id.Name) {
		return 0, false, nil
	}
	s, err = size(proxmox.GiB, proxmox.MiB).parse(id.Name)
	return s, true, err
}

func checkTemplate(s string) error {
	id, err := proxmox.ParseVolumeID(s)
	if err != nil || !strings.HasPrefix(id.Name, "vztmpl/") {
		return fmt.Errorf("invalid template %q: expected STORAGE:vztmpl/FILE, as pveam list prints it", s)
	}
	return nil
}
