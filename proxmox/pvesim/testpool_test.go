package pvesim

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// poolBench is the fresh world with an archive of 101 on local and the token of restore tests.
func poolBench(t *testing.T, f func(s *Sim, tests, agent *client, archive string)) {
	t.Helper()
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		c.done("POST", "/nodes/pve1/vzdump", form("vmid", "101", "storage", "local"))
		archive := c.ok("GET", "/nodes/pve1/storage/local/content", form("content", "backup")).([]any)[0].(map[string]any)["volid"].(string)
		id, secret := s.AllowTests("felhom-test")
		f(s, &client{t: t, sim: s, tok: id + "=" + secret}, c, archive)
	})
}

func (c *client) refused(method, path string, params map[string]string, status, says string) {
	c.t.Helper()
	pairs := []string{}
	for k, v := range params {
		pairs = append(pairs, k, v)
	}
	before := c.sim.String()
	have, body := c.do(method, path, form(pairs...))
	if !strings.HasPrefix(have, status) || !strings.Contains(have+body, says) {
		c.t.Errorf("%s %s %v: %s %s; want %s with %q", method, path, params, have, body, status, says)
	}
	c.sim.Advance(time.Minute)
	if after := c.sim.String(); after != before {
		c.t.Errorf("%s %s: refused, but the world changed:\n%s", method, path, Diff(before, after))
	}
}

func testRestore(vmid int, archive string) map[string]string {
	return map[string]string{"vmid": fmt.Sprint(vmid), "restore": "1", "ostemplate": archive, "storage": "local-lvm", "pool": "felhom-test", "hostname": "test-dns",
		"onboot": "0", "protection": "0", "description": "nonce", "net0": "name=eth0,bridge=vmbr0,link_down=1,ip=dhcp"}
}

// As PVE's source says (API2/LXC.pm destroy_vm: VM.Allocate on /vms/ID, which a pool gives its members only): the token of
// restore tests deletes its guest, and every other guest is a 403 for it.
func TestTheTokenOfTestsDeletesNothingOutsideItsPool(t *testing.T) {
	poolBench(t, func(s *Sim, tests, agent *client, archive string) {
		for _, p := range []map[string]string{nil, {"force": "1"}, {"purge": "1"}, {"force": "1", "purge": "1", "destroy-unreferenced-disks": "1"}} {
			tests.refused("DELETE", lxc+"/101", p, "403", "Permission check failed (/vms/101, VM.Allocate)")
		}
		tests.refused("POST", lxc+"/101/status/stop", nil, "403", "(/vms/101, VM.PowerMgmt)")
		tests.refused("PUT", lxc+"/101/config", map[string]string{"cores": "1"}, "403", "VM.Config")
		tests.refused("POST", "/pools", map[string]string{"poolid": "x"}, "403", "Pool.Allocate")
		tests.refused("PUT", "/pools/felhom-test", map[string]string{"vms": "101"}, "403", "Pool.Allocate")
		tests.refused("PUT", "/access/acl", map[string]string{"path": "/vms/101", "roles": "FelhomTest", "users": "felhom-test@pve"}, "403", "")
		before := s.String()
		tests.done("POST", lxc, pairs(testRestore(9900, archive)))
		if conf := tests.config(9900); !strings.Contains(conf["net0"], "link_down=1") || conf["hostname"] != "test-dns" || conf["onboot"] != "0" {
			t.Errorf("stored: %v", conf)
		}
		tests.done("POST", lxc+"/9900/status/start", nil)
		tests.refused("DELETE", lxc+"/9900", nil, "500", "unable to destroy CT 9900 - container is running")
		tests.done("POST", lxc+"/9900/status/stop", nil)
		agent.ok("PUT", lxc+"/9900/config", form("protection", "1"))
		tests.refused("DELETE", lxc+"/9900", nil, "500", "can't remove CT 9900 - protection mode enabled")
		agent.ok("PUT", lxc+"/9900/config", form("protection", "0", "lock", "backup"))
		tests.refused("DELETE", lxc+"/9900", nil, "500", "CT is locked (backup)")
		if said, err := s.Shell("pve1", "pct unlock 9900"); err != nil {
			t.Fatal(said, err)
		}
		agent.done("POST", lxc+"/9900/snapshot", form("snapname", "one"))
		tests.done("DELETE", lxc+"/9900", nil) // its snapshots go with it
		if after := s.String(); after != before {
			t.Errorf("something is left:\n%s", Diff(before, after))
		}
		// Another guest of that number is none of the pool's.
		agent.done("POST", lxc, form("vmid", "9900", "restore", "1", "ostemplate", archive, "storage", "local-lvm"))
		tests.refused("DELETE", lxc+"/9900", nil, "403", "Permission check failed (/vms/9900, VM.Allocate)")
	})
}

func pairs(params map[string]string) (v map[string][]string) {
	v = map[string][]string{}
	for k, value := range params {
		v[k] = []string{value}
	}
	return v
}

