package pvesim

import (
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

const serverToken = "felhom@pbs!pve"

// withServer is the fresh node with a storage on a backup server, whose token has a role.
func withServer(t *testing.T, role string, f func(s *Sim, c *client, d *Datastore)) {
	t.Helper()
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		d := s.AddDatastore("192.0.2.9", "home", 1<<40, map[string]string{serverToken: role, "other@pbs!pve": role})
		addServerStorage(t, s, "username", serverToken)
		f(s, c, d)
	})
}

func addServerStorage(t *testing.T, s *Sim, pairs ...string) {
	t.Helper()
	params := map[string]string{"storage": "pbs", "type": "pbs", "server": "192.0.2.9", "datastore": "home", "prune-backups": "keep-all=1"}
	for i := 0; i+1 < len(pairs); i += 2 {
		params[pairs[i]] = pairs[i+1]
	}
	if code, body := s.Do("root@pam", "POST", "/storage", params); code != 200 {
		t.Fatal(code, body)
	}
}

func toServer(pairs ...string) map[string][]string {
	return dumpForm(append([]string{"storage", "pbs", "notes-template", "of mine"}, pairs...)...)
}

func TestBackupServerListsWhatPVELists(t *testing.T) {
	withServer(t, "DatastoreBackup", func(s *Sim, c *client, d *Datastore) {
		log := strings.Join(c.done("POST", dumps, toServer("pbs-change-detection-mode", "metadata")), "\n")
		for _, line := range []string{"INFO: creating Proxmox Backup Server archive 'ct/101/2026-11-22T17:02:09Z'", " --pbs-change-detection-mode metadata"} {
			if !strings.Contains(log, line) {
				t.Errorf("the log has no line %q:\n%s", line, log)
			}
		}
		if strings.Contains(log, "archive file size") {
			t.Error("the log names a size")
		}
		list := func() map[string]any {
			all := c.ok("GET", "/nodes/pve1/storage/pbs/content", form("content", "backup")).([]any)
			if len(all) != 1 {
				t.Fatalf("%v", all)
			}
			return all[0].(map[string]any)
		}
		first := list()
		begun := time.Date(2026, 11, 22, 17, 2, 9, 0, time.UTC).Unix()
		if first["volid"] != "pbs:backup/ct/101/2026-11-22T17:02:09Z" || first["ctime"] != float64(begun) || first["format"] != "pbs-ct" || first["subtype"] != "lxc" || first["vmid"] != 101.0 || first["notes"] != "of mine" || first["verification"] != nil {
			t.Errorf("%v", first)
		}
		c.ok("PUT", "/nodes/pve1/storage/pbs/content/pbs:backup/ct/101/2026-11-22T17:02:09Z", form("notes", "of mine, longer\nand more"))
		noted := list()
		if noted["notes"] != "of mine, longer" || noted["size"].(float64) <= first["size"].(float64) {
			t.Errorf("a note lets the size grow: %v after %v", noted, first)
		}
		d.Verify(101, "ok")
		if v := list(); v["verification"].(map[string]any)["state"] != "ok" || v["size"].(float64) <= noted["size"].(float64) {
			t.Errorf("a verification too: %v", v)
		}
		d.CutOff(102, serverToken)
		if all := c.backups("pbs"); all["ct/102/"+s.Now().UTC().Format(world.SnapshotTime)] != "1 <nil>" {
			t.Errorf("an unfinished one has the size 1 and no notes: %v", all)
		}
		before, _ := s.Save()
		again, err := Load(before)
		if err != nil {
			t.Fatal(err)
		}
		if again.String() != s.String() {
			t.Error("the world file does not hold the datastore")
		}
	})
}

// A group belongs to who made its first snapshot: another token sees nothing and may not add.
func TestBackupServerOwners(t *testing.T) {
	withServer(t, "DatastoreBackup", func(s *Sim, c *client, d *Datastore) {
		c.done("POST", dumps, toServer())
		if code, body := s.Do("root@pam", "DELETE", "/storage/pbs", nil); code != 200 {
			t.Fatal(code, body)
		}
		addServerStorage(t, s, "username", "other@pbs!pve")
		if all := c.backups("pbs"); len(all) != 0 {
			t.Errorf("another token sees %v", all)
		}
		s.Advance(time.Minute)
		if status, log := c.task("POST", dumps, toServer()); status != "job errors" || !strings.Contains(strings.Join(log, "\n"), "backup owner check failed (other@pbs!pve != felhom@pbs!pve)") {
			t.Errorf("%s\n%s", status, strings.Join(log, "\n"))
		}
		d.SetRole("other@pbs!pve", "DatastoreReader")
		if all := c.backups("pbs"); len(all) != 1 {
			t.Errorf("a reader sees %v", all)
		}
		d.SetRole("other@pbs!pve", "")
		if code, _ := c.do("GET", "/nodes/pve1/storage/pbs/content", nil); !strings.HasPrefix(code, "500 ") {
			t.Errorf("without a role the list is %s", code)
		}
		if got := d.Snapshots(); len(got) != 1 || !strings.HasSuffix(got[0], " "+serverToken) {
			t.Errorf("%v", got)
		}
	})
}

