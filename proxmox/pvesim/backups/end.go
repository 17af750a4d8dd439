package backups

import (
	"errors"
	"fmt"
	"strings"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/guests"
	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/places"
	"github.com/felhom/felhom-agent/proxmox/pvesim/snapshots"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

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
	ext := extension(g, t.Args["compress"])
	size := total
	if t.Args["compress"] != "" && t.Args["compress"] != "0" {
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
	logTransfer(t, g, total)
	name := "backup/" + t.Args["base"]
	if p.Datastore == nil {
		name += ext
	}
	written := cl.Now
	v := &world.Volume{VMID: g.VMID, Size: size, Format: strings.TrimPrefix(ext, "."), Created: cl.Now.Unix(), Config: t.Args["config"], Written: &written, Inside: g.Inside.Copy()}
	v.Parts = dumpedParts(cl, t, g)
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

// dumpedParts are the volumes whose data a dump took when it began.
func dumpedParts(cl *cluster.Cluster, t *world.Task, g *world.Guest) []world.Part {
	var all []world.Part
	for _, m := range g.Conf.MountPoints() {
		data, in := t.Args["data:"+m.Key]
		if !in {
			continue
		}
		p := world.Part{MP: m.Key, Path: m.Path, Data: data}
		if vol, _, _ := places.Find(cl, t.Node, m.Volid()); vol != nil {
			p.Used, p.Bare = vol.Used, vol.Bare
		}
		all = append(all, p)
	}
	return all
}

// dumpCommand is the failure of the pipe that writes an archive.
func dumpCommand(cl *cluster.Cluster, t *world.Task, how string) error {
	if g := cl.Guests[notation.Atoi(t.Args["vmid"])]; g != nil && g.Qemu {
		return fmt.Errorf("vma_queue_write: write error - Broken pipe")
	}
	st, from := cl.Storages[t.Args["storage"]], "/mnt/vzsnap0"
	if t.Args["now"] != "snapshot" {
		from = "/var/lib/lxc/" + t.Args["vmid"] + "/rootfs"
	}
	base := st.Path + "/dump/" + t.Args["base"]
	pack := ""
	switch t.Args["compress"] {
	case "zstd":
		pack = "zstd '--threads=1' "
	case "gzip":
		pack = "gzip --rsyncable "
	case "lzo", "1":
		pack = "lzop "
	default:
		pack = "cat "
	}
	const flags = "--totals --one-file-system -p --sparse --numeric-owner --acls --xattrs '--xattrs-include=user.*' '--xattrs-include=security.capability' '--warning=no-file-ignored' '--warning=no-xattr-write' --one-file-system '--warning=no-file-ignored'"
	return fmt.Errorf("command 'set -o pipefail && lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- tar cpf - %s '--directory=%s.tmp' ./etc/vzdump/pct.conf ./etc/vzdump/pct.fw '--directory=%s' --no-anchored '--exclude=lost+found' --anchored '--exclude=./tmp/?*' '--exclude=./var/tmp/?*' '--exclude=./var/run/?*.pid' ./ | %s>%s.tar.dat' failed: %s",
		flags, base, from, pack, base, how)
}

// dumpCleanup takes the snapshot and the lock away and starts what was stopped.
func dumpCleanup(cl *cluster.Cluster, t *world.Task, g *world.Guest) {
	if t.Args["now"] == "snapshot" && !g.Qemu {
		t.Logf("INFO: cleanup temporary 'vzdump' snapshot")
		if sec := g.Conf.Snaps["vzdump"]; sec != nil {
			t.Log = append(t.Log, snapshots.UnsnapVolumes(cl, t.Node, sec, "vzdump")...)
			snapshots.Forget(g, "vzdump")
			for range 5 { // ten writes with those of the lock and of the snapshot (measured, 9.2.11)
				g.Conf.Write()
			}
		}
	}
	g.Conf.Section.Unset("lock")
	g.Conf.Write()
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

// logTransfer logs how much was read.
func logTransfer(t *world.Task, g *world.Guest, total int64) {
	if g.Qemu {
		t.Logf("INFO: transferred %s in %d seconds (25.0 MiB/s)", notation.Binary(total), 1+total>>20/25)
		if !g.Running && t.Args["restart"] != "1" {
			t.Logf("INFO: stopping kvm after backup task")
		}
	} else {
		t.Logf("INFO: Total bytes written: %d (%s, 25MiB/s)", total, notation.Binary(total))
	}
}