// What a pool does at a restore (measured, 9.2.11, 16.2): the guest is one line until its end, the pool's token does not see
// it meanwhile, and without a pool, or with another one, it may not create it.
func TestAPoolTakesEffectAtTheEndOfARestore(t *testing.T) {
	poolBench(t, func(s *Sim, tests, agent *client, archive string) {
		for pool, says := range map[string]string{"": "Permission check failed", "nopool": "pool 'nopool' does not exist"} {
			p := testRestore(9900, archive)
			if delete(p, "pool"); pool != "" {
				p["pool"] = pool
			}
			tests.refused("POST", lxc, p, "403", says)
		}
		tests.ok("POST", lxc, pairs(testRestore(9900, archive)))
		conf := agent.config(9900)
		delete(conf, "digest")
		if fmt.Sprint(conf) != "map[lock:create]" {
			t.Errorf("while it runs its config is %v", conf)
		}
		if status, body := tests.do("GET", lxc+"/9900/config", nil); !strings.HasPrefix(status, "403") {
			t.Errorf("while it runs the token of the pool sees %s %s", status, body)
		}
		if status, _ := tests.do("DELETE", lxc+"/9900", nil); !strings.HasPrefix(status, "403") {
			t.Errorf("while it runs the token of the pool deletes it: %s", status)
		}
		time.Sleep(10 * time.Minute)
		members := fmt.Sprint(agent.ok("GET", "/pools/felhom-test", nil))
		if tests.config(9900)["description"] != "nonce\n" && tests.config(9900)["description"] != "nonce" || !strings.Contains(members, "lxc/9900") {
			t.Errorf("at its end: %v, %s", tests.config(9900), members)
		}
	})
}

// A thin pool that has no room left lets the restore fail, and nothing of it stays.
func TestARestoreIntoAFullThinPool(t *testing.T) {
	poolBench(t, func(s *Sim, tests, agent *client, archive string) {
		text, err := s.Save()
		if err != nil {
			t.Fatal(err)
		}
		full, err := Load([]byte(strings.Replace(string(text), "    size: 536870912000\n", "    size: 536870912000\n    reserve: 536000000000\n", 1)))
		if err != nil {
			t.Fatal(err)
		}
		tests.sim = full
		before := full.String()
		end, log := tests.task("POST", lxc, pairs(testRestore(9900, archive)))
		if end == "OK" || !strings.Contains(strings.Join(log, "\n"), "No space left on device") {
			t.Errorf("it ends with %s:\n%s", end, strings.Join(log, "\n"))
		}
		if after := full.String(); after != before {
			t.Errorf("something is left:\n%s", Diff(before, after))
		}
	})
}

// What is inside a guest goes into its archive and comes back; an archive can say that a service fails.
func TestProbesSeeWhatARestoreBroughtBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		c := newClient(t, s)
		s.Furnish(101, Inside{Boots: 20, Units: map[string]string{"nginx.service": "active"}, Processes: []string{"nginx"}, Ports: map[int]int{80: 200, 5432: 0},
			Files: map[string]InsideFile{"/srv/canary": {Text: "x", Modified: 1764000000}, "/srv/old": {Modified: 1}, "/srv/out": {Link: true}}})
		c.done("POST", "/nodes/pve1/vzdump", form("vmid", "101", "storage", "local"))
		archive := c.ok("GET", "/nodes/pve1/storage/local/content", form("content", "backup")).([]any)[0].(map[string]any)["volid"].(string)
		c.done("POST", lxc, form("vmid", "9900", "restore", "1", "ostemplate", archive, "storage", "local-lvm"))
		probe := func(pairs ...string) string {
			ask := map[string]string{}
			for i := 0; i < len(pairs); i += 2 {
				ask[pairs[i]] = pairs[i+1]
			}
			found, err := s.Host("pve1").Probe(t.Context(), 9900, ask)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(found)
		}
		expect := func(want string, pairs ...string) {
			t.Helper()
			if have := probe(pairs...); have != want {
				t.Errorf("%v: %s; want %s", pairs, have, want)
			}
		}
		expect("map[no:it does not run]", "what", "system")
		c.done("POST", lxc+"/9900/status/start", nil)
		expect("map[state:starting]", "what", "system")
		expect("map[no:connection refused]", "what", "tcp", "port", "80")
		s.Advance(30 * time.Second)
		expect("map[state:running]", "what", "system")
		expect("map[state:active]", "what", "unit", "name", "nginx.service")
		expect("map[state:inactive]", "what", "unit", "name", "else.service")
		expect("map[processes:1]", "what", "process", "name", "nginx")
		expect("map[connected:127.0.0.1]", "what", "tcp", "port", "5432")
		expect("map[no:its answer is not HTTP]", "what", "http", "port", "5432", "url", "/")
		expect("map[status:200]", "what", "http", "port", "80", "url", "/")
		expect("map[modified:1764000000 sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 size:1]", "what", "file", "file", "/srv/canary", "hash", "1")
		expect("map[no:it does not exist]", "what", "file", "file", "/srv/out")
		expect("map[file:/srv/canary files:2 modified:1764000000]", "what", "newest", "file", "/srv")
		expect("map[ports:80 5432 units:nginx.service]", "what", "survey")

		if err := s.FurnishArchive(archive, Inside{Units: map[string]string{"nginx.service": "failed"}}); err != nil {
			t.Fatal(err)
		}
		c.done("POST", lxc, form("vmid", "9901", "restore", "1", "ostemplate", archive, "storage", "local-lvm", "start", "1"))
		s.Advance(time.Minute)
		found, err := s.Host("pve1").Probe(t.Context(), 9901, map[string]string{"what": "system"})
		if want := "map[failed:nginx.service state:degraded]"; err != nil || fmt.Sprint(found) != want {
			t.Errorf("%v, %v; want %s", found, err, want)
		}
		text, err := s.Save()
		if err != nil {
			t.Fatal(err)
		}
		if w, err := world.Read(text); err != nil || w.Guests[len(w.Guests)-1].Inside.Units["nginx.service"] != "failed" {
			t.Errorf("the world file does not keep it: %v", err)
		}
	})
}
