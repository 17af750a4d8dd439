package forecast

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile/marker"
	"github.com/felhom/felhom-agent/reconcile/node"
	"github.com/felhom/felhom-agent/reconcile/planning/questions"
	"github.com/felhom/felhom-agent/reconcile/text"
	"github.com/felhom/felhom-agent/spec"
)

// restore makes a guest of an archive.
func (f *Forecast) restore(params proxmox.Params) {
	vmid, err := proxmox.ParseVMID(params["vmid"])
	if err != nil {
		return
	}
	inside := f.Node.Inside[params["ostemplate"]].Config
	raw := map[string]string{}
	for key, value := range inside.Raw {
		volume := key == "rootfs" || strings.HasPrefix(key, "mp")
		if strings.HasPrefix(key, "unused") || key == "lock" || key == "parent" || volume && key != "rootfs" && params["rootfs"] != "" {
			continue
		}
		if mp, err := proxmox.ParseMountPoint(value); volume && err == nil && mp.Kind() == proxmox.VolumeMount {
			mp["volume"] = fmt.Sprintf("%s:vm-%d-%s", text.OrElse(params["storage"], text.ProxmoxStorage(mp.Volume())), vmid, key)
			value = mp.String()
		}
		raw[key] = value
	}
	f.make(proxmox.LXC, vmid, raw, inside.LXC)
	state := f.Node.Guests[vmid]
	for key, value := range params {
		switch key {
		case "vmid", "ostemplate", "restore", "storage", "pool", "force", "unique", "ignore-unpack-errors", "start", "bwlimit":
		default:
			if key == "rootfs" || strings.HasPrefix(key, "mp") {
				value = f.placed(state, key, value)
			}
			state.Config.Raw[key] = value
		}
	}
}

// restoreVM makes a virtual machine of an archive: with the drives that are in it.
func (f *Forecast) restoreVM(params proxmox.Params) {
	vmid, err := proxmox.ParseVMID(params["vmid"])
	if err != nil {
		return
	}
	inside := f.Node.Inside[params["archive"]].Config
	raw := map[string]string{}
	drives := inside.Drives()
	for key, value := range inside.Raw {
		drive, isDrive := drives[key]
		if strings.HasPrefix(key, "unused") || key == "lock" || key == "parent" || isDrive && !drive.Backup() {
			continue
		}
		if isDrive {
			value = fmt.Sprintf("%s:vm-%d-%s,size=%s", text.OrElse(params["storage"], text.ProxmoxStorage(drive.Volume())), vmid, key, drive["size"])
		}
		raw[key] = value
	}
	for key, value := range params {
		if key != "vmid" && key != "archive" && key != "storage" && key != "pool" {
			raw[key] = value
		}
	}
	f.make(proxmox.QEMU, vmid, raw, nil)
}

// make adds a stopped guest.
func (f *Forecast) make(t proxmox.GuestType, vmid proxmox.VMID, raw map[string]string, lxc [][2]string) {
	f.Node.Guests[vmid] = &node.GuestState{
		Guest:     proxmox.Guest{VMID: vmid, Type: t, Name: text.OrElse(raw["hostname"], raw["name"]), Status: "stopped"},
		Config:    &proxmox.GuestConfig{VMID: vmid, Type: t, Raw: raw, Pending: map[string]string{}, LXC: lxc},
		Snapshots: &proxmox.SnapshotList{},
	}
	f.guests[vmid] = true
	delete(f.Node.Memory.Making, vmid)
}

// Sketch makes a guest of which no archive can be read yet, as its YAML describes it.
func (f *Forecast) Sketch(g *spec.Guest) {
	m := marker.Marker{Object: g.Ref.Name, VMID: g.VMID, Owner: f.Node.Owner, Born: f.Node.Now}
	text := ""
	if g.Config.Description != nil {
		text = *g.Config.Description
	}
	raw := wishedConfig(g, f.Node.Owner)
	raw["description"] = marker.Describe(text, m)
	f.make(g.Type, g.VMID, raw, nil)
	f.Node.Memory.Made[g.Ref.String()] = f.Node.Now
}

// wishedConfig is a config that has all that is declared and that a creation sets: no
// binds, devices and protection.
func wishedConfig(g *spec.Guest, owner string) map[string]string {
	if g.Type.VM() {
		return wishedVM(g, owner)
	}
	raw := map[string]string{"hostname": g.Hostname(), "unprivileged": "1",
		"rootfs": fmt.Sprintf("%s:vm-%d-rootfs,size=%s", g.Storage, g.VMID, max(g.RootFS.Size, proxmox.GiB))}
	for key, value := range g.Config.Values {
		if value != "" && key != "protection" {
			raw[key] = value
		}
	}
	for i, declared := range g.Config.Nets {
		net := proxmox.Net{"name": "eth" + strconv.Itoa(i), "hwaddr": questions.Mac(owner, g.VMID, i)}
		maps.Copy(net, declared)
		raw[fmt.Sprintf("net%d", i)] = net.String()
	}
	for i, declared := range g.Config.Mounts {
		if !declared.Bind() && declared.Volume == "" {
			mp := questions.MountOptions(declared)
			mp["volume"], mp["size"] = fmt.Sprintf("%s:vm-%d-mp%d", declared.Storage, g.VMID, i), declared.Size.String()
			raw[fmt.Sprintf("mp%d", i)] = mp.String()
		}
	}
	if len(g.Config.Startup) > 0 {
		raw["startup"] = g.Config.Startup.String()
	}
	if len(g.Config.Features) > 0 {
		raw["features"] = g.Config.Features.String()
	}
	if tags := questions.AddTags("", g.Config.Tags); tags != "" {
		raw["tags"] = tags
	}
	return raw
}

// wishedVM is wishedConfig for a virtual machine, with the disks that are declared.
func wishedVM(g *spec.Guest, owner string) map[string]string {
	raw := map[string]string{"name": g.Hostname()}
	for key, value := range g.Config.Values {
		if value != "" && key != "protection" {
			raw[key] = value
		}
	}
	for i, declared := range g.Config.Nets {
		net := proxmox.Net{"model": "virtio", "hwaddr": questions.Mac(owner, g.VMID, i)}
		maps.Copy(net, declared)
		raw[fmt.Sprintf("net%d", i)] = net.String()
	}
	for key, size := range g.Config.Drives {
		raw[key] = fmt.Sprintf("%s:vm-%d-%s,size=%s", g.Storage, g.VMID, key, size)
	}
	if tags := questions.AddTags("", g.Config.Tags); tags != "" {
		raw["tags"] = tags
	}
	return raw
}
