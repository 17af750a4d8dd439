package lifecycle

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/request"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// Convert starts its worker but answers null.
func Convert(c *request.Call) error {
	return c.WithConfig(c.VMID(), func() error { return convert(c) })
}

func convert(c *request.Call) error {
	g, err := c.Guest()
	if err != nil {
		return err
	}
	if err := guests.CheckLock(g); err != nil {
		return err
	}
	switch {
	case len(g.Conf.Snaps) > 0:
		return refusal.Fail("unable to create template, because CT contains snapshots")
	case g.Conf.Vals["template"] == "1":
		return refusal.Fail("you can't convert a CT to template if the CT is already a template")
	case g.Running:
		return refusal.Fail("you can't convert a CT to template if the CT is running")
	}
	c.Cluster.Start(c.Node, "vztemplate", strconv.Itoa(g.VMID), c.Who.ID, 0, nil)
	return nil
}

// RunConvert runs vztemplate.
func RunConvert(cl *cluster.Cluster, t *world.Task) error {
	g, err := guests.TaskGuest(cl, t)
	if err != nil {
		return err
	}
	if t.Phase == 0 {
		if err := guests.LockConfig(cl, t, g.VMID); err != nil {
			return err
		}
		if g.Running {
			return errors.New("you can't convert a CT to template if the CT is running")
		}
		return cl.Then(t, 1)
	}
	renamed := map[string]string{} // PVE writes the config when all volumes have their new names (PVE: LXC.pm, template_create)
	for _, m := range g.Conf.MountPoints() {
		if m.Kind() != "volume" {
			continue
		}
		v, p, err := places.Find(cl, t.Node, m.Volid())
		if err != nil {
			return err
		}
		if v == nil {
			return fmt.Errorf("volume '%s' does not exist", m.Volid())
		}
		id, name, _ := strings.Cut(m.Volid(), ":")
		now := strings.Replace(strings.Replace(name, "subvol-", "basevol-", 1), "vm-", "base-", 1)
		delete(p.Items, name)
		v.Base = true
		p.Items[now] = v
		m.Props["volume"] = id + ":" + now
		renamed[m.Key] = m.Text()
	}
	for key, text := range renamed {
		g.Conf.Section.Set(key, text)
	}
	g.Conf.Section.Set("template", "1")
	g.Conf.Write()
	return cluster.ErrDone
}
