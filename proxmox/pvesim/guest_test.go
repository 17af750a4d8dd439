package pvesim

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
)

// config is what GET config answers, as text by key.
func (c *client) config(vmid int, query ...string) map[string]string {
	c.t.Helper()
	out := make(map[string]string)
	for k, v := range c.ok("GET", fmt.Sprintf("%s/%d/config", lxc, vmid), form(query...)).(map[string]any) {
		out[k] = fmt.Sprint(v)
	}
	return out
}

func TestStoredFormsAreCanonical(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		c.done("POST", lxc+"/101/status/stop", nil)
		for _, f := range []struct{ key, value, want string }{
			{"tags", "Zeta,alpha;BETA zeta", "alpha;beta;zeta"},
			{"net0", "ip=10.0.0.5/24,gw=10.0.0.1,name=eth0,bridge=vmbr0,firewall=true,hwaddr=BC:24:11:AA:BB:CC", "name=eth0,bridge=vmbr0,firewall=1,gw=10.0.0.1,hwaddr=BC:24:11:AA:BB:CC,ip=10.0.0.5/24,type=veth"},
			{"nameserver", "1.1.1.1,8.8.8.8;9.9.9.9", "1.1.1.1 8.8.8.8 9.9.9.9"},
			{"startup", "up=5,order=2", "up=5,order=2"},
			{"features", "nesting=0", "nesting=0"},
			{"cpulimit", "0.5", "0.5"},
			{"cpuunits", "20000", "10000"},
			{"description", "x\n\ny: ü\n\n", "x\n\ny: ü\n"},
			{"mp0", "local-lvm:1,mp=/data,backup=1", "local-lvm:vm-101-disk-1,mp=/data,backup=1,size=1G"},
		} {
			c.ok("PUT", lxc+"/101/config", form(f.key, f.value))
			if got := c.config(101)[f.key]; got != f.want {
				t.Errorf("%s=%q is stored as %q, want %q", f.key, f.value, got, f.want)
			}
		}
		want := `#x
#
#y%3A %C3%BC
arch: amd64
cores: 1
cpulimit: 0.5
cpuunits: 10000
features: nesting=0
hostname: dns
memory: 512
mp0: local-lvm:vm-101-disk-1,mp=/data,backup=1,size=1G
nameserver: 1.1.1.1 8.8.8.8 9.9.9.9
net0: name=eth0,bridge=vmbr0,firewall=1,gw=10.0.0.1,hwaddr=BC:24:11:AA:BB:CC,ip=10.0.0.5/24,type=veth
onboot: 1
ostype: debian
rootfs: local-lvm:vm-101-disk-0,size=4G
startup: up=5,order=2
swap: 512
tags: alpha;beta;zeta
unprivileged: 1
`
		got, err := s.Host("pve1").ReadFile("/etc/pve/nodes/pve1/lxc/101.conf")
		if err != nil || string(got) != want {
			t.Errorf("%v\n%s\nwant\n%s", err, got, want)
		}
	})
}

