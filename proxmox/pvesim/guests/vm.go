package guests

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/storages"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// configOf are the keys of a guest's config, by its type.
func configOf(qemu bool) *schema.Schema {
	if qemu {
		return schema.Machine
	}
	return schema.Config
}

// updateVM is a change of a virtual machine's config: PUT carries it out at once, POST has a task
// do it. PVE: API2/Qemu update_vm_api.
func updateVM(c *request.Call, g *world.Guest, set map[string]string, del, revert []string) error {
	if err := MayModifyVM(c.Cluster, c.Who, g.VMID, "", &g.Conf.Section, set, append(slices.Clone(del), revert...)); err != nil {
		return err
	}
	if c.Method == "PUT" {
		return change(c.Cluster, c.Node, g, set, del, revert)
	}
	args := map[string]string{"digest": g.Conf.Sum(), "delete": strings.Join(del, ","), "revert": strings.Join(revert, ",")}
	if c.Param("digest") == "" {
		delete(args, "digest")
	}
	for k, v := range set {
		args["p:"+k] = v
	}
	return c.Worker("vzconfig", args)
}

// RunConfig runs qmconfig: the digest and the lock are looked at again.
func RunConfig(cl *cluster.Cluster, t *world.Task) error {
	g, err := TaskGuest(cl, t)
	if err != nil {
		return err
	}
	if err := LockConfig(cl, t, g.VMID); err != nil {
		return err
	}
	if t.Phase == 0 && t.Length > 0 && t.Args["began"] == "" {
		t.Args["began"] = "1"
		return cl.Then(t, 0.5)
	}
	if err := CheckLock(g); err != nil {
		return err
	}
	if err := SameDigest(g, t.Args["digest"]); err != nil {
		return err
	}
	if err := change(cl, t.Node, g, t.Request(), notation.SplitList(t.Args["delete"]), notation.SplitList(t.Args["revert"])); err != nil {
		return err
	}
	t.Logf("update VM %d: %s", g.VMID, strings.Join(slices.Sorted(maps.Keys(t.Request())), " "))
	return cluster.ErrDone
}

// vmKeys are the privileges of the keys of a virtual machine's config. PVE: API2/Qemu,
// check_vm_modify_config_perm; a key that is in none is for root alone.
var vmKeys = map[string]string{
	"VM.Config.CPU":       "cores cpu cpulimit cpuunits numa sockets vcpus smp",
	"VM.Config.Memory":    "memory balloon shares",
	"VM.Config.HWType":    "acpi hotplug kvm machine scsihw smbios1 tablet vga watchdog audio0 rng0 vmgenid",
	"VM.Config.Options":   "agent autostart bios description keyboard localtime name onboot ostype protection reboot startdate tdf template tags",
	"VM.Config.Disk":      "boot bootdisk vmstatestorage",
	"VM.Config.Cloudinit": "cicustom cipassword citype ciuser ciupgrade nameserver searchdomain sshkeys",
	"VM.Config.Network":   "net ipconfig",
}

// MayModifyVM checks the rights for new or deleted keys of a virtual machine's config; conf is
// what it has, nil at its creation.
func MayModifyVM(cl *cluster.Cluster, w *rights.Subject, vmid int, pool string, conf *lxcconf.Section, set map[string]string, del []string) error {
	if w.Root() {
		return nil
	}
	for _, key := range append(slices.Sorted(maps.Keys(set)), del...) {
		kind := strings.TrimRight(key, "0123456789")
		priv := ""
		for p, keys := range vmKeys {
			if slices.Contains(strings.Fields(keys), key) || kind != key && slices.Contains(strings.Fields(keys), kind) {
				priv = p
			}
		}
		switch {
		case key == "startup": // it changes what the host does
			if err := cl.Rights.Need(w, "/", "Sys.Modify"); err != nil {
				return err
			}
			priv = "VM.Config.Options"
		case lxcconf.IsDrive(key) || kind == "unused" && kind != key:
			priv = "VM.Config.Disk"
		case kind == "serial" && set[key] == "socket":
			priv = "VM.Config.HWType"
		case priv == "":
			return refusal.Fail("only root can set '%s' config", key)
		}
		if pool == "" || !cl.Rights.Can(w, "/pool/"+pool, priv) {
			if err := cl.Rights.Need(w, rights.OnVM(vmid), priv); err != nil {
				return err
			}
		}
		if err := vmValueAccess(cl, w, vmid, conf, key, set[key]); err != nil {
			return err
		}
	}
	return nil
}

