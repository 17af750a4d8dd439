package backups

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

func beginGuest(cl *cluster.Cluster, t *world.Task) error {
	if t.Args["todo"] == "" {
		return endJob(t)
	}
	vmid, rest, _ := strings.Cut(t.Args["todo"], " ")
	n := t.Node
	g := cl.Guests[notation.Atoi(vmid)]
	if g == nil || g.Node != n.Name {
		t.Args["todo"] = rest
		return guestFailed(cl, t, vmid, fmt.Errorf("unable to find VM '%s'", vmid))
	}
	switch err := guests.LockConfig(cl, t, g.VMID); {
	case errors.Is(err, cluster.ErrWait):
		return err
	case err != nil:
		t.Args["todo"] = rest
		return guestFailed(cl, t, vmid, err)
	}
	defer cl.Unlock(t, cluster.FlockKey(g.VMID))
	t.Args["todo"] = rest
	st := cl.Storages[t.Args["storage"]]
	p, err := places.Of(cl, n, st)
	if err != nil {
		return guestFailed(cl, t, vmid, err)
	}
	base := dumpName(cl, n, p, vmid)
	if err := roomFor(t, p, vmid, base); err != nil {
		return guestFailed(cl, t, vmid, err)
	}
	t.Logf("INFO: Starting Backup of VM %s (lxc)", vmid)
	t.Logf("INFO: Backup started at %s", stamp(cl, n))
	state := "stopped"
	if g.Running {
		state = "running"
	}
	t.Logf("INFO: status = %s", state)
	if err := notNow(cl, t, g); err != nil {
		return guestFailed(cl, t, vmid, err)
	}
	t.Args["vmid"], t.Args["base"], t.Args["began"] = vmid, base, strconv.Itoa(int(cl.Now.Unix()))
	for k := range t.Args {
		if strings.HasPrefix(k, "data:") {
			delete(t.Args, k)
		}
	}
	in := chooseMode(cl, t, g)
	t.Args["config"] = archiveConfig(g.Conf)
	g.Conf.Section.Set("lock", "backup")
	g.Conf.Touch()
	if err := beginRead(cl, t, g, p, in); err != nil {
		t.Phase = 2
		Failed(cl, t, err)
		return nextGuest(cl, t)
	}
	t.Phase = 2
	t.Due = cl.Now.Add(t.Length / time.Duration(max(1, notation.Atoi(t.Args["each"]))))
	return nil
}

// dumpName is the name of the archive or snapshot that is begun now.
func dumpName(cl *cluster.Cluster, n *world.Node, p *places.Place, vmid string) string {
	if p.Datastore != nil {
		return "ct/" + vmid + "/" + cl.Now.UTC().Format(world.SnapshotTime)
	}
	return "vzdump-lxc-" + vmid + "-" + cl.Now.In(n.Location).Format("2006_01_02-15_04_05")
}

// notNow is why a guest cannot be backed up as it is.
func notNow(cl *cluster.Cluster, t *world.Task, g *world.Guest) error {
	if g.HA == "started" && g.Running && t.Args["mode"] == "stop" {
		return refusal.Fail("Cannot execute a backup with stop mode on a HA managed and enabled Service. Use snapshot mode or disable the Service.")
	}
	if err := guests.CheckLock(g.Conf); err != nil {
		return err
	}
	return guests.Writable(cl, t.Node, g.VMID) // else the lock cannot be written
}

// beginRead remembers what is in the volumes, brings them to rest, and begins the archive.
func beginRead(cl *cluster.Cluster, t *world.Task, g *world.Guest, p *places.Place, in []lxcconf.MountPoint) error {
	for _, m := range in {
		v, _, err := places.Find(cl, t.Node, m.Volid())
		if err == nil && v == nil {
			err = fmt.Errorf("volume '%s' does not exist", m.Volid())
		}
		if err != nil {
			return err
		}
		t.Args["data:"+m.Key] = v.Data
	}
	if err := toRest(cl, t, g); err != nil {
		return err
	}
	if p.Datastore != nil {
		return beginSnapshot(cl, t, p, g)
	}
	t.Logf("INFO: creating vzdump archive '%s/dump/%s%s'", p.Storage.Path, t.Args["base"], extension(t.Args["compress"]))
	return nil
}

func extension(compress string) string {
	switch compress {
	case "zstd":
		return ".tar.zst"
	case "gzip":
		return ".tar.gz"
	case "lzo", "1":
		return ".tar.lzo"
	}
	return ".tar"
}

// archiveConfig is the pct.conf that an archive holds.
func archiveConfig(conf *lxcconf.Config) string {
	sec := conf.Section.Clone()
	for _, k := range []string{"lock", "parent", "digest"} {
		sec.Unset(k)
	}
	var b strings.Builder
	sec.Render(&b)
	return b.String()
}

// dumpBytes is what the backup reads.
func dumpBytes(cl *cluster.Cluster, n *world.Node, g *world.Guest, t *world.Task) int64 {
	total := int64(10240)
	for _, m := range g.Conf.MountPoints() {
		if _, in := t.Args["data:"+m.Key]; in {
			if v, _, _ := places.Find(cl, n, m.Volid()); v != nil {
				total += v.Used
			}
		}
	}
	return total
}
