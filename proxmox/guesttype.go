package proxmox

import (
	"context"
	"regexp"
	"slices"
)

// GuestType is what a guest is: a container or a virtual machine. PVE numbers both from one
// space of VMIDs and keeps them apart in its paths: /nodes/N/lxc/111, /nodes/N/qemu/101.
type GuestType string

// The types. The zero GuestType is a container.
const (
	LXC  GuestType = ""
	QEMU GuestType = "qemu"
)

// GuestTypeOf is the type that PVE calls lxc or qemu.
func GuestTypeOf(word string) GuestType {
	if word == string(QEMU) {
		return QEMU
	}
	return LXC
}

// VM reports whether it is a virtual machine.
func (t GuestType) VM() bool { return t == QEMU }

// String is lxc or qemu, as PVE writes it.
func (t GuestType) String() string {
	if t.VM() {
		return string(t)
	}
	return "lxc"
}

// Noun is what people call it: container or VM.
func (t GuestType) Noun() string {
	if t.VM() {
		return "VM"
	}
	return "container"
}

// Tool is the command of PVE's host for it: pct or qm.
func (t GuestType) Tool() string {
	if t.VM() {
		return "qm"
	}
	return "pct"
}

// Task is the type of the task that does something with such a guest: Task("start") is
// vzstart or qmstart.
func (t GuestType) Task(act string) string {
	if t.VM() {
		return "qm" + act
	}
	return "vz" + act
}

// TasksOf are the types of the tasks that do one of some things, for guests of every type.
func TasksOf(acts ...string) []string {
	kinds := make([]string, 0, 2*len(acts))
	for _, t := range []GuestType{LXC, QEMU} {
		for _, act := range acts {
			kinds = append(kinds, t.Task(act))
		}
	}
	return kinds
}

// taskForm is a task of one guest that only its type tells apart: vzstart, qmstart.
var taskForm = regexp.MustCompile(`^(?:vz|qm)(create|restore|destroy|start|stop|shutdown|reboot|suspend|resume|snapshot|delsnapshot|rollback|clone|migrate|template|config)$`)

// TaskAct is what a task of one guest does, whatever the guest is: "start" of vzstart and
// qmstart; "" of any other task.
func TaskAct(kind string) string {
	if m := taskForm.FindStringSubmatch(kind); m != nil {
		return m[1]
	}
	return ""
}

// A GuestView reads one guest.
type GuestView struct {
	view *View
	kind GuestType
	node string
	vmid VMID
}

// Of reads the guest of a type and a number on a node.
func (v *View) Of(t GuestType, node string, vmid VMID) GuestView { return GuestView{v, t, node, vmid} }

func (g GuestView) path(parts ...string) string { return On(g.node).Of(g.kind).guest(g.vmid, parts...) }

// ListQemu lists the virtual machines of a node, by VMID, each once. PVE leaves out, without
// a word, those for which the token lacks VM.Audit.
func (v *View) ListQemu(ctx context.Context, node string) ([]Guest, error) {
	return v.list(ctx, QEMU, node)
}

// Drive is a disk of a virtual machine, the value of scsiN, virtioN, sataN, ideN, efidisk0 or
// tpmstate0. Its default key is "file".
type Drive map[string]string

var driveGrammar = grammar{
	what: "drive", defaultKey: "file", booleans: []string{"backup", "iothread", "replicate", "ro", "shared", "snapshot", "ssd"},
	example: "local-lvm:vm-101-disk-0,size=32G",
}

// driveKinds are the kinds of keys that are drives.
var driveKinds = []string{"scsi", "virtio", "sata", "ide", "efidisk", "tpmstate"}

// IsDrive reports whether a key of a virtual machine's config is a drive, such as scsi0.
func IsDrive(key string) bool {
	return slices.ContainsFunc(driveKinds, func(kind string) bool { _, ok := NumberedKey(key, kind); return ok })
}

// ParseDrive reads the value of a drive.
func ParseDrive(s string) (Drive, error) { return whole[Drive](driveGrammar.parse(s)) }

