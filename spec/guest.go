package spec

import (
	"fmt"
	"regexp"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/felhom/felhom-agent/proxmox"
)

// State is the wanted run state of a guest.
type State string

// The run states; empty means the YAML does not say.
const (
	Running State = "running"
	Stopped State = "stopped"
)

// RestartPolicy says who restarts a guest when a change needs it.
type RestartPolicy string

// The restart policies. RestartManual is filled in where the YAML is silent.
const (
	RestartManual RestartPolicy = "manual" // a person
	RestartAuto   RestartPolicy = "auto"   // the agent: shutdown, then start
)

// Guest is one entry of restores (Adopt false) or guests (Adopt true).
type Guest struct {
	Object
	Adopt    bool
	VMID     proxmox.VMID
	Type     proxmox.GuestType // the zero value is a container
	TypeSaid bool              // else a VM that exists is found to be one: see Typed
	Is       string            // the expected hostname; empty: the object's name
	From     []Source          // tried in this order; empty under guests: never brought back
	Storage  string            // for volumes at birth; empty (guests only): the archive's
	RootFS   RootFS            // only Size may be set here
	Config   Config
	Needs    []string // restores or guests that must run before this is started
	State    State
	Restart  RestartPolicy
	Rollback *Rollback // nil: none asked for
	Guard    *Guard    // nil: its changes are not guarded
	Absent   bool      // it is to be deleted
	NoBackup bool      // with Absent: without a backup of what it last wrote
	// Trust are the keys of a virtual machine's archive that only root may set, and that a
	// restore may bring back all the same.
	Trust []string
}

// Hostname is the hostname that the guest is expected to have: the key is,
// else the object's name.
func (g *Guest) Hostname() string {
	if g.Is != "" {
		return g.Is
	}
	return g.Ref.Name
}

// Source is one place a guest can be made from. Exactly one of Golden, Archive
// and Newest is set.
type Source struct {
	Pos     Pos
	Golden  string       // the published archive of this golden
	Archive string       // this volume id
	Newest  string       // the newest proven backup on this storage
	VMID    proxmox.VMID // with Newest: of this guest; 0: the object's own
}

// Rollback is a request to take a guest back to a snapshot, once.
type Rollback struct {
	Pos           Pos
	To            string // the snapshot's name in PVE
	Requested     time.Time
	Zoned         bool   // whether the text of requested has a zone; without one nothing is rolled back
	RequestedText string // as written
	Loses         []string
}

var (
	restoreShape = guestShapeOf(
		"Write what it is created from: from: [{newest: usb-backup}, {golden: debian}].",
		"Write the storage of its disks: storage: local-lvm.")
	guestShape = guestShapeOf("", "")
)

var guestElsewhere = map[string]string{
	"features":     "Only a golden image has features; a restore brings them along from its archive. Nesting alone is allowed under config: features: {nesting: true}.",
	"template":     "Only a golden image is built from a template. Declare one and write from: {golden: NAME}.",
	"hostname":     "The hostname is the object's name; where it is another, say is: NAME.",
	"publish":      "Only a golden image is published.",
	"unprivileged": "Leave it out: a restore is what its archive says, an existing guest is what it is.",
	"password":     "There are no passwords in this language; set it inside the guest.",
}

func init() {
	for _, key := range []string{"cores", "memory", "swap", "net0", "mp0", "onboot", "tags", "description", "startup", "nameserver"} {
		guestElsewhere[key] = "Write it under config:."
	}
}

func guestShapeOf(noFrom, noStorage string) *shape[Guest] {
	return shaped(guestElsewhere, append([]field[Guest]{
		of("vmid", BirthOnly, vmid, func(g *Guest, v proxmox.VMID) { g.VMID = v }, "The guest's number.").
			must("Say which number the guest has: vmid: 111."),
		of("type", BirthOnly, guestType, func(g *Guest, v proxmox.GuestType) { g.Type, g.TypeSaid = v, true }, "vm: it is a virtual machine. Without it a guest without `from` is what it is found to be, another a container."),
		of("is", Agent, name("hostname", proxmox.CheckHostname), func(g *Guest, v string) { g.Is = v }, "Its hostname, where that is not the object's name."),
		of("from", BirthOnly, sources, func(g *Guest, v []Source) { g.From = v }, "What it is made from, tried in this order.").
			mustUnless("ensure", noFrom),
		of("storage", BirthOnly, storage, func(g *Guest, v string) { g.Storage = v }, "The storage of its disks when it is made; default under guests: the archive's.").
			mustUnless("ensure", noStorage),
		of("rootfs", Live, guestRootFS, func(g *Guest, v RootFS) { g.RootFS = v }, "Its root disk; default: the archive's."),
		of("config", Live, guestConfigShape.value("map"), func(g *Guest, v Config) { g.Config = v }, "Its configuration; only what is declared is compared."),
		of("needs", Agent, names("list of guests", text), func(g *Guest, v []string) { g.Needs = v }, "Restores or guests that must run before it is started."),
		of("state", Live, oneOf(Running, Stopped), func(g *Guest, v State) { g.State = v }, "Whether it runs; default: left as it is."),
		of("restart", Agent, oneOf(RestartManual, RestartAuto), func(g *Guest, v RestartPolicy) { g.Restart = v }, "auto: it may be shut down and started when a change needs it."),
		of("trust", BirthOnly, names("list of keys", name("config key", checkTrusted)), func(g *Guest, v []string) { g.Trust = v }, "Of a virtual machine: keys that only root may set, and that a restore may bring back from its archive: args, hookscript, serialN, parallelN."),
		of("guard", Agent, guardShape.value("map"), func(g *Guest, v Guard) { g.Guard = &v }, "A change of it that can hurt begins with a snapshot. If the probes do not hold afterwards, the guest is rolled back to that and the change is blocked until the YAML changes."),
		of("ensure", Agent, oneOf("absent"), func(g *Guest, v string) { g.Absent = v == "absent" }, "absent: stop it and delete it, with its volumes and snapshots. Its archives stay."),
		of("backup", Agent, oneOf("required", "none"), func(g *Guest, v string) { g.NoBackup = v == "none" }, "With ensure: absent. required (default): a verified backup, younger than all that it has written, is there or is made first. none: it is deleted without one."),
		of("rollback", Agent, rollbackShape.value("map"), func(g *Guest, v Rollback) { g.Rollback = &v }, "A request to take it back to a snapshot, once."),
	}, objectFields(func(g *Guest) *Object { return &g.Object })...)...)
}