// The digest of a file that a real node answered with.
func TestDigestIsTheFilesSHA1(t *testing.T) {
	conf := lxcconf.Parse(`#felhom web
arch: amd64
features: keyctl=1,nesting=1
hostname: ct100
memory: 128
net0: name=eth0,bridge=vmbr0,gw=10.0.2.2,hwaddr=BC:24:11:3A:DF:2E,ip=10.0.2.100/24,type=veth
ostype: alpine
rootfs: local-lvm:vm-100-disk-0,size=1G
swap: 0
unprivileged: 1
`)
	if got, want := conf.Sum(), "b34b004dacdbdcb9d4cc0ff0d6efb2dae823b864"; got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

func TestWritesThatAreNotIdempotent(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		c.done("POST", lxc+"/101/status/stop", nil)
		c.ok("PUT", lxc+"/101/config", form("mp0", "local-lvm:1,mp=/data,backup=1"))
		c.ok("PUT", lxc+"/101/config", form("mp0", "local-lvm:1,mp=/data,backup=1"))
		conf := c.config(101)
		if conf["mp0"] != "local-lvm:vm-101-disk-2,mp=/data,backup=1,size=1G" || conf["unused0"] != "local-lvm:vm-101-disk-1" {
			t.Errorf("mp0 %s, unused0 %s", conf["mp0"], conf["unused0"])
		}
		c.ok("PUT", lxc+"/101/config", form("mp0", "local-lvm:vm-101-disk-1,mp=/data,backup=1,size=9G"))
		conf = c.config(101)
		if conf["mp0"] != "local-lvm:vm-101-disk-1,mp=/data,backup=1,size=1G" || conf["unused0"] != "" || conf["unused1"] != "local-lvm:vm-101-disk-2" {
			t.Errorf("attached again: mp0 %s, unused0 %s, unused1 %s", conf["mp0"], conf["unused0"], conf["unused1"])
		}
		c.ok("PUT", lxc+"/101/config", form("net0", "name=eth0,bridge=vmbr0,ip=dhcp"))
		first := c.config(101)["net0"]
		c.ok("PUT", lxc+"/101/config", form("net0", "name=eth0,bridge=vmbr0,ip=dhcp"))
		if second := c.config(101)["net0"]; first == second || !strings.Contains(second, "hwaddr=BC:24:11:") {
			t.Errorf("net0 without hwaddr: %s, then %s; PVE draws a new one each time", first, second)
		}
		digest := c.config(101)["digest"]
		c.ok("PUT", lxc+"/101/config", form("cores", "1", "digest", digest))
		if again := c.config(101)["digest"]; again != digest {
			t.Errorf("the same value changed the digest")
		}
		status, _ := c.do("PUT", lxc+"/101/config", form("cores", "2", "digest", "abc"))
		if status != "500 detected modified configuration - file changed by other user? Try again." {
			t.Error(status)
		}
		status, _ = c.do("PUT", lxc+"/101/config", form("net1", "name=eth1,bridge=nosuch0"))
		if status != "500 bridge 'nosuch0' does not exist" || c.config(101)["net1"] == "" {
			t.Errorf("%s, net1 %q; the file is written although it fails", status, c.config(101)["net1"])
		}
	})
}

func TestRunningGuestKeepsSomeChangesPending(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		c.ok("PUT", lxc+"/101/config", form("hostname", "dns2", "memory", "600", "nameserver", "9.9.9.9", "mp0", "local-lvm:1,mp=/data"))
		now := c.config(101, "current", "1")
		later := c.config(101)
		if now["hostname"] != "dns2" || now["memory"] != "600" || now["nameserver"] != "" || now["mp0"] == "" {
			t.Errorf("in force: %v", now)
		}
		if later["nameserver"] != "9.9.9.9" {
			t.Errorf("after a restart: %v", later)
		}
		c.ok("PUT", lxc+"/101/config", form("delete", "mp0"))
		pending := fmt.Sprint(c.ok("GET", lxc+"/101/pending", nil))
		if !strings.Contains(pending, "delete:1 key:mp0") {
			t.Errorf("pending: %s", pending)
		}
		c.done("POST", lxc+"/101/status/shutdown", nil)
		if got := c.config(101); got["mp0"] != "" || got["unused0"] != "local-lvm:vm-101-disk-1" {
			t.Errorf("after the stop: mp0 %q, unused0 %q", got["mp0"], got["unused0"])
		}
		if c.config(101, "current", "1")["nameserver"] != "" {
			t.Error("a stop applied nameserver; only a start does")
		}
		c.done("POST", lxc+"/101/status/start", nil)
		if c.config(101, "current", "1")["nameserver"] != "9.9.9.9" {
			t.Error("the start did not apply nameserver")
		}
	})
}

