package lifecycle

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/rights"
	"github.com/felhom/felhom-agent/proxmox/pvesim/schema"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// A wanted is one volume that a creation makes.
type wanted struct {
	lxcconf.MountPoint
	storage string
	size    int64
}

// RunCreate is the worker of a creation and of a restore.
func RunCreate(cl *cluster.Cluster, t *world.Task) error {
	g, err := guests.TaskGuest(cl, t)
	if err != nil {
		return err
	}
	if t.Phase == 0 {
		if t.Type == "vzrestore" {
			err = beginRestore(cl, t, g)
		} else {
			err = beginCreate(cl, t)
		}
		if err != nil {
			return err
		}
		if t.Type == "vzrestore" {
			return cl.Then(t, 0.1)
		}
		return cl.Then(t, 1)
	}
	if t.Type == "vzrestore" && t.Phase == 1 {
		if err := openArchive(cl, t); err != nil {
			return err
		}
		return cl.Then(t, 0.9)
	}
	if t.Type == "vzrestore" {
		err = endRestore(cl, t, g)
	} else {
		err = endCreate(cl, t, g)
	}
	if err != nil {
		return err
	}
	if p := cl.World.Pool(t.Args["pool"]); p != nil && !slices.Contains(p.VMs, g.VMID) { // with the whole config (measured, 9.2.11)
		p.VMs = append(p.VMs, g.VMID)
		cl.Rights.Forget()
	}
	g.Conf.Write() // the lock goes with a write of its own
	g.Filled = cl.Now.Unix()
	if t.Args["start"] == "1" { // a task of its own, whose end is not this one's
		cl.Start(t.Node, "vzstart", t.ID, t.User, 0, nil)
	}
	return cluster.ErrDone
}

// allocate makes the volumes that are wanted and notes them in the task: what is
// noted is freed when it fails.
func allocate(cl *cluster.Cluster, t *world.Task, want []wanted) error {
	for _, w := range want {
		if w.storage == "" { // a volume that is there already
			t.Args["new:"+w.Key], t.Args["keep:"+w.Key] = w.Text(), "1"
			continue
		}
		volid, lines, err := places.Alloc(cl, t.Node, t.VMID(), w.storage, w.size)
		if err != nil {
			return err
		}
		t.Log = append(t.Log, lines...)
		w.Props["volume"], w.Props["size"] = volid, notation.FormatSize(w.size)
		t.Args["new:"+w.Key] = w.Text()
	}
	return nil
}

// requested are the mount points of the request; binds and devices come apart, since
// they are put in after the unpacking.
func requested(set map[string]string) (want []wanted, later map[string]string, err error) {
	later = make(map[string]string)
	for k, v := range set {
		kind := strings.TrimRight(k, "0123456789")
		if k != "rootfs" && (kind != "mp" || k == kind) {
			continue
		}
		m, err := lxcconf.ParseMountPoint(k, v)
		if err != nil {
			return nil, nil, err
		}
		if m.Kind() != "volume" {
			later[k] = m.Text()
			continue
		}
		w := wanted{MountPoint: m}
		if d := schema.NewDiskRE.FindStringSubmatch(m.Volid()); d != nil {
			w.storage, w.size = d[1], notation.ParseSize(d[2]+"G")
		} else {
			w.storage = "" // an existing volume
		}
		want = append(want, w)
	}
	sort.Slice(want, func(i, j int) bool { return lxcconf.MpOrder(want[i].Key) < lxcconf.MpOrder(want[j].Key) })
	return want, later, nil
}

