package pvesim

import (
	"encoding/json"
	"testing"
	"time"
)

// counters are what /etc/pve/.version counts now.
func counters(t *testing.T, s *Sim) (all map[string]int) {
	t.Helper()
	text, err := s.Host("pve1").ReadFile("/etc/pve/.version")
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	all = map[string]int{}
	for name, value := range raw {
		var n int
		if json.Unmarshal(value, &n) == nil {
			all[name] = n
		}
	}
	return all
}

// TestWhatPmxcfsCounts follows a node of PVE 9.2.11, where each of these acts raised the counters so far.
func TestWhatPmxcfsCounts(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		root := func(method, path string, params map[string]string) {
			t.Helper()
			if status, body := s.Do("root@pam", method, path, params); status != 200 {
				t.Fatal(body)
			}
		}
		c.done("POST", lxc+"/101/status/stop", nil)
		archive := ""
		for _, step := range []struct {
			name                  string
			do                    func()
			guests, users, stores int
		}{
			{"nothing, for a minute", func() { s.Advance(time.Minute) }, 0, 0, 0},
			{"a change", func() { c.ok("PUT", lxc+"/101/config", form("cores", "2")) }, 1, 0, 0},
			{"a change of nothing", func() { c.ok("PUT", lxc+"/101/config", form("cores", "2")) }, 1, 0, 0},
			{"a change that is refused", func() { c.do("PUT", lxc+"/101/config", form("cores", "2", "digest", "0")) }, 0, 0, 0},
			{"a read", func() { c.config(101) }, 0, 0, 0},
			{"a backup of a guest that does not run", func() { c.done("POST", "/nodes/pve1/vzdump", form("vmid", "101", "storage", "local")) }, 2, 0, 0},
			{"a start", func() { c.done("POST", lxc+"/101/status/start", nil) }, 0, 0, 0},
			{"a pending change", func() { c.ok("PUT", lxc+"/101/config", form("nameserver", "192.0.2.1")) }, 1, 0, 0},
			{"its revert", func() { c.ok("PUT", lxc+"/101/config", form("revert", "nameserver")) }, 1, 0, 0},
			{"a reboot", func() { c.done("POST", lxc+"/101/status/reboot", nil) }, 1, 0, 0},
			{"a snapshot", func() { c.done("POST", lxc+"/101/snapshot", form("snapname", "one")) }, 2, 0, 0},
			{"its deletion", func() { c.done("DELETE", lxc+"/101/snapshot/one", nil) }, 4, 0, 0},
			{"a backup", func() { c.done("POST", "/nodes/pve1/vzdump", form("vmid", "101", "storage", "local")) }, 10, 0, 0},
			{"a larger disk", func() { c.done("PUT", lxc+"/101/resize", form("disk", "rootfs", "size", "+1G")) }, 1, 0, 0},
			{"a stop", func() { c.done("POST", lxc+"/101/status/stop", nil) }, 1, 0, 0},
			{"the list of archives", func() {
				for _, v := range c.ok("GET", "/nodes/pve1/storage/local/content", form("content", "backup")).([]any) {
					archive = v.(map[string]any)["volid"].(string)
				}
			}, 0, 0, 0},
			{"a restore", func() {
				c.done("POST", lxc, form("vmid", "900", "restore", "1", "ostemplate", archive, "storage", "local-lvm"))
			}, 3, 0, 0},
			{"the deletion of an archive", func() { c.done("DELETE", "/nodes/pve1/storage/local/content/"+archive, nil) }, 0, 0, 0},
			{"a deletion", func() { c.done("DELETE", lxc+"/900", nil) }, 2, 1, 0}, // of its permissions and pool
			{"a pool", func() { root("POST", "/pools", map[string]string{"poolid": "drill"}) }, 0, 1, 0},
			{"a permission", func() {
				root("PUT", "/access/acl", map[string]string{"path": "/vms/101", "roles": "PVEAuditor", "users": "felhom@pve"})
			}, 0, 1, 0},
			{"a storage", func() {
				root("POST", "/storage", map[string]string{"storage": "more", "type": "dir", "path": "/srv/more"})
			}, 0, 0, 1},
		} {
			before := counters(t, s)
			step.do()
			after := counters(t, s)
			for name, want := range map[string]int{"vmlist": step.guests, "user.cfg": step.users, "storage.cfg": step.stores, "datacenter.cfg": 0, "starttime": 0} {
				if got := after[name] - before[name]; got != want {
					t.Errorf("%s: %s rises by %d, want %d", step.name, name, got, want)
				}
			}
		}
		s.RestartPmxcfs()
		if now := counters(t, s); now["vmlist"] != 1 || now["user.cfg"] != 1 || now["starttime"] != int(s.Now().Unix()) {
			t.Errorf("after a restart: %v", now)
		}
	})
}