func TestConfigLockAndFileLock(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		if _, err := s.Shell("pve1", "flock /run/lock/lxc/pve-config-101.lock sleep 60"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		status, _ := c.do("PUT", lxc+"/101/config", form("cores", "2"))
		if status != "500 can't lock file '/run/lock/lxc/pve-config-101.lock' - got timeout" || time.Since(began) != 10*time.Second {
			t.Errorf("%s after %v", status, time.Since(began))
		}
		end, log := c.task("POST", lxc+"/101/status/stop", nil)
		if end != "can't lock file '/run/lock/lxc/pve-config-101.lock' - got timeout" || log[0] != "trying to acquire lock..." {
			t.Errorf("%s: %q", end, log)
		}
		time.Sleep(time.Minute)
		if _, err := s.Shell("pve1", "flock /run/lock/lxc/pve-config-101.lock sleep 5"); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		c.ok("PUT", lxc+"/101/config", form("cores", "2"))
		if time.Since(began) != 5*time.Second {
			t.Errorf("a lock that is freed after 5 s was waited for %v", time.Since(began))
		}
		c.ok("PUT", lxc+"/101/config", form("lock", "backup"))
		for _, call := range []struct{ method, path string }{{"PUT", "/101/config"}, {"DELETE", "/101"}} {
			if status, _ := c.do(call.method, lxc+call.path, form("delete", "lock")); call.method == "PUT" && status != "500 CT is locked (backup)" {
				t.Errorf("%s %s: %s", call.method, call.path, status)
			}
		}
		for _, call := range []struct{ path, key, value string }{{"/101/status/stop", "", ""}, {"/101/snapshot", "snapname", "one"}} {
			if end, _ := c.task("POST", lxc+call.path, form(call.key, call.value)); end != "CT is locked (backup)" && call.key != "" {
				t.Errorf("%s ended %s", call.path, end)
			}
		}
		if _, err := s.Shell("pve1", "pct unlock 101"); err != nil {
			t.Fatal(err)
		}
		c.ok("PUT", lxc+"/101/config", form("cores", "1"))
	})
}

func TestMemoryBelowUseKillsTheGuest(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		c.ok("PUT", lxc+"/101/config", form("memory", "64", "swap", "0"))
		if st := c.ok("GET", lxc+"/101/status/current", nil).(map[string]any); st["status"] != "running" {
			t.Errorf("at once: %v", st["status"])
		}
		time.Sleep(3 * time.Second)
		if st := c.ok("GET", lxc+"/101/status/current", nil).(map[string]any); st["status"] != "stopped" {
			t.Errorf("three seconds later: %v", st["status"])
		}
	})
}

func TestSnapshotsAndRollback(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		c.done("POST", lxc+"/101/snapshot", form("snapname", "aa", "description", "first: x\nline2"))
		before := s.Data()
		c.ok("PUT", lxc+"/101/config", form("tags", "later", "description", "now"))
		c.ok("PUT", lxc+"/101/config", form("mp0", "local-lvm:1,mp=/data,backup=1"))
		s.WriteData(101, "rootfs", "an update")
		c.done("POST", lxc+"/101/snapshot", form("snapname", "bb"))
		if end, _ := c.task("POST", lxc+"/101/snapshot", form("snapname", "aa")); end != "snapshot name 'aa' already used" {
			t.Error(end)
		}
		c.done("POST", lxc+"/101/snapshot/aa/rollback", nil)
		conf := c.config(101)
		if conf["tags"] != "" || conf["description"] != "now\n" || conf["parent"] != "aa" || conf["mp0"] != "" || conf["unused0"] != "local-lvm:vm-101-disk-1" {
			t.Errorf("after the rollback: %v", conf)
		}
		if got := s.Data(); got != before {
			t.Errorf("data after the rollback:\n%swant\n%s", got, before)
		}
		if st := c.ok("GET", lxc+"/101/status/current", nil).(map[string]any); st["status"] != "stopped" {
			t.Error("a rollback leaves the guest stopped")
		}
		began := time.Now()
		c.done("POST", lxc+"/101/status/start", nil)
		if time.Since(began) < 42*time.Second {
			t.Errorf("the start after a rollback of a running guest took %v", time.Since(began))
		}
		c.done("DELETE", lxc+"/101/snapshot/aa", nil)
		list := fmt.Sprint(c.ok("GET", lxc+"/101/snapshot", nil))
		if !strings.Contains(list, "name:bb") || strings.Contains(list, "parent:aa") {
			t.Errorf("after the deletion: %s", list)
		}
	})
}