// Volume is the volume id, or what else it names: none, cdrom, or a path of the host.
func (d Drive) Volume() string { return d["file"] }

// CDROM reports whether it is a drive for discs, which no backup contains.
func (d Drive) CDROM() bool { return d["media"] == "cdrom" }

// Size is the recorded size, if any.
func (d Drive) Size() (Size, bool) {
	size, err := ParseSize(d["size"])
	return size, err == nil
}

// Backup reports whether a backup contains it: PVE's default is yes.
func (d Drive) Backup() bool { return !d.CDROM() && d["backup"] != "0" }

// Drives are the disks of a virtual machine by key, without those for discs.
func (c GuestConfig) Drives() map[string]Drive {
	drives := map[string]Drive{}
	for key, value := range c.Raw {
		if !IsDrive(key) {
			continue
		}
		m, _ := driveGrammar.parse(value)
		if d := Drive(m); !d.CDROM() {
			drives[key] = d
		}
	}
	return drives
}

// netModels are the words by which the interface of a virtual machine is known: its model,
// with its hardware address (PVE: QemuServer, net_fmt).
var netModels = []string{"e1000", "e1000-82540em", "e1000-82544gc", "e1000-82545em", "e1000e", "i82551", "i82557b",
	"i82559er", "ne2k_isa", "ne2k_pci", "pcnet", "rtl8139", "virtio", "vmxnet3"}

// NetModels are the models that the interface of a virtual machine can have.
func NetModels() []string { return slices.Clone(netModels) }

// unifyNet gives the interface of a virtual machine (virtio=BC:24:11:…,bridge=vmbr0) the
// sub-keys model and hwaddr, so that its address is found where that of a container is.
func unifyNet(m map[string]string) map[string]string {
	if m["name"] == "" {
		for _, model := range netModels {
			if mac, ok := m[model]; ok {
				delete(m, model)
				m["model"], m["hwaddr"] = model, mac
			}
		}
	}
	if mac, ok := m["macaddr"]; ok && m["model"] != "" {
		delete(m, "macaddr")
		m["hwaddr"] = mac
	}
	return m
}

// splitNet is unifyNet backwards: as PVE writes it.
func splitNet(n Net) (first string, rest map[string]string) {
	rest = map[string]string{}
	for key, value := range n {
		if key != "model" && key != "hwaddr" {
			rest[key] = value
		}
	}
	if n["hwaddr"] == "" {
		return "model=" + n["model"], rest
	}
	return n["model"] + "=" + n["hwaddr"], rest
}

// Agent is whether PVE talks to a program inside a virtual machine, and how: the value of
// agent. Its default key is "enabled".
type Agent map[string]string

var agentGrammar = grammar{what: "guest agent", defaultKey: "enabled", booleans: []string{"enabled", "freeze-fs-on-backup", "freeze-fs", "fstrim_cloned_disks"}, example: "1,fstrim_cloned_disks=1"}

// ParseAgent reads the value of agent.
func ParseAgent(s string) (Agent, error) { return whole[Agent](agentGrammar.parse(s)) }

func (a Agent) String() string { return agentGrammar.print(a) }

// ParseNet reads the value of netN. The interface of a virtual machine has the sub-keys model
// and hwaddr.
func ParseNet(s string) (Net, error) {
	m, err := netGrammar.parse(s)
	return whole[Net](unifyNet(m), err)
}

// CheckNet is the error of ParseNet.
func CheckNet(s string) error { return netGrammar.check(s) }

// NetSays reports whether the value of netN has the sub-keys of a wish, letter by letter. One that has them in
// other words, such as link_down=on for link_down=1, is for ParseNet.
func NetSays(s string, wish Net) bool {
	for key, value := range wish {
		if key == "model" || key == "hwaddr" || !netGrammar.says(s, key, value) {
			return false
		}
	}
	return netGrammar.check(s) == nil
}

func (n Net) String() string {
	if n["model"] == "" {
		return netGrammar.print(n)
	}
	first, rest := splitNet(n)
	if len(rest) == 0 {
		return first
	}
	return first + "," + netGrammar.print(rest)
}
