package pvesim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/outcome"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// stranger adds a user with two tokens and the privileges of a role on /.
func stranger(s *Sim, privs ...string) (one, two string) {
	s.cl.World.Access.Roles["Strange"] = privs
	s.cl.World.Access.Users = append(s.cl.World.Access.Users, &world.User{ID: "other@pve", Tokens: []*world.Token{{ID: "one", Secret: "1", Full: true}, {ID: "two", Secret: "2", Full: true}}})
	s.cl.World.Access.ACL = append(s.cl.World.Access.ACL, world.ACLEntry{Path: "/", Type: "user", ID: "other@pve", Role: "Strange"})
	s.cl.Rights.Dirty()
	return "other@pve!one", "other@pve!two"
}

func TestWhoSeesWhichTasks(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		one, two := stranger(s, "VM.PowerMgmt", "VM.Audit")
		_, body := s.Do(one, "POST", lxc+"/101/status/stop", nil)
		upid := strings.TrimSuffix(strings.TrimPrefix(body, `{"data":"`), `"}`)
		time.Sleep(2 * time.Second)
		at := "/nodes/pve1/tasks/" + upid
		for _, f := range []struct {
			as     string
			status int
			list   string
		}{
			{one, 200, `"user":"other@pve","tokenid":"one"`},
			{"other@pve", 200, `"tokenid":"one"`},
			{two, 403, `{"data":[]}`},
			{s.TokenID(), 200, `"tokenid":"one"`}, // it has Sys.Audit
			{"root@pam", 200, `"tokenid":"one"`},
		} {
			if st, body := s.Do(f.as, "GET", at+"/status", nil); st != f.status {
				t.Errorf("status for %s: %d %s", f.as, st, body)
			}
			if _, body := s.Do(f.as, "GET", "/nodes/pve1/tasks", nil); !strings.Contains(body, f.list) {
				t.Errorf("list for %s: %s", f.as, body)
			}
		}
		if _, body := s.Do(one, "GET", "/cluster/tasks", nil); body != `{"data":[]}` {
			t.Errorf("a token without Sys.Audit on / sees in /cluster/tasks: %s", body)
		}
		for _, f := range []struct{ upid, want string }{
			{"bogus", `"upid":"unable to parse worker upid"`},
			{strings.TrimSuffix(upid, ":"), `"upid":"unable to parse worker upid"`},
			{"UPID:pve1:0000ABCD:00ABCDEF:6B0333CF:vzstop:101:felhom@pve!agent:", `"upid":"no such task"`},
		} {
			if _, body := c.do("GET", "/nodes/pve1/tasks/"+f.upid+"/status", nil); !strings.Contains(body, f.want) {
				t.Errorf("%s: %s", f.upid, body)
			}
		}
	})
}

func TestTaskListsPageAndFilter(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		c.done("POST", lxc+"/101/snapshot", form("snapname", "aa"))
		for range 3 {
			c.task("POST", lxc+"/101/snapshot", form("snapname", "aa"))
		}
		if err := s.Inject(world.Fault{Match: "task vzdelsnapshot", Effect: "warn"}); err != nil {
			t.Fatal(err)
		}
		c.task("DELETE", lxc+"/101/snapshot/aa", nil)
		count := func(pairs ...string) string {
			_, body := c.do("GET", "/nodes/pve1/tasks", form(pairs...))
			n := strings.Count(body, `"upid"`)
			_, total, _ := strings.Cut(body, `"total":`)
			return fmt.Sprint(n, " of ", strings.TrimSuffix(total, "}"))
		}
		for _, f := range []struct {
			query []string
			want  string
		}{
			{nil, "5 of 5"},
			{[]string{"limit", "2"}, "2 of 5"},
			{[]string{"limit", "2", "start", "4"}, "1 of 5"},
			{[]string{"limit", "0"}, "0 of 5"},
			{[]string{"errors", "1"}, "4 of 4"},
			{[]string{"statusfilter", "warning"}, "1 of 1"},
			{[]string{"statusfilter", "ok,warning"}, "2 of 2"},
			{[]string{"typefilter", "vzsnapshot"}, "4 of 4"},
			{[]string{"vmid", "101"}, "5 of 5"},
			{[]string{"vmid", "102"}, "0 of "},
			{[]string{"source", "active"}, "0 of "},
			{[]string{"userfilter", "FELHOM"}, "5 of 5"},
			{[]string{"until", "1"}, "0 of "},
		} {
			if got := count(f.query...); got != f.want {
				t.Errorf("%v: %s, want %s", f.query, got, f.want)
			}
		}
	})
}