// vmValueAccess checks what a value names: bridges and volumes.
func vmValueAccess(cl *cluster.Cluster, w *rights.Subject, vmid int, conf *lxcconf.Section, key, v string) error {
	switch kind := strings.TrimRight(key, "0123456789"); {
	case kind == "net" && kind != key:
		if conf != nil {
			if err := BridgeAccess(cl, w, conf.Vals[key]); err != nil {
				return err
			}
		}
		return BridgeAccess(cl, w, v)
	case lxcconf.IsDrive(key) && v != "":
		m, err := lxcconf.ParseMountPoint(key, v)
		if err != nil {
			return refusal.Fail("%s", err.Error())
		}
		if d := schema.NewDiskRE.FindStringSubmatch(m.Volid()); d != nil {
			return cl.Rights.Need(w, rights.OnStorage(d[1]), "Datastore.AllocateSpace")
		}
		if m.Props["media"] != "cdrom" {
			return storages.VolumeAccess(cl, w, vmid, m.Volid(), "images")
		}
	}
	return nil
}

// canonicalOf is a value as PVE stores it for a guest.
func canonicalOf(cl *cluster.Cluster, n *world.Node, g *world.Guest, key, v string) (string, error) {
	if g.Qemu {
		return CanonicalVM(cl, key, v)
	}
	return Canonical(cl, n, key, v)
}

// CanonicalVM is a value of a virtual machine's config as PVE stores it.
func CanonicalVM(cl *cluster.Cluster, key, v string) (string, error) {
	switch kind := strings.TrimRight(key, "0123456789"); {
	case kind == "net" && key != kind:
		text, err := schema.VMNetText(v, MAC(cl))
		if err != nil {
			return "", refusal.Fail("%s", err.Error())
		}
		return text, nil
	case key == "tags":
		return lxcconf.CanonicalTags(v), nil
	}
	return v, nil
}

// liveVM are the keys that a running virtual machine takes at once. PVE: QemuServer
// vmconfig_hotplug_pending; hotplug is network,disk,usb unless the config says otherwise.
var liveVM = []string{"description", "hookscript", "name", "onboot", "protection", "shares", "startup", "tags", "vmstatestorage", "cpuunits", "cpulimit", "lock"}

func hotplugsVM(g *world.Guest, key string) bool {
	allowed := g.Conf.Vals["hotplug"]
	if allowed == "" || allowed == "1" {
		allowed = "network,disk,usb"
	}
	has := func(word string) bool { return slices.Contains(strings.Split(allowed, ","), word) }
	switch kind := strings.TrimRight(key, "0123456789"); {
	case slices.Contains(liveVM, key):
		return true
	case kind == "net":
		return has("network")
	case kind == "scsi", kind == "virtio":
		return has("disk")
	case kind == "unused":
		return true
	}
	return false
}

// applyDrive puts a drive in force: a new one is allocated, one that it replaces becomes unused.
func applyDrive(cl *cluster.Cluster, n *world.Node, g *world.Guest, key, v string) error {
	m, err := lxcconf.ParseMountPoint(key, v)
	if err != nil {
		return err
	}
	if d := schema.NewDiskRE.FindStringSubmatch(m.Volid()); d != nil {
		size := notation.ParseSize(d[2] + "G")
		volid, err := places.AllocImage(cl, n, g.VMID, d[1], size)
		if err != nil {
			return err
		}
		m.Props["volume"], m.Props["size"] = volid, notation.FormatSize(size)
	}
	old, had := g.Conf.Vals[key]
	g.Conf.Vals[key] = m.Text()
	if had {
		if was, err := lxcconf.ParseMountPoint(key, old); err == nil && was.Volid() != m.Volid() {
			ParkVolume(cl, g, was.Volid())
		}
	}
	for _, u := range g.Conf.Numbered("unused") {
		if g.Conf.Vals[u] == m.Volid() {
			delete(g.Conf.Vals, u)
		}
	}
	return nil
}

// vmStartable: the drives and bridges that a virtual machine needs to start.
func vmStartable(cl *cluster.Cluster, n *world.Node, g *world.Guest) error {
	for _, m := range g.Conf.MountPoints() {
		v, p, err := places.Find(cl, n, m.Volid())
		if err != nil {
			return err
		}
		if v == nil {
			return p.Missing(m.Volid())
		}
	}
	for _, k := range g.Conf.Numbered("net") {
		if p, err := schema.VMNet.Parse(g.Conf.Vals[k], ""); err == nil && p["bridge"] != "" && !slices.Contains(n.Bridges, p["bridge"]) {
			return errors.New("bridge '" + p["bridge"] + "' does not exist")
		}
	}
	if need := g.MemoryLimit(); need > n.Memory {
		return fmt.Errorf("start failed: QEMU exited with code 1: cannot set up guest memory 'pc.ram': Cannot allocate memory (%d)", need)
	}
	return nil
}

// AgentPing answers POST agent/ping: only a running guest with agent enabled answers.
func AgentPing(c *request.Call) error {
	g, err := c.Guest()
	switch {
	case err != nil:
		return err
	case !g.Running:
		return refusal.Fail("VM %d is not running", g.VMID)
	case !strings.HasPrefix(g.Conf.Vals["agent"], "1") && !strings.Contains(g.Conf.Vals["agent"], "enabled=1"):
		return refusal.Fail("No QEMU guest agent configured")
	}
	c.Data().Open().Key("result").Open().Close().Close()
	return nil
}
