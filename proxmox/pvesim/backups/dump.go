package backups

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/refusal"
	"github.com/felhom/felhom-agent/proxmox/pvesim/retention"
	"github.com/felhom/felhom-agent/proxmox/pvesim/snapshots"
	"github.com/felhom/felhom-agent/proxmox/pvesim/storages"
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

// roomFor is why the storage takes no further backup of a guest.
func roomFor(t *world.Task, p *places.Place, vmid, base string) error {
	st := p.Storage
	if k, limit := dumpKeep(t, st), 0; t.Args["remove"] == "0" && !k.All() {
		for _, kind := range retention.Kinds {
			limit += k[kind]
		}
		if countBackups(p, vmid) >= limit {
			return refusal.Fail("There is a max backup limit of %d enforced by the target storage or the vzdump parameters. Either increase the limit or delete old backups.", limit)
		}
	}
	if t.Args["protected"] == "1" && st.MaxProtected != nil && countProtected(p, vmid) >= *st.MaxProtected { // before it begins (measured, 9.2.11)
		return refusal.Fail("The number of protected backups per guest is limited to %d on storage '%s'", *st.MaxProtected, st.ID)
	}
	if p.Ghost || p.Avail() < 4096 && p.Datastore == nil {
		return refusal.Fail("unable to create temporary directory '%s/dump/%s.tmp' at /usr/share/perl5/PVE/VZDump.pm line 1048.", st.Path, base)
	}
	return nil
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

// chooseMode logs the mode and what is in the backup. A stopped guest is always in mode
// stop; snapshot falls back to suspend when a volume cannot.
func chooseMode(cl *cluster.Cluster, t *world.Task, g *world.Guest) []lxcconf.MountPoint {
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

func endGuest(cl *cluster.Cluster, t *world.Task) error {
	n, g := t.Node, cl.Guests[notation.Atoi(t.Args["vmid"])]
	if g == nil {
		return errors.New("the guest is gone")
	}
	st := cl.Storages[t.Args["storage"]]
	p, err := places.Of(cl, n, st)
	if err != nil {
		return err
	}
	total := dumpBytes(cl, n, g, t)
	ext := extension(t.Args["compress"])
	size := total
	if ext != ".tar" {
		size = total*44/100 + int64(len(t.Args["config"])) + int64(notation.Atoi(t.Args["vmid"])%97)
	}
	if p.Ghost {
		t.Logf("INFO: tar: -: Wrote only 4096 of 10240 bytes")
		return dumpCommand(cl, t, "exit code 2")
	}
	if size > p.Avail() && p.Datastore == nil {
		t.Logf("INFO: zstd: error 70 : Write error : cannot write block : No space left on device")
		return dumpCommand(cl, t, "exit code 70")
	}
	t.Logf("INFO: Total bytes written: %d (%s, 25MiB/s)", total, notation.Binary(total))
	name := "backup/" + t.Args["base"]
	if p.Datastore == nil {
		name += ext
	}
	written := cl.Now
	v := &world.Volume{VMID: g.VMID, Size: size, Format: strings.TrimPrefix(ext, "."), Created: cl.Now.Unix(), Config: t.Args["config"], Written: &written}
	for _, m := range g.Conf.MountPoints() {
		if data, in := t.Args["data:"+m.Key]; in {
			p := world.Part{MP: m.Key, Path: m.Path, Data: data}
			if vol, _, _ := places.Find(cl, n, m.Volid()); vol != nil {
				p.Used, p.Bare = vol.Used, vol.Bare
			}
			v.Parts = append(v.Parts, p)
		}
	}
	if p.Datastore != nil {
		if err := endSnapshot(t, p, v); err != nil {
			return err
		}
	} else {
		p.Put(name, v)
		t.Logf("INFO: archive file size: %s", notation.HumanSize(size))
	}
	if text := t.Args["notes-template"]; text != "" {
		t.Logf("INFO: adding notes to backup")
		v.Notes = expandNotes(text, n, g)
	}
	if t.Args["protected"] == "1" {
		t.Logf("INFO: marking backup as protected")
		v.Protected = true
	}
	if t.Args["remove"] != "0" {
		pruneAfter(t, p, g)
	}
	dumpCleanup(cl, t, g)
	took := cl.Now.Unix() - int64(notation.Atoi(t.Args["began"]))
	t.Logf("INFO: Finished Backup of VM %d (%02d:%02d:%02d)", g.VMID, took/3600, took/60%60, took%60)
	t.Logf("INFO: Backup finished at %s", stamp(cl, n))
	return nil
}

// dumpCommand is the failure of the pipe that writes an archive.
func dumpCommand(cl *cluster.Cluster, t *world.Task, how string) error {
	st, from := cl.Storages[t.Args["storage"]], "/mnt/vzsnap0"
	if t.Args["now"] != "snapshot" {
		from = "/var/lib/lxc/" + t.Args["vmid"] + "/rootfs"
	}
	base := st.Path + "/dump/" + t.Args["base"]
	pack := ""
	switch extension(t.Args["compress"]) {
	case ".tar.zst":
		pack = "zstd '--threads=1' "
	case ".tar.gz":
		pack = "gzip --rsyncable "
	case ".tar.lzo":
		pack = "lzop "
	default:
		pack = "cat "
	}
	const flags = "--totals --one-file-system -p --sparse --numeric-owner --acls --xattrs '--xattrs-include=user.*' '--xattrs-include=security.capability' '--warning=no-file-ignored' '--warning=no-xattr-write' --one-file-system '--warning=no-file-ignored'"
	return fmt.Errorf("command 'set -o pipefail && lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- tar cpf - %s '--directory=%s.tmp' ./etc/vzdump/pct.conf ./etc/vzdump/pct.fw '--directory=%s' --no-anchored '--exclude=lost+found' --anchored '--exclude=./tmp/?*' '--exclude=./var/tmp/?*' '--exclude=./var/run/?*.pid' ./ | %s>%s.tar.dat' failed: %s",
		flags, base, from, pack, base, how)
}

// dumpKeep is the retention that a job prunes by.
func dumpKeep(t *world.Task, st *world.Storage) retention.Rule {
	text := t.Args["prune-backups"]
	if text == "" {
		text = st.Prune
	}
	k, err := retention.Parse(text)
	if err != nil {
		return retention.Rule{}
	}
	return k
}

func countProtected(p *places.Place, vmid string) int {
	count := 0
	for name, v := range p.Items {
		if p.GuestOf(name) == vmid && v.Protected {
			count++
		}
	}
	return count
}

func countBackups(p *places.Place, vmid string) int {
	count := 0
	for name, v := range p.Items {
		if p.GuestOf(name) == vmid && (p.Datastore != nil || storages.Standard(name)) && !v.Protected {
			count++
		}
	}
	return count
}

// pruneAfter removes older archives of the guest, whoever made them.
func pruneAfter(t *world.Task, p *places.Place, g *world.Guest) {
	k := dumpKeep(t, p.Storage)
	if k.All() {
		return
	}
	t.Logf("INFO: prune older backups with retention: %s", k)
	count := 0
	for _, c := range storages.Candidates(t.Node, p, k, g.VMID, "lxc") {
		if c.Mark == "remove" {
			t.Logf("INFO: removing backup '%s:%s'", p.Storage.ID, c.Name)
			p.Drop(c.Name)
			count++
		}
	}
	t.Logf("INFO: pruned %d backup(s) not covered by keep-retention policy", count)
}

// dumpCleanup takes the snapshot and the lock away and starts what was stopped.
func dumpCleanup(cl *cluster.Cluster, t *world.Task, g *world.Guest) {
	if t.Args["now"] == "snapshot" {
		t.Logf("INFO: cleanup temporary 'vzdump' snapshot")
		if sec := g.Conf.Snaps["vzdump"]; sec != nil {
			t.Log = append(t.Log, snapshots.UnsnapVolumes(cl, t.Node, sec, "vzdump")...)
			snapshots.Forget(g, "vzdump")
		}
	}
	g.Conf.Section.Unset("lock")
	g.Conf.Touch()
	if t.Args["restart"] == "1" {
		delete(t.Args, "restart")
		t.Logf("INFO: restarting vm")
		guests.ApplyPending(cl, t.Node, g, func(string, bool) bool { return true })
		guests.Boot(cl, t.Node, g)
		t.Logf("INFO: guest is online again after %d seconds", cl.Now.Unix()-int64(notation.Atoi(t.Args["began"])))
	}
}

// Failed is the failure of the guest whose backup runs.
func Failed(cl *cluster.Cluster, t *world.Task, err error) {
	vmid := t.Args["vmid"]
	if vmid == "" {
		return
	}
	delete(t.Args, "vmid")
	t.Args["errors"] = "1"
	cutSnapshots(cl, t)
	if g := cl.Guests[notation.Atoi(vmid)]; g != nil {
		dumpCleanup(cl, t, g)
	}
	t.Logf("ERROR: Backup of VM %s failed - %s", vmid, strings.TrimRight(err.Error(), "\n"))
	t.Logf("INFO: Failed at %s", stamp(cl, t.Node))
}

// Interrupt ends a backup that is stopped; false for other tasks, and before it does anything.
func Interrupt(cl *cluster.Cluster, t *world.Task) bool {
	switch {
	case t.Type == "vzdump" && t.Wait == LockKey(t.Node):
		t.Logf("ERROR: can't acquire lock '/var/run/vzdump.lock' - interrupted by signal")
		cl.End(t, "")
	case t.Type == "vzdump" && t.Phase >= 2:
		Failed(cl, t, dumpCommand(cl, t, "interrupted by signal"))
		t.Logf("INFO: Backup job finished with errors")
		cl.End(t, "job errors")
	default:
		return false
	}
	return true
}
