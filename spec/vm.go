package spec

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"github.com/felhom/felhom-agent/proxmox"
)

// guestType is container or vm.
var guestType = convert(oneOf("container", "vm"), func(word string) proxmox.GuestType {
	if word == "vm" {
		return proxmox.QEMU
	}
	return proxmox.LXC
})

var trustedForm = regexp.MustCompile(`^(args|hookscript|(serial|parallel)(0|[1-9][0-9]?))$`)

func checkTrusted(s string) error {
	if !trustedForm.MatchString(s) {
		return fmt.Errorf("invalid config key %q: expected args, hookscript, serial0 or parallel0", s)
	}
	return nil
}

// vmFields are the keys that only a virtual machine has (PVE: QemuServer, confdesc).
func vmFields() []field[Config] {
	fields := []field[Config]{
		plain("sockets", NeedsRestart, digits(1, 8192), "Of a virtual machine: number of sockets, each with that many cores; default 1."),
		plain("balloon", NeedsRestart, mebibytes(0), "Of a virtual machine: memory that it keeps when the host needs some; 0 switches ballooning off."),
		plain("agent", NeedsRestart, zeroOne, "Of a virtual machine: whether PVE talks to the guest agent inside."),
	}
	for _, drive := range []struct {
		kind  string
		count int
	}{{"scsi", 31}, {"virtio", 16}, {"sata", 6}} {
		fields = append(fields, numberedOf(drive.kind+"N", drive.count, Live, driveShape.value("map"), func(c *Config, i int, v driveSize) {
			if c.Drives == nil {
				c.Drives = map[string]proxmox.Size{}
			}
			c.Drives[drive.kind+strconv.Itoa(i)] = v.size
		}, "Of a virtual machine: a disk that it has."))
	}
	return fields
}

type driveSize struct{ size proxmox.Size }

var driveShape = shaped(map[string]string{"storage": "A disk is moved by hand: qm disk move VMID scsi0 STORAGE.", "backup": "Set it by hand: qm set VMID --scsi0 VOLUME,backup=0."},
	of("size", Live, size(proxmox.GiB, proxmox.MiB), func(d *driveSize, v proxmox.Size) { d.size = v }, "Its size; larger later is a resize, smaller is refused.").
		must("Say how large: size: 64G."),
)

// ofContainers are the keys of a config that a virtual machine does not have, with what to do.
var ofContainers = map[string]string{
	"swap": "Leave it out: a VM has its swap inside.", "nameserver": "Set it inside the VM.", "searchdomain": "Set it inside the VM.",
	"console": "Leave it out.", "debug": "Leave it out.", "timezone": "Set it inside the VM.", "tty": "Leave it out.", "cmode": "Leave it out.", "entrypoint": "Leave it out.",
}

var (
	netOfContainers = []string{"name", "ip", "gw", "ip6", "gw6", "host-managed", "type"}
	netOfVMs        = []string{"model", "queues"}
)

// checkType looks at what of a guest belongs to the other type.
func checkType(c *checker, g *Guest) {
	o := &g.Object
	for _, s := range g.From {
		if a, ok := proxmox.ParseArchive(s.Archive); ok && a.Type != "" && proxmox.GuestTypeOf(a.Type) != g.Type {
			c.fail(o, "from", fmt.Sprintf("Name an archive of a %s.", g.Type.Noun()), "%s is an archive of a %s", s.Archive, proxmox.GuestTypeOf(a.Type).Noun())
		}
	}
	if !g.Type.VM() {
		checkContainer(c, g)
		return
	}
	for _, s := range g.From {
		if s.Golden != "" {
			c.fail(o, "from", "Say {newest: STORAGE}.", "a VM is not made from a golden image, which is a container")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(g.Config.Values)) {
		if fix := ofContainers[key]; fix != "" {
			c.fail(o, "config."+key, fix, "is a key of containers, and this is a VM")
		}
	}
	for field, said := range map[string]bool{"config.startup": g.Config.Startup != nil, "config.features": g.Config.Features != nil, "rootfs": g.RootFS.Size != 0,
		"config.mp0": len(g.Config.Mounts) > 0, "config.dev0": len(g.Config.Devices) > 0} {
		switch {
		case !said:
		case field == "config.startup":
			c.fail(o, field, "Set it by hand: qm set "+g.VMID.String()+" --startup order=1", "of a VM needs Sys.Modify on /, which the token does not have")
		case field == "rootfs":
			c.fail(o, field, "Say which disk: config: {scsi0: {size: 64G}}.", "is of containers; the disks of a VM have names")
		default:
			c.fail(o, field, "Leave it out.", "is a key of containers, and this is a VM")
		}
	}
	checkNets(c, o, g.Config.Nets, netOfContainers, "an interface of a container")
}

func checkContainer(c *checker, g *Guest) {
	o := &g.Object
	for _, key := range []string{"sockets", "balloon", "agent"} {
		if _, said := g.Config.Values[key]; said {
			c.fail(o, "config."+key, "Leave it out, or add type: vm.", "is a key of VMs, and this is a container")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(g.Config.Drives)) {
		c.fail(o, "config."+key, "Add type: vm if it is one; the disks of a container are rootfs and mp0.", "is a disk of a VM, and this is a container")
	}
	if len(g.Trust) > 0 {
		c.fail(o, "trust", "Leave it out, or add type: vm.", "is for VMs, and this is a container")
	}
	checkNets(c, o, g.Config.Nets, netOfVMs, "an interface of a VM")
}

func checkNets(c *checker, o *Object, nets map[int]proxmox.Net, other []string, what string) {
	for _, i := range slices.Sorted(maps.Keys(nets)) {
		for _, key := range other {
			if _, said := nets[i][key]; said {
				c.fail(o, fmt.Sprintf("config.net%d.%s", i, key), "Leave it out.", "is a sub-key of %s", what)
			}
		}
	}
}

// Typed is the desired state in which each guest that does not say what it is, and that was found
// to be a virtual machine, is one. That is so under guests where it has no `from`: one that may be
// lost and come back has to say it, since nothing is there then to be found. A guest with keys of
// containers stays one, so that it is refused by name. It may return its receiver.
func (d *Desired) Typed(isVM func(proxmox.VMID) bool) *Desired {
	typed := d
	for name, g := range d.Guests {
		if g.TypeSaid || g.Type.VM() || len(g.From) > 0 || !isVM(g.VMID) {
			continue
		}
		vm := *g
		vm.Type = proxmox.QEMU
		c := &checker{Desired: d, faults: &faults{}}
		if checkType(c, &vm); len(c.list) > 0 {
			continue
		}
		if typed == d {
			copied := *d
			copied.Guests, copied.guests, typed = maps.Clone(d.Guests), nil, &copied
		}
		typed.Guests[name] = &vm
	}
	if typed.guests == nil { // whoever plans asks for them many times
		listed := *typed
		listed.guests, typed = slices.Clip(typed.AllGuests()), &listed
	}
	return typed
}
