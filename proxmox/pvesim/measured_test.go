package pvesim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/cluster"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// What a node of PVE 9.2.11 did otherwise than one guesses, beyond what its recordings show.

func TestANetWithoutABridgeNeverStarts(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		const net = "name=eth1,hwaddr=BC:24:11:00:00:99"
		status, body := c.do("PUT", lxc+"/101/config", form("net1", net))
		if !strings.HasPrefix(status, "400") || !strings.Contains(body, "unable to hotplug net1: unable to get bridge setting") || c.config(101)["net1"] != "" {
			t.Errorf("running: %s %s %s", status, body, c.config(101)["net1"])
		}
		c.done("POST", lxc+"/101/status/stop", nil)
		status, body = c.do("PUT", lxc+"/101/config", form("net1", net))
		if !strings.HasPrefix(status, "500") || !strings.Contains(body, "bridge '' does not exist") || !strings.HasPrefix(c.config(101)["net1"], "name=eth1") {
			t.Errorf("stopped: %s %s %s", status, body, c.config(101)["net1"])
		}
		if end, _ := c.task("POST", lxc+"/101/status/start", nil); end != "bridge '' does not exist" {
			t.Errorf("it starts: %s", end)
		}
	})
}

func TestASnapshotWhoseGuestDiesEndsWithOK(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		s.SetDuration(func(cluster.TaskInfo) time.Duration { return 10 * time.Second })
		c.ok("POST", lxc+"/101/snapshot", form("snapname", "one"))
		s.Advance(5 * time.Second)
		s.Die(101)
		s.Advance(time.Minute)
		world := s.String()
		if c.config(101)["lock"] != "snapshot" || !strings.Contains(world, "snapstate: prepare") {
			t.Errorf("no lock, or no half of a snapshot:\n%s", world)
		}
		tasks := c.ok("GET", "/nodes/pve1/tasks", form("typefilter", "vzsnapshot")).([]any)
		if status := tasks[0].(map[string]any)["status"]; status != "OK" {
			t.Errorf("its task ends with %v", status)
		}
	})
}

// A restore whose worker is killed leaves its lock and nothing else in the config, is in no
// pool, and its volume outlives pct unlock and pct destroy.
func TestAKilledRestoreLeavesAVolume(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		c.done("POST", "/nodes/pve1/vzdump", form("vmid", "101", "storage", "local"))
		if status, body := s.Do("root@pam", "POST", "/pools", map[string]string{"poolid": "drill"}); status != 200 {
			t.Fatal(body)
		}
		archive := ""
		for _, v := range c.ok("GET", "/nodes/pve1/storage/local/content", form("content", "backup")).([]any) {
			archive = v.(map[string]any)["volid"].(string)
		}
		if err := s.Inject(world.Fault{Match: "task vzrestore 900", Effect: "die"}); err != nil {
			t.Fatal(err)
		}
		status, body := s.Do("root@pam", "POST", lxc, map[string]string{"vmid": "900", "restore": "1", "ostemplate": archive, "storage": "local-lvm", "pool": "drill"})
		if status != 200 {
			t.Fatal(body)
		}
		s.Advance(10 * time.Minute)
		have := c.config(900)
		delete(have, "digest")
		if fmt.Sprint(have) != "map[lock:create]" {
			t.Errorf("its config is %v", have)
		}
		if _, body := s.Do("root@pam", "GET", "/pools", map[string]string{"poolid": "drill"}); strings.Contains(body, "900") {
			t.Errorf("it is in the pool: %s", body)
		}
		for _, command := range []string{"pct unlock 900", "pct destroy 900"} {
			if said, err := s.Shell("pve1", command); err != nil {
				t.Fatal(said, err)
			}
		}
		s.Advance(time.Minute)
		if world := s.String(); strings.Contains(world, "guest 900") || !strings.Contains(world, "vm-900-disk-0") {
			t.Errorf("the volume is gone, or the guest is not:\n%s", world)
		}
	})
}

// A backup of several guests is worked off by number, and the task list finds it under none.
func TestABackupOfSeveralGoesByNumber(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		s.Do("root@pam", "POST", lxc, map[string]string{"vmid": "90001", "hostname": "b", "ostemplate": "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", "rootfs": "local-lvm:1"})
		s.Advance(time.Minute)
		end, log := c.task("POST", "/nodes/pve1/vzdump", form("vmid", "90001,777,101", "storage", "local"))
		if end != "job errors" {
			t.Errorf("it ends with %q", end)
		}
		var order []string
		for _, line := range log {
			for _, text := range []string{"Starting Backup of VM ", "Backup of VM 777 failed"} {
				if _, rest, ok := strings.Cut(line, text); ok {
					order = append(order, strings.Fields(rest + " x")[0])
				}
			}
		}
		if len(order) != 3 || order[0] != "101" || order[2] != "90001" {
			t.Errorf("its order is %v", order)
		}
		found := slices.ContainsFunc(c.ok("GET", "/nodes/pve1/tasks", form("vmid", "101")).([]any), func(v any) bool { return v.(map[string]any)["type"] == "vzdump" })
		if found {
			t.Error("the task list finds it under 101")
		}
	})
}

// A protected backup beyond the limit fails before it begins: neither an archive nor a log is left.
func TestProtectedBeyondTheLimit(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		if status, body := s.Do("root@pam", "PUT", "/storage/local", map[string]string{"max-protected-backups": "1"}); status != 200 {
			t.Fatal(body)
		}
		first := form("vmid", "101", "storage", "local", "protected", "1")
		c.done("POST", "/nodes/pve1/vzdump", first)
		before := len(c.backups("local"))
		s.Advance(time.Minute)
		end, log := c.task("POST", "/nodes/pve1/vzdump", first)
		if end != "job errors" || !slices.Contains(log, "ERROR: Backup of VM 101 failed - The number of protected backups per guest is limited to 1 on storage 'local'") {
			t.Errorf("it ends with %q:\n%s", end, strings.Join(log, "\n"))
		}
		if n := len(c.backups("local")); n != before {
			t.Errorf("%d archives, and before there were %d", n, before)
		}
	})
}