func TestBackupServerDeletes(t *testing.T) {
	for role, want := range map[string]string{"DatastoreBackup": "Error: permission check failed", "DatastorePowerUser": "OK"} {
		withServer(t, role, func(s *Sim, c *client, d *Datastore) {
			c.done("POST", dumps, toServer())
			if status, _ := c.task("DELETE", "/nodes/pve1/storage/pbs/content/pbs:backup/ct/101/2026-11-22T17:02:09Z", nil); status != want {
				t.Errorf("%s: %s", role, status)
			}
			if gone := len(d.Snapshots()) == 0; gone != (want == "OK") {
				t.Errorf("%s: gone %v", role, gone)
			}
		})
	}
	withServer(t, "DatastoreBackup", func(s *Sim, c *client, d *Datastore) {
		for range 3 {
			c.done("POST", dumps, toServer())
			s.Advance(time.Hour)
		}
		if d.Prune(1); len(c.backups("pbs")) != 1 {
			t.Errorf("a prune job of the server leaves %v", d.Snapshots())
		}
	})
}

func TestBackupServerInMaintenanceDownAndFull(t *testing.T) {
	withServer(t, "DatastoreBackup", func(s *Sim, c *client, d *Datastore) {
		c.done("POST", dumps, toServer())
		s.Advance(time.Minute)
		fails := func(what, text string) {
			t.Helper()
			if status, log := c.task("POST", dumps, toServer()); status != "job errors" || !strings.Contains(strings.Join(log, "\n"), text) {
				t.Errorf("%s: %s\n%s", what, status, strings.Join(log, "\n"))
			}
			s.Advance(time.Minute)
		}
		active := func() any {
			for _, e := range c.ok("GET", "/nodes/pve1/storage", nil).([]any) {
				if m := e.(map[string]any); m["storage"] == "pbs" {
					return m["active"]
				}
			}
			return nil
		}
		d.SetMaintenance("read-only: a new disk comes")
		fails("read-only", "Error: read-only maintenance mode: a new disk comes")
		if len(c.backups("pbs")) != 1 || active() != 1.0 {
			t.Error("read-only it is not listed")
		}
		d.SetMaintenance("offline")
		if code, _ := c.do("GET", "/nodes/pve1/storage/pbs/content", nil); !strings.HasPrefix(code, "500 ") || active() != 0.0 {
			t.Errorf("offline: %s, active %v", code, active())
		}
		d.SetMaintenance("")
		d.SetDown(true)
		if active() != 0.0 {
			t.Error("down it is active")
		}
		d.SetDown(false)
		d.Fill(1 << 20)
		fails("full", "No space left on device")
		if len(d.Snapshots()) != 1 {
			t.Errorf("what failed is left: %v", d.Snapshots())
		}
	})
}

func TestBackupServerKeysAndNamespaces(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		d := s.AddDatastore("192.0.2.9", "home", 1<<40, map[string]string{serverToken: "DatastoreBackup"})
		addServerStorage(t, s, "username", serverToken, "namespace", "house", "encryption-key", "AA:BB:CC")
		c.done("POST", dumps, toServer())
		if got := d.Snapshots(); len(got) != 1 || !strings.HasPrefix(got[0], "house|ct/101/") {
			t.Errorf("%v", got)
		}
		restore := form("vmid", "150", "ostemplate", "pbs:backup/ct/101/2026-11-22T17:02:09Z", "restore", "1", "storage", "local-lvm", "unprivileged", "1")
		c.done("POST", "/nodes/pve1/lxc", restore)
		if code, body := s.Do("root@pam", "DELETE", "/storage/pbs", nil); code != 200 {
			t.Fatal(code, body)
		}
		addServerStorage(t, s, "username", serverToken)
		if len(c.backups("pbs")) != 0 {
			t.Error("the root namespace shows those of another")
		}
		if code, body := s.Do("root@pam", "DELETE", "/storage/pbs", nil); code != 200 {
			t.Fatal(code, body)
		}
		addServerStorage(t, s, "username", serverToken, "namespace", "house")
		restore.Set("vmid", "151")
		if status, _ := c.task("POST", "/nodes/pve1/lxc", restore); !strings.Contains(status, "missing key - manifest was created with key AA:BB:CC") {
			t.Errorf("without the key: %s", status)
		}
	})
}
