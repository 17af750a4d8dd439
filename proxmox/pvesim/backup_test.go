package pvesim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// mountBlue mounts the backup disk of the fresh world.
func mountBlue(t *testing.T, s *Sim) {
	t.Helper()
	if _, err := s.Host("pve1").MakeMountPoint("/mnt/usb/backup"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Shell("pve1", "mount UUID="+world.BlueUUID+" /mnt/usb/backup"); err != nil {
		t.Fatal(err)
	}
}

// backups are the archives of a storage with their sizes and notes.
func (c *client) backups(storage string) map[string]string {
	c.t.Helper()
	out := make(map[string]string)
	for _, e := range c.ok("GET", "/nodes/pve1/storage/"+storage+"/content", form("content", "backup")).([]any) {
		m := e.(map[string]any)
		out[strings.TrimPrefix(m["volid"].(string), storage+":backup/")] = fmt.Sprintf("%.0f %v", m["size"], m["notes"])
	}
	return out
}

func dumpForm(pairs ...string) map[string][]string {
	f := form("vmid", "101", "storage", "usb-backup", "compress", "zstd", "mode", "snapshot", "remove", "0")
	for i := 0; i+1 < len(pairs); i += 2 {
		f.Set(pairs[i], pairs[i+1])
	}
	return f
}

const dumps = "/nodes/pve1/vzdump"

func TestVzdumpLogsWhatPVELogs(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		mountBlue(t, s)
		log := c.done("POST", dumps, dumpForm("notes-template", `{{guestname}} {{vmid}} on {{node}}\nauto`, "protected", "1"))
		var got []string
		for _, l := range log {
			if strings.HasPrefix(l, "INFO: starting new backup job: ") || strings.HasPrefix(l, "INFO: Total bytes") {
				continue
			}
			got = append(got, l)
		}
		want := `INFO: Starting Backup of VM 101 (lxc)
INFO: Backup started at 2026-11-22 18:02:09
INFO: status = running
INFO: CT Name: dns
INFO: including mount point rootfs ('/') in backup
INFO: backup mode: snapshot
INFO: ionice priority: 7
INFO: create storage snapshot 'vzdump'
  Logical volume "snap_vm-101-disk-0_vzdump" created.
INFO: creating vzdump archive '/mnt/usb/backup/dump/vzdump-lxc-101-2026_11_22-18_02_09.tar.zst'
INFO: archive file size: 369MB
INFO: adding notes to backup
INFO: marking backup as protected
INFO: cleanup temporary 'vzdump' snapshot
  Logical volume "snap_vm-101-disk-0_vzdump" successfully removed.
INFO: Finished Backup of VM 101 (00:00:28)
INFO: Backup finished at 2026-11-22 18:02:37
INFO: Backup job finished successfully
TASK OK`
		if text := strings.Join(got, "\n"); text != want {
			t.Errorf("log:\n%s\nwant\n%s", text, want)
		}
		if notes := c.backups("usb-backup")["vzdump-lxc-101-2026_11_22-18_02_09.tar.zst"]; !strings.HasSuffix(notes, " dns 101 on pve1") {
			t.Errorf("the list shows %q; it shows the first line of the notes", notes)
		}
		conf := c.config(101)
		if conf["lock"] != "" || conf["parent"] != "" {
			t.Errorf("left behind: %v", conf)
		}
	})
}

func TestWhatVzdumpRefusesAndHowItFails(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		for _, f := range []struct {
			params []string
			want   string
		}{
			{[]string{"job-id", "x"}, `"job-id":"Only root may set this option."`},
			{[]string{"tmpdir", "/tmp"}, `"tmpdir":"Only root may set this option."`},
			{[]string{"prune-backups", "keep-last=1"}, "(/storage/usb-backup, Datastore.Allocate)"},
			{[]string{"bwlimit", "100"}, "(/, Sys.Modify)"},
			{[]string{"stop", "1"}, "(/nodes/pve1, Sys.Modify)"},
			{[]string{"notes-template", "{{bogus}}"}, `"notes-template":"found unknown: variable 'bogus' at char 4\n"`},
			{[]string{"maxfiles", "1"}, `"maxfiles":"property is not defined`},
		} {
			if _, body := c.do("POST", dumps, dumpForm(f.params...)); !strings.Contains(body, f.want) {
				t.Errorf("%v: %s, want %s", f.params, body, f.want)
			}
		}
		for _, f := range []struct {
			params []string
			want   string
		}{
			{[]string{"storage", "usb-backup"}, "could not activate storage 'usb-backup': unable to activate storage 'usb-backup' - directory is expected to be a mount point but is not mounted: '/mnt/usb/backup'"},
			{[]string{"storage", "local-lvm"}, "could not get storage information for 'local-lvm': can't use storage 'local-lvm' for backups - wrong content type"},
			{[]string{"storage", "nosuch"}, "could not activate storage 'nosuch': storage 'nosuch' does not exist could not get storage information for 'nosuch': storage 'nosuch' does not exist"},
			{[]string{"storage", "local", "vmid", "999"}, "job errors"},
		} {
			if end, _ := c.task("POST", dumps, dumpForm(f.params...)); end != f.want {
				t.Errorf("%v ended %q, want %q", f.params, end, f.want)
			}
		}
	})
}