var sizeShape = shaped(map[string]string{"storage": "Write it beside rootfs: storage: NAME."},
	of("size", Live, size(proxmox.GiB, proxmox.MiB), func(r *RootFS, v proxmox.Size) { r.Size = v }, "Its size; larger later is a resize, smaller is refused.").
		must("Say how large: size: 16G."),
)

// guestRootFS is the size alone, since the storage stands beside it. In PVE's
// string the volume was chosen by PVE and is passed over.
var guestRootFS = value[RootFS]{
	name: "map", schema: either(sizeShape.schema(), typed("string")), below: sizeShape.table(),
	read: func(a at, n *yaml.Node) (r RootFS, ok bool) {
		n = resolve(n)
		if n.Kind == yaml.ScalarNode {
			r, ok = readRootText(a, n)
			return RootFS{Size: r.Size}, ok
		}
		ok = sizeShape.fill(a, n, &r)
		return r, ok
	},
}

var sourceShape = shaped(map[string]string{"template": "Only a golden image is built from a template. Declare one and write golden: NAME."},
	of("golden", BirthOnly, text, func(s *Source, v string) { s.Golden = v }, "The published archive of this golden image."),
	of("archive", BirthOnly, name("volume id of an archive", checkArchive), func(s *Source, v string) { s.Archive = v }, "This archive."),
	of("newest", BirthOnly, storage, func(s *Source, v string) { s.Newest = v }, "The newest verified backup on this storage."),
	of("vmid", BirthOnly, vmid, func(s *Source, v proxmox.VMID) { s.VMID = v }, "With newest: of this guest instead of its own."),
)

// sources are one source or a list.
var sources = value[[]Source]{
	name: "source, or list of them", schema: either(sourceShape.schema(), listOf("", sourceShape.value("")).schema), below: sourceShape.table(),
	read: func(a at, n *yaml.Node) ([]Source, bool) {
		const fix = "Write {golden: NAME}, {archive: VOLUME} or {newest: STORAGE}. Write several as a list: [{newest: usb-backup}, {golden: debian}]."
		one := func(a at, n *yaml.Node) (s Source, ok bool) {
			s.Pos = a.pos()
			if n = resolve(n); n.Kind == yaml.ScalarNode {
				a.fail(fix, "does not say what kind of source %s is", show(n))
				return s, false
			}
			known := len(a.src.faults.list)
			if !sourceShape.fill(a, n, &s) {
				return s, false
			}
			said := 0
			for _, v := range []string{s.Golden, s.Archive, s.Newest} {
				if v != "" {
					said++
				}
			}
			switch {
			case said == 0 && len(a.src.faults.list) > known: // a mistake that is named already
			case said != 1:
				a.fail(fix, "names %d sources in one entry, not one", said)
			case s.VMID != 0 && s.Newest == "":
				a.fail("Write {newest: STORAGE, vmid: 105}, or leave vmid out.", "vmid goes with newest alone")
			default:
				return s, true
			}
			return s, false
		}
		if n = resolve(n); n.Kind == yaml.SequenceNode {
			return listOf("", value[Source]{read: one}).read(a, n)
		}
		s, ok := one(a, n)
		return []Source{s}, ok
	},
}

func checkArchive(s string) error {
	if _, ok := proxmox.ParseArchive(s); !ok {
		return fmt.Errorf("invalid archive %q: expected STORAGE:backup/vzdump-lxc-…, as pvesm list prints it", s)
	}
	return nil
}

var volumeKey = regexp.MustCompile(`^(mp(0|[1-9][0-9]{0,2})|(scsi|virtio|sata|ide)(0|[1-9][0-9]?)|(efidisk|tpmstate)0)$`)

func checkVolumeKey(s string) error {
	if !volumeKey.MatchString(s) {
		return fmt.Errorf("invalid volume %q: expected mp0 to mp255, of a VM scsi1 (the root disk, or the first one, is always rolled back)", s)
	}
	return nil
}

var rollbackShape = shaped(nil,
	of("to", Agent, name("snapshot name", proxmox.CheckSnapshotName), func(r *Rollback, v string) { r.To = v }, "The snapshot's name in PVE.").
		must("Name the snapshot: to: before-upgrade."),
	of("requested", Agent, moment, func(r *Rollback, v Moment) { r.Requested, r.Zoned, r.RequestedText = v.t, v.zoned, v.text }, "When it was asked for, with zone; it is done once, within a day.").
		must("Say when you asked for it: requested: 2026-11-22T18:00:00Z (felhom-agent --print-rollback prints these lines)."),
	of("loses", Agent, names("list of volumes", name("volume", checkVolumeKey)), func(r *Rollback, v []string) { r.Loses = v }, "Every volume besides the root disk that goes back too."),
)
