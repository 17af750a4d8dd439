package volumes

import (
	"errors"
	"fmt"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Resize is PUT resize. PVE: resize_vm.
func Resize(c *request.Call) error {
	cl, key := c.Cluster, c.Param("disk")
	g, err := c.Guest()
	if err != nil {
		return err
	}
	if err := mayResize(cl, c, g); err != nil {
		return err
	}
	if err := guests.CheckLock(g); err != nil {
		return err
	}
	if err := guests.SameDigest(g, c.Param("digest")); err != nil {
		return err
	}
	m, err := lxcconf.ParseMountPoint(key, g.Conf.Vals[key])
	if err != nil {
		errs := map[string]string{"volume": schema.Missing}
		if key != "rootfs" {
			errs["mp"] = schema.Missing
		}
		return &refusal.Refusal{Code: 500, Text: "format error", Errors: errs}
	}
	if m.Kind() != "volume" {
		return refusal.Fail("can't resize mount point of type %s", m.Kind())
	}
	id, name, _ := strings.Cut(m.Volid(), ":")
	st, err := places.StorageOn(cl, c.Node, id)
	if err != nil {
		return err
	}
	if _, owner, _ := st.KindOf(name); owner != g.VMID {
		return refusal.Fail("can't resize mount point owned by another container (%d)", owner)
	}
	if err := cl.Rights.Need(c.Who, rights.OnStorage(id), "Datastore.AllocateSpace"); err != nil {
		return err
	}
	v, p, err := places.Find(cl, c.Node, m.Volid())
	if err != nil {
		return err
	}
	if v == nil {
		return refusal.Fail("no such logical volume %s/%s", p.Storage.VolumeGroup(), name)
	}
	text, plus := strings.CutPrefix(c.Param("size"), "+")
	size := notation.ParseSize(text)
	if plus {
		size += v.Size
	}
	size = (size + 511) / 512 * 512
	if size < v.Size {
		return refusal.Fail("unable to shrink disk size")
	}
	if size == v.Size {
		return refusal.Fail("disk is already at specified size")
	}
	return c.Worker("resize", map[string]string{"disk": key, "size": fmt.Sprint(size)})
}

// mayResize: the in-handler check sees the parameter's name "disk" and falls to its
// default branch, so Options is needed too.
func mayResize(cl *cluster.Cluster, c *request.Call, g *world.Guest) error {
	if err := cl.Rights.Need(c.Who, rights.OnVM(g.VMID), "VM.Config.Disk"); err != nil {
		return err
	}
	if g.Qemu {
		return nil
	}
	return cl.Rights.Need(c.Who, rights.OnVM(g.VMID), "VM.Config.Options")
}

// RunResize runs resize.
func RunResize(cl *cluster.Cluster, t *world.Task) error {
	g, err := guests.TaskGuest(cl, t)
	if err != nil {
		return err
	}
	if t.Phase == 0 {
		if err := guests.LockConfig(cl, t, g.VMID); err != nil {
			return err
		}
		if err := guests.CheckLock(g); err != nil {
			return err
		}
		return cl.Then(t, 1)
	}
	key := t.Args["disk"]
	m, err := lxcconf.ParseMountPoint(key, g.Conf.Vals[key])
	if err != nil {
		return errors.New("format error")
	}
	v, p, err := places.Find(cl, t.Node, m.Volid())
	if err != nil {
		return err
	}
	if v == nil {
		return fmt.Errorf("volume '%s' does not exist", m.Volid())
	}
	var size int64
	_, _ = fmt.Sscan(t.Args["size"], &size)
	if p.Storage.IsDir() {
		if size-v.Size > p.Avail() {
			return errors.New("command 'truncate' failed: No space left on device")
		}
		t.Logf("Image resized.")
		t.Logf("e2fsck 1.47.2 (1-Jan-2025)")
	} else {
		_, name, _ := strings.Cut(m.Volid(), ":")
		t.Logf("  Size of logical volume %s/%s changed from %s to %s.", p.Storage.VolumeGroup(), name, notation.FormatSize(v.Size), notation.FormatSize(size))
		t.Logf("  Logical volume %s/%s successfully resized.", p.Storage.VolumeGroup(), name)
	}
	v.Size = size
	m.Props["size"] = notation.FormatSize(size)
	g.Conf.Section.Set(key, m.Text())
	g.Conf.Write()
	return cluster.ErrDone
}