func TestOneVzdumpAtATimePerNode(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		first := c.ok("POST", dumps, dumpForm("storage", "local")).(string)
		second := c.ok("POST", dumps, dumpForm("storage", "local")).(string)
		time.Sleep(5 * time.Second)
		log := fmt.Sprint(c.ok("GET", "/nodes/pve1/tasks/"+second+"/log", nil))
		if log != "[map[n:1 t:INFO: trying to get global lock - waiting...]]" {
			t.Errorf("the second waits with %s", log)
		}
		if end, log := c.task("POST", dumps, dumpForm("storage", "local", "lockwait", "0")); end != "unexpected status" || log[0] != "ERROR: can't acquire lock '/var/run/vzdump.lock' (wait = 0)" {
			t.Errorf("lockwait=0: %s %v", end, log)
		}
		if status, _ := c.do("PUT", lxc+"/101/config", form("cores", "2")); status != "500 CT is locked (backup)" {
			t.Error(status)
		}
		snaps := fmt.Sprint(c.ok("GET", lxc+"/101/snapshot", nil))
		if !strings.Contains(snaps, "name:vzdump") || !strings.Contains(snaps, "parent:vzdump") {
			t.Errorf("during the backup: %s", snaps)
		}
		active := c.ok("GET", "/nodes/pve1/tasks", form("source", "active")).([]any)
		if len(active) != 2 || active[0].(map[string]any)["user"] != "felhom@pve!agent" || active[0].(map[string]any)["status"] != "RUNNING" {
			t.Errorf("active: %v", active)
		}
		c.ok("DELETE", "/nodes/pve1/tasks/"+first, nil)
		st := c.ok("GET", "/nodes/pve1/tasks/"+first+"/status", nil).(map[string]any)
		if st["exitstatus"] != "job errors" || c.config(101)["lock"] != "" && c.config(101)["lock"] != "backup" {
			t.Errorf("a stopped one: %v", st)
		}
		time.Sleep(2 * time.Minute)
		st = c.ok("GET", "/nodes/pve1/tasks/"+second+"/status", nil).(map[string]any)
		if st["exitstatus"] != "OK" {
			t.Errorf("the second: %v", st)
		}
		if n := len(c.backups("local")); n != 1 {
			t.Errorf("%d archives, want that of the second", n)
		}
	})
}

func TestStorageRetention(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		mountBlue(t, s)
		s.cl.Storages["usb-backup"].Prune = "keep-last=1"
		_, log := c.task("POST", dumps, dumpForm())
		if text := strings.Join(log, "\n"); !strings.Contains(text, "ERROR: Backup of VM 101 failed - There is a max backup limit of 1 enforced by the target storage") {
			t.Errorf("remove=0 at the limit: %s", text)
		}
		f := dumpForm()
		delete(f, "remove")
		c.done("POST", dumps, f)
		if b := c.backups("usb-backup"); len(b) != 1 || b["vzdump-lxc-101-2026_11_20-02_30_04.tar.zst"] != "" {
			t.Errorf("a default vzdump left %v; it prunes whoever made them", b)
		}
	})
}

func TestFullStorage(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		mountBlue(t, s)
		blue := s.cl.World.Nodes[0].Disks[1]
		blue.Used = blue.Size - blue.Taken() - 1<<20
		end, log := c.task("POST", dumps, dumpForm())
		if end != "job errors" || !strings.Contains(strings.Join(log, "\n"), "No space left on device") {
			t.Errorf("%s\n%s", end, strings.Join(log, "\n"))
		}
		if len(c.backups("usb-backup")) != 1 {
			t.Error("a failed backup left an archive")
		}
	})
}

