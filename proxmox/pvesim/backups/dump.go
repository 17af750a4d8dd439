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
	base := dumpName(cl, n, p, g)
	if err := roomFor(t, p, vmid, base); err != nil {
		return guestFailed(cl, t, vmid, err)
	}
	t.Logf("INFO: Starting Backup of VM %s (%s)", vmid, g.Kind())
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
	t.Args["config"] = archiveConfig(g)
	g.Conf.Section.Set("lock", "backup")
	g.Conf.Write()
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
func dumpName(cl *cluster.Cluster, n *world.Node, p *places.Place, g *world.Guest) string {
	if p.Datastore != nil {
		return strings.ToLower(g.Noun()) + "/" + strconv.Itoa(g.VMID) + "/" + cl.Now.UTC().Format(world.SnapshotTime)
	}
	return "vzdump-" + g.Kind() + "-" + strconv.Itoa(g.VMID) + "-" + cl.Now.In(n.Location).Format("2006_01_02-15_04_05")
}

// notNow is why a guest cannot be backed up as it is.
func notNow(cl *cluster.Cluster, t *world.Task, g *world.Guest) error {
	if g.HA == "started" && g.Running && t.Args["mode"] == "stop" {
		return refusal.Fail("Cannot execute a backup with stop mode on a HA managed and enabled Service. Use snapshot mode or disable the Service.")
	}
	if err := guests.CheckLock(g); err != nil {
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
	if g.Qemu { // the process copies its disks itself; one that does not run is started paused
		if !g.Running {
			t.Logf("INFO: starting kvm to execute backup task")
		}
		if g.Running && t.Args["now"] == "stop" {
			t.Logf("INFO: stopping virtual guest")
			guests.Halt(cl, g)
			t.Args["restart"] = "1"
		}
	} else if err := toRest(cl, t, g); err != nil {
		return err
	}
	if p.Datastore != nil {
		return beginSnapshot(cl, t, p, g)
	}
	t.Logf("INFO: creating vzdump archive '%s/dump/%s%s'", p.Storage.Path, t.Args["base"], extension(g, t.Args["compress"]))
	return nil
}

func extension(g *world.Guest, compress string) string {
	kind := ".tar"
	if g.Qemu {
		kind = ".vma"
	}
	switch compress {
	case "zstd":
		return kind + ".zst"
	case "gzip":
		return kind + ".gz"
	case "lzo", "1":
		return kind + ".lzo"
	}
	return kind
}

// archiveConfig is the pct.conf or qemu-server.conf that an archive holds; that of a virtual
// machine says which of its drives are in it.
func archiveConfig(g *world.Guest) string {
	sec := g.Conf.Section.Clone()
	drop := []string{"lock", "parent", "digest"}
	if g.Qemu {
		drop = append(drop, sec.Numbered("unused")...)
	}
	for _, k := range drop {
		sec.Unset(k)
	}
	var b strings.Builder
	sec.Render(&b)
	for _, m := range sec.MountPoints() {
		if id, _, _ := strings.Cut(m.Volid(), ":"); g.Qemu && m.Backed() {
			fmt.Fprintf(&b, "#qmdump#map:%s:drive-%s:%s:raw:\n", m.Key, m.Key, id)
		}
	}
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
