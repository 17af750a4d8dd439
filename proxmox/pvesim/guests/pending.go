package guests

import (
	"errors"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/machine"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// dropIdlePending removes pending values that are in force already. PVE: cleanup_pending.
func dropIdlePending(conf *lxcconf.Config) {
	for _, k := range conf.Pending.Keys() {
		v, _ := conf.Pending.Get(k)
		if now, ok := conf.Section.Get(k); ok && now == v {
			conf.Pending.Unset(k)
		}
	}
}

// ApplyPending moves pending changes into force; the errors are by key.
func ApplyPending(cl *cluster.Cluster, n *world.Node, g *world.Guest, now func(key string, deleted bool) bool) map[string]string {
	conf := g.Conf
	errs := make(map[string]string)
	note := func(key string, err error) {
		verb := "unable to apply pending change " + key + " : "
		if g.Running {
			verb = "unable to hotplug " + key + ": "
		}
		errs[key] = verb + err.Error()
	}
	for _, k := range append([]string(nil), conf.Pending.Del...) {
		if !now(k, true) {
			continue
		}
		if err := applyDelete(cl, n, g, k); err != nil {
			note(k, err)
			continue
		}
		conf.Pending.Del = notation.Without(conf.Pending.Del, k)
	}
	for _, k := range conf.Pending.Keys() {
		if !now(k, false) {
			continue
		}
		v, _ := conf.Pending.Get(k)
		if err := applySet(cl, n, g, k, v); err != nil {
			note(k, err)
			conf.Pending.Unset(k)
			continue
		}
		conf.Pending.Unset(k)
	}
	conf.Touch()
	return errs
}

func applyDelete(cl *cluster.Cluster, n *world.Node, g *world.Guest, key string) error {
	conf := g.Conf
	switch kind := strings.TrimRight(key, "0123456789"); {
	case kind == "mp" && key != kind, lxcconf.IsDrive(key):
		if m, err := lxcconf.ParseMountPoint(key, conf.Vals[key]); err == nil && m.Kind() == "volume" {
			delete(conf.Vals, key)
			ParkVolume(cl, g, m.Volid())
		}
	case kind == "unused" && key != kind:
		volid := conf.Vals[key]
		for _, snap := range conf.Snaps {
			for _, m := range snap.MountPoints() {
				if m.Volid() == volid {
					conf.Section.Unset(key) // the line goes, the volume stays (measured on zfs and lvm-thin, 9.2.11)
					return nil
				}
			}
		}
		if Owns(cl, g, volid) {
			if _, err := places.Free(cl, n, volid); err != nil {
				return err
			}
		}
	}
	conf.Section.Unset(key)
	return nil
}

// Owns reports whether a volume's name says that it is the guest's.
func Owns(cl *cluster.Cluster, g *world.Guest, volid string) bool {
	id, name, _ := strings.Cut(volid, ":")
	st := cl.Storages[id]
	if st == nil {
		return false
	}
	_, owner, err := st.KindOf(name)
	return err == nil && owner == g.VMID
}

// ParkVolume keeps a volume that is no longer mounted as unusedN.
func ParkVolume(cl *cluster.Cluster, g *world.Guest, volid string) {
	conf := g.Conf
	if schema.VolumeKind(volid) != "volume" || !Owns(cl, g, volid) {
		return
	}
	for _, m := range conf.Section.MountPoints() {
		if m.Volid() == volid {
			return
		}
	}
	for i := 0; i < 256; i++ {
		k := "unused" + strconv.Itoa(i)
		if conf.Vals[k] == volid {
			return
		}
		if conf.Vals[k] == "" {
			conf.Vals[k] = volid
			return
		}
	}
}

func applySet(cl *cluster.Cluster, n *world.Node, g *world.Guest, key, v string) error {
	conf := g.Conf
	if lxcconf.IsDrive(key) {
		return applyDrive(cl, n, g, key, v)
	}
	if kind := strings.TrimRight(key, "0123456789"); kind != "mp" || key == kind {
		if kind == "net" && g.Running && !g.Qemu && bridgeless(v) {
			return errors.New("unable to get bridge setting")
		}
		conf.Section.Set(key, v)
		return nil
	}
	m, err := lxcconf.ParseMountPoint(key, v)
	if err != nil {
		return err
	}
	if m.Kind() == "volume" {
		if d := schema.NewDiskRE.FindStringSubmatch(m.Volid()); d != nil {
			size := notation.ParseSize(d[2] + "G")
			volid, _, err := places.Alloc(cl, n, g.VMID, d[1], size)
			if err != nil {
				return err
			}
			m.Props["volume"], m.Props["size"] = volid, notation.FormatSize(size)
		} else if vol, p, err := places.Find(cl, n, m.Volid()); err == nil && vol != nil {
			m.Props["size"] = notation.FormatSize(vol.Size)
		} else if g.Running { // a hot mount wants it now, not at the next start
			if err == nil {
				err = p.Missing(m.Volid())
			}
			return err
		}
	}
	old, had := conf.Vals[key]
	conf.Vals[key] = m.Text()
	if had {
		if was, err := lxcconf.ParseMountPoint(key, old); err == nil && was.Volid() != m.Volid() {
			ParkVolume(cl, g, was.Volid())
		}
	}
	for _, u := range conf.Numbered("unused") {
		if conf.Vals[u] == m.Volid() {
			delete(conf.Vals, u)
		}
	}
	if g.Running {
		if h, err := machine.HoldOf(cl, n, m); err != nil {
			return err
		} else {
			g.Holds = append(g.Holds, h)
		}
	}
	return nil
}
