package forecast

import (
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/spec"
)

// applyOp does what an operation of the root helper does.
func (f *Forecast) applyOp(object spec.Ref, op privileged.Op) {
	vmid, _ := proxmox.ParseVMID(op.Args["vmid"])
	state := f.guest(vmid)
	switch op.Name {
	case "MountUSBByUUID", "UnmountUSB":
		f.mount(object, op)
	case "CreateGoldenLXC":
		if golden := f.want.Golden[object.Name]; golden != nil {
			guest := node.GoldenGuest(golden)
			guest.Is = golden.Ref.Name
			guest.Config.Mounts, guest.Config.Devices = nil, nil // they are added afterwards
			raw := wishedConfig(guest, f.Node.Owner)
			raw["features"] = proxmox.Features(golden.Features).String()
			raw["description"] = op.Args["description"]
			f.make(proxmox.LXC, vmid, raw, nil)
		}
	case "BindMount":
		if state != nil {
			mp := proxmox.MountPoint{"volume": op.Args["source"], "mp": op.Args["mp"]}
			f.configure(state, proxmox.Params{"mp" + op.Args["index"]: withOptions(mp, op.Args, "ro").String()})
		}
	case "PassDevice":
		if state != nil {
			device := proxmox.Device{"path": op.Args["path"]}
			for _, key := range []string{"mode", "uid", "gid", "deny-write"} {
				if op.Args[key] != "" {
					device[key] = op.Args[key]
				}
			}
			f.configure(state, proxmox.Params{"dev" + op.Args["index"]: device.String()})
		}
	}
}

// withOptions adds an operation's options to a mount point.
func withOptions(mp proxmox.MountPoint, args map[string]string, flags ...string) proxmox.MountPoint {
	for _, flag := range flags {
		if args[flag] != "" {
			mp[flag] = args[flag]
		}
	}
	for key, value := range args {
		if name, ok := strings.CutPrefix(key, "option."); ok {
			mp[name] = value
		}
	}
	return mp
}

// mount is what becomes of a mount point of the host. What is on a disk shows only when
// it is mounted: until then its content is unread.
func (f *Forecast) mount(object spec.Ref, op privileged.Op) {
	host, m := f.Node.Host, f.want.Mounts[object.Name]
	if host == nil || m == nil {
		return
	}
	at := slices.IndexFunc(host.Mounts, func(have privileged.Mount) bool { return have.Path == m.Path })
	if at < 0 {
		host.Mounts = append(host.Mounts, privileged.Mount{Path: m.Path})
		at = len(host.Mounts) - 1
	}
	have := &host.Mounts[at]
	if op.Name == "UnmountUSB" {
		if op.Args["uuid"] != "" {
			have.Mounted = false
		}
		if op.Args["fstab"] != "" {
			have.Fstab = nil
		}
		return
	}
	for _, disk := range m.UUIDs {
		if disk.UUID != op.Args["uuid"] {
			continue
		}
		if !have.Mounted || have.Gone {
			have.Options = nil
			f.Node.Unread[m.Ref.Name] = true
		}
		have.Mounted, have.Gone, have.UUID, have.Fstab = true, false, disk.UUID, nil
		if !privileged.Hardened(*have) {
			have.Options = append(slices.Clone(have.Options), "nosuid", "nodev")
		}
		if line := privileged.FstabEntry(questions.MountSpec(host, m, disk)); line != "" {
			have.Fstab = &privileged.FstabLine{Name: m.Ref.Name, Path: m.Path, Text: line}
		}
	}
}
