package backups

import (
	"slices"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/snapshots"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// toRest brings a guest's volumes to rest, by the mode.
func toRest(cl *cluster.Cluster, t *world.Task, g *world.Guest) error {
	switch t.Args["now"] {
	case "snapshot":
		t.Logf("INFO: create storage snapshot 'vzdump'")
		snapshots.Prepare(cl, g, "vzdump", "vzdump backup snapshot")
		lines, err := snapshots.SnapVolumes(cl, t.Node, g, "vzdump")
		t.Log = append(t.Log, lines...)
		snapshots.Commit(g, "vzdump")
		g.Conf.Section.Set("lock", "backup")
		return err
	case "suspend":
		t.Logf("INFO: starting first sync /proc/%d/root/ to /var/tmp/vzdumptmp%d_%s", g.PID, t.PID, t.Args["vmid"])
		t.Logf("INFO: first sync finished - transferred %d bytes in 1s", dumpBytes(cl, t.Node, g, t))
		t.Logf("INFO: suspending guest")
		t.Logf("INFO: starting final sync /proc/%d/root/ to /var/tmp/vzdumptmp%d_%s", g.PID, t.PID, t.Args["vmid"])
		t.Logf("INFO: final sync finished - transferred 0 bytes in 1s")
		t.Logf("INFO: resuming guest")
		t.Logf("INFO: guest is online again after 1 seconds")
	case "stop":
		if g.Running {
			t.Logf("INFO: stopping virtual guest")
			guests.Halt(cl, g)
			t.Args["restart"] = "1"
		}
	}
	return nil
}

// vmMode logs the mode of a backup of a virtual machine, and which of its drives are in it.
func vmMode(t *world.Task, g *world.Guest) []lxcconf.MountPoint {
	mode := t.Args["mode"]
	if mode == "" {
		mode = "snapshot"
	}
	if !g.Running {
		mode = "stop"
	}
	t.Args["now"] = mode
	t.Logf("INFO: backup mode: %s", mode)
	t.Logf("INFO: ionice priority: 7")
	t.Logf("INFO: VM Name: %s", g.Name())
	var in []lxcconf.MountPoint
	for _, m := range g.Conf.MountPoints() {
		if !m.Backed() {
			t.Logf("INFO: exclude disk '%s' '%s' (backup=no)", m.Key, m.Volid())
			continue
		}
		t.Logf("INFO: include disk '%s' '%s' %s", m.Key, m.Volid(), m.Props["size"])
		in = append(in, m)
	}
	return in
}

// chooseMode logs the mode and what is in the backup. A stopped guest is always in mode
// stop; snapshot falls back to suspend when a volume cannot.
func chooseMode(cl *cluster.Cluster, t *world.Task, g *world.Guest) []lxcconf.MountPoint {
	if g.Qemu {
		return vmMode(t, g)
	}
	mode := t.Args["mode"]
	if mode == "" {
		mode = "snapshot"
	}
	var in []lxcconf.MountPoint
	able := true
	for _, m := range g.Conf.MountPoints() {
		if m.Kind() != "volume" || m.Key != "rootfs" && m.Props["backup"] != "1" {
			continue
		}
		in = append(in, m)
		id, _, _ := strings.Cut(m.Volid(), ":")
		if st := cl.Storages[id]; st == nil || !st.CanSnapshot() {
			able = false
		}
	}
	name := func() {
		t.Logf("INFO: CT Name: %s", g.Name())
		for _, m := range g.Conf.MountPoints() {
			if slices.ContainsFunc(in, func(i lxcconf.MountPoint) bool { return i.Key == m.Key }) {
				t.Logf("INFO: including mount point %s ('%s') in backup", m.Key, m.Path)
				continue
			}
			why := "disabled"
			if m.Kind() != "volume" {
				why = "not a volume"
			}
			t.Logf("INFO: excluding %s mount point %s ('%s') from backup (%s)", m.Kind(), m.Key, m.Path, why)
		}
	}
	if !g.Running {
		mode = "stop"
	}
	if mode == "snapshot" {
		name()
		if !able {
			t.Logf("INFO: mode failure - some volumes do not support snapshots")
			t.Logf("INFO: trying 'suspend' mode instead")
			mode = "suspend"
			t.Logf("INFO: backup mode: suspend")
			t.Logf("INFO: ionice priority: 7")
			name()
		} else {
			t.Logf("INFO: backup mode: snapshot")
			t.Logf("INFO: ionice priority: 7")
		}
	} else {
		t.Logf("INFO: backup mode: %s", mode)
		t.Logf("INFO: ionice priority: 7")
		name()
	}
	t.Args["now"] = mode
	return in
}