func TestWhatTheAgentMayNotDo(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		c.done("POST", lxc+"/101/status/stop", nil)
		const only = "403 Permission check failed (changing feature flags (except nesting) is only allowed for root@pam)"
		for _, f := range []struct{ key, value, want string }{
			{"features", "nesting=1", "200 OK"},
			{"features", "nesting=1,keyctl=1", only},
			{"features", "nesting=1,mount=nfs;cifs", only},
			{"mp0", "/mnt/usb,mp=/data", "403 Permission check failed (mount point type bind is only allowed for root@pam)"},
			{"mp0", "/dev/sdb1,mp=/data", "403 Permission check failed (mount point type device is only allowed for root@pam)"},
			{"dev0", "/dev/null", "403 Permission check failed (configuring device passthrough is only allowed for root@pam)"},
			{"hookscript", "local:snippets/h.sh", "403 Permission check failed (changing the hookscript is only allowed for root@pam)"},
			{"unprivileged", "0", "500 unable to modify read-only option: 'unprivileged'"},
			{"delete", "memory", "500 unable to delete required option 'memory'"},
			{"delete", "bogus", "400 Parameter verification failed."},
			{"delete", "searchdomain", "200 OK"},
			{"mp1", "local:1,mp=/x", "500 storage 'local' does not allow content type 'rootdir' (Container)"},
			{"mp1", "nosuch:1,mp=/x", "500 storage 'nosuch' does not exist"},
			{"startup", "bad", "400 Parameter verification failed."},
			{"protection", "1", "200 OK"},
			{"mp1", "local-lvm:1,mp=/x", "500 can't update CT 101 drive 'mp1' - protection mode enabled"},
		} {
			if got, _ := c.do("PUT", lxc+"/101/config", form(f.key, f.value)); got != f.want {
				t.Errorf("%s=%s: %s, want %s", f.key, f.value, got, f.want)
			}
		}
		if got, _ := c.do("DELETE", lxc+"/101", nil); got != "500 can't remove CT 101 - protection mode enabled" {
			t.Error(got)
		}
		if st, body := s.Do("root@pam", "PUT", lxc+"/101/config", map[string]string{"features": "nesting=1,keyctl=1"}); st != 200 {
			t.Errorf("root@pam itself: %d %s", st, body)
		}
		if got, _ := c.do("PUT", lxc+"/101/config", form("features", "nesting=0,keyctl=1")); got != "200 OK" {
			t.Errorf("nesting beside an unchanged keyctl: %s", got)
		}
		if got, _ := c.do("PUT", lxc+"/101/config", form("delete", "features")); got != only {
			t.Errorf("deleting features with keyctl: %s", got)
		}
	})
}

// A volume that does not exist can be named in the config of a guest that is stopped,
// which then does not start; a running one would have to mount it at once. That the hot
// mount fails with the words of the failed start is assumed.
func TestAMissingVolumeIsNotHotMountedAssumed(t *testing.T) {
	for _, running := range []bool{true, false} {
		s := New()
		if !running {
			s.Do("root@pam", "POST", "/nodes/pve1/lxc/101/status/stop", nil)
			s.Advance(time.Minute)
		}
		_, before := s.Do("root@pam", "GET", "/nodes/pve1/lxc/101/config", nil)
		status, body := s.Do(s.TokenID(), "PUT", "/nodes/pve1/lxc/101/config", map[string]string{"mp0": "local-lvm:vm-101-disk-9,mp=/x"})
		_, after := s.Do("root@pam", "GET", "/nodes/pve1/lxc/101/config", nil)
		if running && (status != 400 || !strings.Contains(body, `"mp0":"unable to hotplug mp0: no such logical volume pve/vm-101-disk-9"`) || before != after) {
			t.Errorf("running: %d %s\n%s", status, body, after)
		}
		if !running && (status != 200 || before == after) {
			t.Errorf("stopped: %d %s", status, body)
		}
	}
}

// A creation waits for the flock half as long as everything else does.
func TestCreationAndTheFileLock(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		c.done("POST", "/nodes/pve1/vzdump", form("vmid", "101", "storage", "local"))
		_, body := c.do("GET", "/nodes/pve1/storage/local/content?content=backup", nil)
		var content struct{ Data []struct{ VolID string } }
		if err := json.Unmarshal([]byte(body), &content); err != nil || len(content.Data) != 1 {
			t.Fatalf("%v %s", err, body)
		}
		c.done("POST", lxc+"/101/status/stop", nil)
		if _, err := s.Shell("pve1", "flock /run/lock/lxc/pve-config-101.lock sleep 60"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		status, _ := c.do("POST", lxc, form("vmid", "101", "restore", "1", "force", "1", "storage", "local-lvm", "ostemplate", content.Data[0].VolID))
		if status != "500 unable to restore CT 101 - can't lock file '/run/lock/lxc/pve-config-101.lock' - got timeout" || time.Since(began) != 5*time.Second {
			t.Errorf("%s after %v", status, time.Since(began))
		}
	})
}