func TestEffectsComeWhenNobodyPolls(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		upid := c.ok("POST", lxc+"/101/status/shutdown", nil).(string)
		began := s.Now().Unix()
		time.Sleep(time.Hour)
		for _, e := range c.ok("GET", "/nodes/pve1/tasks", nil).([]any) {
			if m := e.(map[string]any); m["upid"] == upid && m["endtime"] != float64(began+4) {
				t.Errorf("it ended at %.0f, want %d: four seconds after its start", m["endtime"], began+4)
			}
		}
	})
}

func TestDeeperACLReplaces(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		stranger(s, "VM.Audit", "VM.PowerMgmt")
		can := func(priv string) bool { return s.cl.Rights.Can(s.cl.Rights.Subject("other@pve"), "/vms/101", priv) }
		if !can("VM.Audit") || !can("VM.PowerMgmt") || can("VM.Backup") {
			t.Error("a role on / reaches down")
		}
		s.cl.World.Access.Roles["Less"] = []string{"VM.Backup"}
		s.cl.World.Access.ACL = append(s.cl.World.Access.ACL, world.ACLEntry{Path: "/vms/101", Type: "user", ID: "other@pve", Role: "Less"})
		s.cl.Rights.Dirty()
		if can("VM.Audit") || !can("VM.Backup") {
			t.Error("a deeper role replaces, it does not add")
		}
		s.cl.World.Access.ACL = append(s.cl.World.Access.ACL, world.ACLEntry{Path: "/vms/101", Type: "user", ID: "other@pve", Role: "NoAccess"})
		s.cl.Rights.Dirty()
		if can("VM.Backup") {
			t.Error("NoAccess wins")
		}
		// a token has what both it and its user have
		s.cl.World.Access.ACL = append(s.cl.World.Access.ACL, world.ACLEntry{Path: "/vms/101", Type: "token", ID: s.TokenID(), Role: "Less"})
		s.cl.Rights.Dirty()
		if status, _ := c.do("GET", lxc+"/101/config", nil); status != "403 Permission check failed (/vms/101, VM.Audit)" {
			t.Error(status)
		}
		if body := fmt.Sprint(c.ok("GET", lxc, nil)); body != "[]" {
			t.Errorf("a list leaves out what may not be seen, in silence: %s", body)
		}
		if body := fmt.Sprint(c.ok("GET", "/access/permissions", form("path", "/vms/101"))); body != "map[/vms/101:map[VM.Backup:1]]" {
			t.Error(body)
		}
	})
}

func TestSameCallsGiveTheSameWorld(t *testing.T) {
	run := func() (world string) {
		fresh(t, func(t *testing.T, s *Sim, c *client) {
			mountBlue(t, s)
			c.done("POST", lxc, form("vmid", "200", "ostemplate", "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", "rootfs", "local-lvm:4", "unprivileged", "1", "net0", "name=eth0,bridge=vmbr0"))
			c.done("POST", lxc+"/200/status/start", nil)
			c.done("POST", dumps, dumpForm("vmid", "200"))
			b, err := s.Save()
			if err != nil {
				t.Fatal(err)
			}
			world = string(b)
		})
		return world
	}
	if a, b := run(), run(); a != b {
		t.Errorf("two runs differ:\n%s", outcome.Diff(a, b))
	}
}