func TestArchiveOfAPulledDisk(t *testing.T) {
	for _, f := range []struct {
		name  string
		after time.Duration
		sync  bool
		want  string
	}{
		{"at once", time.Second, false, "gone"},
		{"ten seconds later", 10 * time.Second, false, "cut off"},
		{"after a sync", time.Second, true, "whole"},
		{"a minute later", time.Minute, false, "whole"},
	} {
		t.Run(f.name, func(t *testing.T) {
			fresh(t, func(t *testing.T, s *Sim, c *client) {
				mountBlue(t, s)
				s.SetDuration(func(cluster.TaskInfo) time.Duration { return 0 })
				c.done("POST", dumps, dumpForm())
				time.Sleep(f.after)
				if f.sync {
					if err := s.Host("pve1").SyncFS("/mnt/usb/backup"); err != nil {
						t.Fatal(err)
					}
				}
				const name = "vzdump-lxc-101-2026_11_22-18_02_09.tar.zst"
				whole := c.backups("usb-backup")[name]
				s.Unplug(world.BlueUUID)
				if got := c.backups("usb-backup")[name]; got != whole {
					t.Errorf("the cache shows %q, want %q", got, whole)
				}
				if end, _ := c.task("POST", dumps, dumpForm()); end != "job errors" {
					t.Errorf("a backup to a pulled disk ended %s", end)
				}
				if _, err := s.Shell("pve1", "umount /mnt/usb/backup"); err != nil {
					t.Fatal(err)
				}
				s.Plug(world.BlueUUID)
				mountBlue(t, s)
				got := "whole"
				switch now := c.backups("usb-backup")[name]; {
				case now == "":
					got = "gone"
				case now != whole:
					got = "cut off"
				}
				if got != f.want {
					t.Errorf("the archive is %s, want %s", got, f.want)
				}
				if got == "cut off" {
					c.ok("GET", "/nodes/pve1/vzdump/extractconfig", form("volume", "usb-backup:backup/"+name))
					end, log := c.task("POST", lxc, form("vmid", "102", "restore", "1", "ostemplate", "usb-backup:backup/"+name, "storage", "local-lvm"))
					if !strings.HasPrefix(end, "unable to restore CT 102 - command 'lxc-usernsexec") || !strings.Contains(strings.Join(log, "\n"), "Unexpected EOF in archive") {
						t.Errorf("restored: %s", end)
					}
					if status, _ := c.do("GET", lxc+"/102/config", nil); !strings.HasPrefix(status, "500 Configuration file") {
						t.Errorf("a failed restore left a guest: %s", status)
					}
				}
			})
		})
	}
}

func TestAnImmutableMountPointTakesNothing(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		if _, err := s.Host("pve1").MakeMountPoint("/mnt/usb/backup"); err != nil {
			t.Fatal(err)
		}
		s.cl.Storages["usb-backup"].Mountpoint = "" // so that PVE does not notice that the disk is away
		if end, _ := c.task("POST", dumps, dumpForm()); end != "job errors" {
			t.Errorf("a backup under an empty immutable mount point ended %s", end)
		}
		if _, err := s.Shell("pve1", "chattr -i /mnt/usb/backup"); err != nil {
			t.Fatal(err)
		}
		c.done("POST", dumps, dumpForm()) // lands on the root disk without a word
		if _, err := s.Shell("pve1", "mount /dev/sdb1 /mnt/usb/backup"); err != nil {
			t.Fatal(err)
		}
		if b := c.backups("usb-backup"); len(b) != 1 {
			t.Errorf("the disk that is mounted over it shows %v", b)
		}
	})
}

func TestForceRestoreWithTheGuestsOwnVolumeLosesEverything(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		c.ok("PUT", lxc+"/101/config", form("mp0", "local-lvm:2,mp=/data,backup=1"))
		c.done("POST", dumps, dumpForm("storage", "local"))
		c.done("POST", lxc+"/101/status/stop", nil)
		end, _ := c.task("POST", lxc, form("vmid", "101", "restore", "1", "force", "1", "ostemplate", "local:backup/vzdump-lxc-101-2026_11_22-18_02_09.tar.zst",
			"rootfs", "local-lvm:4", "mp0", "local-lvm:vm-101-disk-1,mp=/data,backup=1"))
		if end != "unable to restore CT 101 - no such logical volume pve/vm-101-disk-1" {
			t.Error(end)
		}
		if got := c.ok("GET", "/nodes/pve1/storage/local-lvm/content", nil).([]any); len(got) != 0 {
			t.Errorf("left: %v", got)
		}
		if status, _ := c.do("GET", lxc+"/101/config", nil); !strings.HasPrefix(status, "500 Configuration file") {
			t.Error(status)
		}
	})
}

func TestFailedForceRestoreLeavesTheOldGuestOrNothing(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		c.done("POST", dumps, dumpForm("storage", "local"))
		c.done("POST", lxc+"/101/status/stop", nil)
		before := s.Data()
		const missing = "local:backup/vzdump-lxc-101-2020_01_01-00_00_00.tar.zst"
		end, _ := c.task("POST", lxc, form("vmid", "101", "restore", "1", "force", "1", "ostemplate", missing, "storage", "local-lvm"))
		if end != "unable to restore CT 101 - volume '"+missing+"' does not exist" || s.Data() != before || c.config(101)["lock"] != "" {
			t.Errorf("%s\n%s", end, s)
		}
		if err := s.Inject(world.Fault{Match: "task vzrestore 101", Effect: "fail", Text: "tar failed"}); err != nil {
			t.Fatal(err)
		}
		end, _ = c.task("POST", lxc, form("vmid", "101", "restore", "1", "force", "1", "ostemplate", "local:backup/vzdump-lxc-101-2026_11_22-18_02_09.tar.zst", "storage", "local-lvm"))
		if end != "unable to restore CT 101 - tar failed" || s.Data() != "" {
			t.Errorf("%s\n%s", end, s)
		}
	})
}

