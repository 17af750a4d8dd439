package lifecycle

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

func beginCreate(cl *cluster.Cluster, t *world.Task) error {
	set := t.Request()
	want, _, err := requested(set)
	if err != nil {
		return err
	}
	if len(want) == 0 {
		m, _ := lxcconf.ParseMountPoint("rootfs", t.Args["storage"]+":4")
		want = []wanted{{MountPoint: m, storage: t.Args["storage"], size: 4 << 30}}
	}
	if err := allocate(cl, t, want); err != nil {
		return err
	}
	v, p, err := places.Find(cl, t.Node, t.Args["archive"])
	if err == nil && v == nil {
		err = fmt.Errorf("volume '%s' does not exist", t.Args["archive"])
	}
	if err != nil {
		t.Logf("%s", err.Error())
		return err
	}
	_, name, _ := strings.Cut(t.Args["archive"], ":")
	t.Logf("extracting archive '%s'", p.Storage.File(name))
	t.Args["bytes"] = fmt.Sprint(v.Size * 3)
	return nil
}

func endCreate(cl *cluster.Cluster, t *world.Task, g *world.Guest) error {
	set := t.Request()
	bytes := int64(notation.Atoi(t.Args["bytes"]))
	t.Logf("Total bytes read: %d (%s, 80MiB/s)", bytes, notation.Binary(bytes))
	t.Logf("Detected container architecture: amd64")
	_, later, err := requested(set)
	if err != nil {
		return err
	}
	conf := lxcconf.New()
	for k, v := range set {
		if kind := strings.TrimRight(k, "0123456789"); k == "rootfs" || kind == "mp" {
			continue
		}
		if k != "unprivileged" {
			if v, err = guests.Canonical(cl, t.Node, k, v); err != nil {
				return err
			}
		}
		conf.Section.Set(k, v)
	}
	system := "unmanaged"
	_, name, _ := strings.Cut(t.Args["archive"], ":")
	base := strings.TrimPrefix(name, "vztmpl/")
	if known, _, ok := strings.Cut(base, "-"); ok && schema.Config.Props["ostype"].Check("", known) == "" {
		system = known
	}
	bare := false
	if v, _, _ := places.Find(cl, t.Node, t.Args["archive"]); v != nil {
		system, bare = cmp.Or(v.OS, system), v.Bare
	}
	defaults(conf, t.VMID(), system)
	for _, m := range t.Created() {
		conf.Section.Set(m.Key, m.Text())
		v, _, _ := places.Find(cl, t.Node, m.Volid())
		if v == nil || t.Args["keep:"+m.Key] != "" {
			continue
		}
		if m.Key == "rootfs" {
			v.Data, v.Used, v.Bare = world.Imprint("template", name)+"*", bytes, bare
		}
	}
	for k, v := range later {
		conf.Section.Set(k, v)
	}
	if system == "debian" || system == "ubuntu" {
		for _, key := range []string{"rsa", "ecdsa", "ed25519"} {
			t.Logf("Creating SSH host key 'ssh_host_%s_key' - this may take some time ...", key)
			t.Logf("done: SHA256:%s root@%s", world.Imprint(name, key, t.ID), conf.Vals["hostname"])
		}
	}
	g.Rewrite(conf)
	return guests.WriteRuntime(t.Node, g)
}

// defaults fills in what PVE writes at the end of a creation.
func defaults(conf *lxcconf.Config, vmid int, system string) {
	for k, v := range map[string]string{"hostname": "CT" + strconv.Itoa(vmid), "memory": "512", "swap": "512", "arch": "amd64", "ostype": system} {
		if !conf.Section.Has(k) {
			conf.Section.Set(k, v)
		}
	}
}
