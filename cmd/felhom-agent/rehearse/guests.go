package rehearse

import (
	"context"
	"errors"
	"strconv"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// guests copies the guests of the node. One that cannot be read is left out, and named.
func (c *copier) guests(ctx context.Context) error {
	containers, err := c.View.ListLXC(ctx, c.Name)
	if err != nil {
		return err
	}
	machines, err := c.View.ListQemu(ctx, c.Name)
	if err != nil {
		return err
	}
	for _, g := range append(containers, machines...) {
		conf, err := c.config(ctx, g)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			c.miss("guest %s (%s), whose config cannot be read: %v", g.VMID, g.Name, err)
			continue
		}
		if g.Lock != "" {
			c.miss("the lock %s of guest %s (%s): the copy has it too, and no task that ends it", g.Lock, g.VMID, g.Name)
		}
		c.world.Guests = append(c.world.Guests, &world.Guest{VMID: int(g.VMID), Node: c.Name, Qemu: g.Type == proxmox.QEMU, Born: c.node.Boot, Text: conf.Text()})
		if g.Status == "running" {
			c.running = append(c.running, g.VMID)
		}
	}
	return nil
}

// config reads the config of a guest with what is pending and its snapshots.
func (c *copier) config(ctx context.Context, g proxmox.Guest) (*lxcconf.Config, error) {
	view := c.View.Of(g.Type, c.Name, g.VMID)
	current, err := view.Pending(ctx)
	if err != nil {
		return nil, err
	}
	list, err := view.Snapshots(ctx)
	if err != nil {
		return nil, err
	}
	conf := lxcconf.New()
	conf.Section = *section(current)
	for key, value := range current.Pending {
		conf.Pending.Set(key, value)
	}
	conf.Pending.Del = current.Deleted
	for _, s := range list.Snapshots {
		then, err := view.SnapshotConfig(ctx, s.Name)
		if err != nil {
			var gone *proxmox.APIError
			if errors.As(err, &gone) {
				continue // deleted meanwhile
			}
			return nil, err
		}
		conf.Snaps[s.Name] = section(then)
		conf.Snaps[s.Name].Set("snaptime", strconv.FormatInt(s.Time.Unix(), 10))
		if s.Description != "" {
			conf.Snaps[s.Name].Set("description", s.Description)
		}
		if s.Parent != "" {
			conf.Snaps[s.Name].Set("parent", s.Parent)
		}
		if s.State != "" {
			conf.Snaps[s.Name].Set("snapstate", s.State)
		}
	}
	if list.Parent != "" {
		conf.Set("parent", list.Parent)
	}
	return conf, nil
}

// section is a config as the lines of a file.
func section(have proxmox.GuestConfig) *lxcconf.Section {
	s := lxcconf.NewSection()
	for key, value := range have.Raw {
		switch key {
		case "digest", "lxc":
		default:
			s.Set(key, value)
		}
	}
	s.Raw = have.LXC
	return &s
}
