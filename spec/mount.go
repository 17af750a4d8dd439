package spec

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/google/jsonschema-go/jsonschema"
	"gopkg.in/yaml.v3"
)

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

var mountShape = shaped(map[string]string{
	"device": "Disks are found by the UUID of their file system: uuid: … (blkid prints it); device names change.",
},
	append([]field[Mount]{
		of("uuid", BirthOnly, disks, func(m *Mount, v []Disk) { m.UUIDs = v }, "UUID of the file system, or a map from labels of your choice to the UUIDs of disks that are used in rotation.").
			must("Say which disk: uuid: and what blkid prints for it."),
		of("path", RootOnly, name("absolute path", checkPath), func(m *Mount, v string) { m.Path = v }, "Where it is mounted on the host.").
			must("Say where: path: /mnt/usb/NAME."),
		of("options", RootOnly, names("list of mount options", matching("mount option", `^[A-Za-z0-9_.-]+(=[A-Za-z0-9_.:/-]+)?$`, "expected one option, for example noatime")), func(m *Mount, v []string) { m.Options = v }, "Mount options; nofail and a device timeout are always added."),
		of("fstype", RootOnly, matching("file system type", `^[a-z][a-z0-9._-]*$`, "expected for example ext4 (or leave it out)"), func(m *Mount, v string) { m.FSType = v }, "File system type; default: found out."),
		of("storage", Agent, storage, func(m *Mount, v string) { m.Storage = v }, "The PVE storage on this path; it is checked before every use."),
		of("ensure", RootOnly, oneOf("absent"), func(m *Mount, v string) { m.Absent = v == "absent" }, "absent: unmount it and remove the agent's line from /etc/fstab."),
	}, objectFields(func(m *Mount) *Object { return &m.Object })...)...,
)

var (
	uuidForm  = regexp.MustCompile(`^[0-9A-Fa-f]+(-[0-9A-Fa-f]+)*$`)
	labelForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,30}$`)
)

func readUUID(a at, n *yaml.Node) (string, bool) {
	n = resolve(n)
	// A UUID of a FAT or NTFS disk may look like a number; its text is meant.
	if n.Kind != yaml.ScalarNode || len(n.Value) < 8 || len(n.Value) > 36 || !uuidForm.MatchString(n.Value) {
		a.fail("expected what `blkid -s UUID` prints for the disk, or a map of several: {blue: UUID, red: UUID}.", "invalid file system UUID %s", show(n))
		return "", false
	}
	return n.Value, true
}

var disks = value[[]Disk]{
	name:   "UUID, or map of UUIDs",
	schema: either(pattern(uuidForm.String()), &jsonschema.Schema{Type: "object", AdditionalProperties: pattern(uuidForm.String()), MinProperties: jsonschema.Ptr(1)}),
	read: func(a at, n *yaml.Node) (all []Disk, ok bool) {
		n = resolve(n)
		if n.Kind != yaml.MappingNode {
			uuid, ok := readUUID(a, n)
			return []Disk{{UUID: uuid}}, ok
		}
		for _, p := range a.pairs(n) {
			here := a.of(p)
			if !labelForm.MatchString(p.key) {
				here.fail("Write letters, digits, - and _, at most 31.", "%q cannot be the label of a disk", p.key)
			} else if uuid, ok := readUUID(here, p.value); ok {
				all = append(all, Disk{p.key, uuid})
			}
		}
		if len(n.Content) == 0 {
			a.fail("Write at least one: {blue: UUID}.", "names no disk")
		}
		return all, len(all) > 0
	},
}

// checkPath wants a path in its one form, so that paths can be compared.
func checkPath(s string) error {
	switch {
	case !strings.HasPrefix(s, "/"):
		return fmt.Errorf("invalid path %q, it is not absolute: expected for example /mnt/usb/backup", s)
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%q contains an invisible character: type it again", s)
	case path.Clean(s) != s:
		return fmt.Errorf("invalid path %q, it is not in its shortest form: expected %s", s, path.Clean(s))
	case s == "/":
		return fmt.Errorf("invalid path %q: expected a folder, for example /mnt/usb/backup", s)
	}
	return nil
}

func (c *checker) mounts() {
	all := sorted(c.Mounts)
	uuids, storages := map[string]*Mount{}, map[string][]*Mount{}
	paths, order := map[string][]*Mount{}, map[*Mount]int{}
	for i, m := range all {
		paths[m.Path], order[m] = append(paths[m.Path], m), i
	}
	for i, m := range all {
		if m.Path != "" {
			c.rooted(&m.Object, "path", m.Path)
		}
		for dir := m.Path; len(dir) > 1; dir = path.Dir(dir) {
			for _, other := range paths[dir] {
				switch {
				case other == m || elsewhere(m.Node, other.Node):
				case dir != m.Path:
					c.fail(&m.Object, "path", "Give each disk a folder of its own, side by side.", "one disk would be mounted inside another: %s has %s (%s)", other.Ref, other.Path, other.At("path"))
				case order[other] < i:
					c.fail(&m.Object, "path", "Several disks that take turns are one mount: uuid: {blue: UUID, red: UUID}.", "is also the path of %s (%s)", other.Ref, other.At("path"))
				}
			}
		}
		for _, d := range m.UUIDs {
			key, field := strings.ToLower(d.UUID), "uuid"
			if d.Label != "" {
				field += "." + d.Label
			}
			if first := uuids[key]; first == m {
				c.fail(&m.Object, field, "Keep one of the two.", "names the disk %s twice", d.UUID)
			} else if first != nil {
				c.fail(&m.Object, field, "A disk is mounted at one path.", "is also a disk of %s (%s)", first.Ref, first.At("uuid"))
			}
			uuids[key] = m
		}
		if m.Storage != "" {
			others := storages[m.Storage]
			if i := slices.IndexFunc(others, func(other *Mount) bool { return !elsewhere(m.Node, other.Node) }); i >= 0 {
				c.fail(&m.Object, "storage", "A storage is on one disk.", "is also the storage of %s (%s)", others[i].Ref, others[i].At("storage"))
			}
			storages[m.Storage] = append(others, m)
		}
	}
}