func TestRestoreKeepsAndLoses(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		c.ok("PUT", lxc+"/101/config", form("mp0", "local-lvm:2,mp=/data,backup=1"))
		c.ok("PUT", lxc+"/101/config", form("mp1", "local-lvm:2,mp=/scratch"))
		s.WriteData(101, "mp0", "photos")
		s.WriteData(101, "mp1", "cache")
		if st, body := s.Do("root@pam", "PUT", lxc+"/101/config", map[string]string{"description": "marker", "onboot": "1"}); st != 200 {
			t.Fatal(body)
		}
		log := strings.Join(c.done("POST", dumps, dumpForm("storage", "local")), "\n")
		if !strings.Contains(log, "INFO: excluding volume mount point mp1 ('/scratch') from backup (disabled)") {
			t.Error(log)
		}
		const volid = "local:backup/vzdump-lxc-101-2026_11_22-18_02_09.tar.zst"
		data := func() map[string]string {
			out := make(map[string]string)
			for _, l := range strings.Split(strings.TrimSpace(s.Data()), "\n") {
				f := strings.Fields(l)
				out[f[0]+" "+f[1]] = f[2]
			}
			return out
		}
		c.done("POST", lxc, form("vmid", "201", "restore", "1", "ostemplate", volid, "storage", "local-lvm", "hostname", "twin"))
		c.done("POST", lxc, form("vmid", "202", "restore", "1", "ostemplate", volid, "rootfs", "local-lvm:6"))
		d := data()
		if d["201 rootfs"] != d["101 rootfs"] || d["201 mp0"] != d["101 mp0"] || d["201 mp1"] != world.EmptyData {
			t.Errorf("a restore with storage alone: %v", d)
		}
		if d["202 mp0"] != "" || d["202 rootfs"] == d["101 rootfs"] {
			t.Errorf("with rootfs alone the data of mp0 lands in the root disk: %v", d)
		}
		one, two := c.config(101), c.config(201)
		if two["hostname"] != "twin" || two["description"] != "marker\n" || two["net0"] != one["net0"] {
			t.Errorf("the restored config: %v", two)
		}
		if end, _ := c.task("POST", lxc, form("vmid", "203", "restore", "1", "ostemplate", volid, "storage", "local-lvm", "unprivileged", "0")); end != "unable to restore CT 203 - 403 Permission check failed (/, Sys.Modify)" {
			t.Error(end)
		}
		if status, _ := c.do("POST", lxc, form("vmid", "101", "restore", "1", "ostemplate", volid, "storage", "local-lvm")); status != "500 CT 101 already exists on node 'pve1'" {
			t.Error(status)
		}
		if status, _ := c.do("POST", lxc, form("vmid", "101", "restore", "1", "force", "1", "ostemplate", volid, "storage", "local-lvm")); status != "500 can't overwrite running container" {
			t.Error(status)
		}
	})
}

// Without quorum not even the lock of a backup can be written, so none is made.
func TestNoBackupWithoutQuorum(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		s.cl.World.Nodes = append(s.cl.World.Nodes, &world.Node{Name: "pve2", Down: true, Location: time.UTC})
		s.cl.World.NoQuorum = true
		end, log := c.task("POST", "/nodes/pve1/vzdump", form("vmid", "101", "storage", "local"))
		if text := strings.Join(log, "\n"); end != "job errors" || !strings.Contains(text, "ERROR: Backup of VM 101 failed - unable to open file '/etc/pve/nodes/pve1/lxc/101.conf.tmp.") {
			t.Errorf("%s\n%s", end, text)
		}
	})
}

// High availability would start a guest again that a backup has stopped, so vzdump does not
// stop one. The words are assumed.
func TestNoStopModeUnderHighAvailabilityAssumedWords(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		s.cl.Guests[101].HA = "started"
		end, log := c.task("POST", "/nodes/pve1/vzdump", form("vmid", "101", "storage", "local", "mode", "stop"))
		if text := strings.Join(log, "\n"); end != "job errors" || !strings.Contains(text, "on a HA managed and enabled Service") {
			t.Errorf("%s\n%s", end, text)
		}
		if end, _ := c.task("POST", "/nodes/pve1/vzdump", form("vmid", "101", "storage", "local")); end != "OK" {
			t.Errorf("in mode snapshot: %s", end)
		}
	})
}