// beginRestore recovers the config, checks what only the archive could tell, and
// makes the volumes; over an existing guest it then destroys the old ones.
func beginRestore(cl *cluster.Cluster, t *world.Task, g *world.Guest) error {
	archive := t.Args["archive"]
	t.Logf("recovering backed-up configuration from '%s'", archive)
	v, p, err := places.Find(cl, t.Node, archive)
	if err != nil {
		return err
	}
	if v == nil {
		return fmt.Errorf("volume '%s' does not exist", archive)
	}
	if err := p.LacksKey(v); err != nil {
		return err
	}
	if v.Garbage || v.Unfinished {
		t.Logf("zstd: /*stdin*\\: unsupported format ")
		t.Logf("tar: Child returned status 1")
		t.Logf("tar: Error is not recoverable: exiting now")
		return errors.New("ERROR: archive contains no configuration file")
	}
	who := cl.Rights.Subject(t.User)
	if who == nil {
		return errors.New("no such user")
	}
	old, set := lxcconf.Parse(v.Config), t.Request()
	if err := mayRestore(cl, t, who, g, old, set); err != nil {
		return err
	}
	want, _, err := requested(set)
	if err != nil {
		return err
	}
	if _, given := set["rootfs"]; !given {
		if want, err = fromArchive(t, who, old); err != nil {
			return err
		}
	}
	var before []string
	if t.Args["over"] == "1" {
		before = volumesOf(cl, g)
	}
	if err := allocate(cl, t, want); err != nil {
		return err
	}
	for _, volid := range before {
		lines, err := places.Free(cl, t.Node, volid)
		if err != nil {
			t.Logf("%s", err.Error())
		}
		t.Log = append(t.Log, lines...)
	}
	if t.Args["over"] == "1" {
		t.Args["destroyed"] = "1"
	}
	t.Logf("restoring '%s' now..", archive)
	return nil
}

// mayRestore checks what only the archive could tell: its bridges, and whether it is privileged.
func mayRestore(cl *cluster.Cluster, t *world.Task, who *rights.Subject, g *world.Guest, old *lxcconf.Config, set map[string]string) error {
	for _, k := range old.Numbered("net") {
		if _, given := set[k]; !given {
			if err := guests.BridgeAccess(cl, who, old.Vals[k]); err != nil {
				return err
			}
		}
	}
	unprivileged := old.Vals["unprivileged"] == "1"
	if u, ok := set["unprivileged"]; ok {
		unprivileged = u == "1"
	}
	if !unprivileged && !(t.Args["over"] == "1" && g.Conf.Vals["unprivileged"] != "1") {
		if err := cl.Rights.Need(who, "/", "Sys.Modify"); err != nil {
			return err
		}
	}
	return nil
}

// openArchive lets tar open the archive: deleted since its config was read, it is gone.
func openArchive(cl *cluster.Cluster, t *world.Task) error {
	archive := t.Args["archive"]
	v, p, err := places.Find(cl, t.Node, archive)
	if err != nil {
		return err
	}
	if v == nil {
		return fmt.Errorf("volume '%s' does not exist", archive)
	}
	_, name, _ := strings.Cut(archive, ":")
	if p.Datastore == nil {
		t.Logf("extracting archive '%s'", p.Storage.File(name))
	}
	return nil
}

// fromArchive are the volumes of the archive's config, to be made on one storage.
func fromArchive(t *world.Task, who *rights.Subject, old *lxcconf.Config) ([]wanted, error) {
	var want []wanted
	for _, m := range old.MountPoints() {
		if m.Kind() != "volume" {
			if !who.Root() {
				return nil, fmt.Errorf("restoring '%s' to %s mount is only possible for root", m.Key, m.Kind())
			}
			t.Args["later:"+m.Key] = m.Text()
			continue
		}
		if m.Props["size"] == "" {
			return nil, fmt.Errorf("unable to detect disk size - please specify %s (size)", m.Key)
		}
		want = append(want, wanted{MountPoint: m, storage: t.Args["storage"], size: notation.ParseSize(m.Props["size"])})
	}
	return want, nil
}

// volumesOf are all volumes that belong to a guest: mounted, unused, pending and in
// snapshots, as far as their names say that they are its own.
func volumesOf(cl *cluster.Cluster, g *world.Guest) []string {
	var all []string
	take := func(volid string) {
		if schema.VolumeKind(volid) == "volume" && guests.Owns(cl, g, volid) && !slices.Contains(all, volid) {
			all = append(all, volid)
		}
	}
	sections := []*lxcconf.Section{&g.Conf.Section, &g.Conf.Pending}
	for _, name := range slices.Sorted(maps.Keys(g.Conf.Snaps)) {
		sections = append(sections, g.Conf.Snaps[name])
	}
	for _, sec := range sections {
		for _, m := range sec.MountPoints() {
			take(m.Volid())
		}
		for _, k := range sec.Numbered("unused") {
			take(sec.Vals[k])
		}
	}
	return all
}

// crowded reports whether a storage of these volumes has no room left.
func crowded(cl *cluster.Cluster, n *world.Node, mounts []lxcconf.MountPoint) bool {
	for _, m := range mounts {
		if _, p, err := places.Find(cl, n, m.Volid()); err == nil && p.Total > 0 && p.Avail() == 0 {
			return true
		}
	}
	return false
}
