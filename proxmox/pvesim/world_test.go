package pvesim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/notation"
	"github.com/felhom/felhom-agent/proxmox/pvesim/outcome"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

func TestWorldFileIsCanonical(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		mountBlue(t, s)
		c.ok("PUT", lxc+"/101/config", form("description", "a\nb: ü", "nameserver", "9.9.9.9"))
		c.done("POST", lxc+"/101/snapshot", form("snapname", "aa", "description", "x"))
		c.ok("POST", dumps, dumpForm("notes-template", "hello"))
		time.Sleep(3 * time.Second)
		first, err := s.Save()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(first, []byte("format: 1\n")) {
			t.Errorf("it begins %.40q", first)
		}
		again, err := Load(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := again.Save()
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("saved again it differs: %v\n%s", err, outcome.Diff(string(first), string(second)))
		}
		if a, b := s.String(), again.String(); a != b {
			t.Errorf("loaded it prints otherwise:\n%s", outcome.Diff(a, b))
		}
		time.Sleep(time.Minute) // the task that ran goes on in both
		if a, b := s.String(), again.String(); a != b || strings.Contains(a, "task vzdump") {
			t.Errorf("a minute later:\n%s", outcome.Diff(a, b))
		}
		if got := len(newClient(t, again).backups("usb-backup")); got != 2 {
			t.Errorf("%d archives, want the old one and the new one", got)
		}
	})
}

func TestBrokenWorldFiles(t *testing.T) {
	good, err := New().Save()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct{ old, new, want string }{
		{"format: 1", "format: 7", "format 7; this version reads format 1"},
		{"version: 9.2.11", "nosuch: 1", "field nosuch not found"},
		{"zone: Europe/Budapest", "zone: Nowhere/Land", `zone "Nowhere/Land"`},
		{"node: pve1", "node: pve7", `node "pve7" is not in nodes`},
	} {
		text := strings.Replace(string(good), f.old, f.new, 1)
		if _, err := Load([]byte(text)); err == nil || !strings.Contains(err.Error(), f.want) {
			t.Errorf("%s: %v, want %s", f.new, err, f.want)
		}
	}
}

func TestFaultsOfRequests(t *testing.T) {
	for _, f := range []struct {
		effect  string
		status  string // "" when there is no answer
		effects bool   // whether the request took effect after a minute
	}{
		{"refused", "595 Connection refused", false},
		{"lost", "596 Connection timed out", false},
		{"lost-after", "596 Broken pipe", true},
		{"late", "596 Connection timed out", true},
		{"eof", "", false},
		{"eof-after", "", true},
		{"error", "500 got an error", false},
		{"slow", "200 OK", true},
	} {
		t.Run(f.effect, func(t *testing.T) {
			fresh(t, func(t *testing.T, s *Sim, c *client) {
				fault := world.Fault{Match: "POST */status/shutdown", Effect: f.effect}
				if f.effect == "slow" {
					fault.For = 20 * time.Second
				}
				if err := s.Inject(fault); err != nil {
					t.Fatal(err)
				}
				req := request(t, s, "POST", lxc+"/101/status/shutdown")
				began := time.Now()
				res, err := s.RoundTrip(req)
				switch {
				case f.status == "" && !errors.Is(err, io.EOF):
					t.Errorf("answered %v, %v", res, err)
				case f.status != "" && (err != nil || res.Status != f.status):
					t.Errorf("answered %v, %v", res, err)
				}
				if f.effect == "slow" && time.Since(began) != 20*time.Second {
					t.Errorf("answered after %v", time.Since(began))
				}
				if f.effect == "late" && len(c.ok("GET", "/nodes/pve1/tasks", form("source", "active")).([]any)) != 0 {
					t.Error("the late effect came at once")
				}
				time.Sleep(time.Minute)
				stopped := c.ok("GET", lxc+"/101/status/current", nil).(map[string]any)["status"] == "stopped"
				if stopped != f.effects {
					t.Errorf("stopped: %v, want %v", stopped, f.effects)
				}
				if st, body := c.do("POST", lxc+"/101/status/start", nil); f.effects && st != "200 OK" {
					t.Errorf("a fault hits once: %s %s", st, body)
				}
			})
		})
	}
}

func TestFaultsOfTasks(t *testing.T) {
	for _, f := range []struct{ match, effect, text, end, lock string }{
		{"task vzsnapshot", "fail", "lvcreate failed", "lvcreate failed", ""},
		{"task vzsnapshot 101", "warn", "", "WARNINGS: 1", ""},
		{"task vzsnapshot 101", "die", "", "unexpected status", "snapshot"},
		{"task vzsnapshot 102", "die", "", "OK", ""},
	} {
		t.Run(f.match+" "+f.effect, func(t *testing.T) {
			fresh(t, func(t *testing.T, s *Sim, c *client) {
				if err := s.Inject(world.Fault{Match: f.match, Effect: f.effect, Text: f.text}); err != nil {
					t.Fatal(err)
				}
				end, _ := c.task("POST", lxc+"/101/snapshot", form("snapname", "aa"))
				if end != f.end || c.config(101)["lock"] != f.lock {
					t.Errorf("ended %q with lock %q, want %q and %q", end, c.config(101)["lock"], f.end, f.lock)
				}
			})
		})
	}
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		if err := s.Inject(world.Fault{Match: "task vzdump", Effect: "hang"}); err != nil {
			t.Fatal(err)
		}
		upid := c.ok("POST", dumps, dumpForm("storage", "local")).(string)
		time.Sleep(5 * time.Hour)
		if st := c.ok("GET", "/nodes/pve1/tasks/"+upid+"/status", nil).(map[string]any); st["status"] != "running" {
			t.Errorf("a task that hangs is %v", st)
		}
	})
	if err := New().Inject(world.Fault{Match: "GET /version", Effect: "explode"}); err == nil {
		t.Error("an unknown effect was taken")
	}
}

func TestAfterAFire(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		mountBlue(t, s)
		c.ok("PUT", lxc+"/101/config", form("mp0", "local-lvm:2,mp=/data,backup=1"))
		s.WriteData(101, "mp0", "photos")
		before := s.Data()
		log := c.done("POST", dumps, dumpForm())
		s.Host("pve1").ReplaceFile("/etc/fstab", mustRead(t, s, "/etc/fstab"), []byte("UUID="+world.BlueUUID+" /mnt/usb/backup ext4 nofail 0 2\n"))
		s.Reinstall()
		if s.Data() != "" || strings.Contains(string(mustRead(t, s, "/etc/fstab")), world.BlueUUID) {
			t.Errorf("left over:\n%s", s)
		}
		if n := len(c.ok("GET", "/nodes/pve1/tasks", form("source", "all")).([]any)); n != 0 {
			t.Errorf("%d tasks", n)
		}
		if got := c.ok("GET", "/nodes/pve1/storage/local/content", form("content", "vztmpl")).([]any); len(got) != 2 {
			t.Errorf("templates: %v", got)
		}
		saved, err := s.Save()
		if err != nil {
			t.Fatal(err)
		}
		if s, err = Load(saved); err != nil {
			t.Fatal(err)
		}
		c = newClient(t, s)
		mountBlue(t, s)
		file := ""
		for _, l := range log {
			if rest, ok := strings.CutPrefix(l, "INFO: creating vzdump archive '/mnt/usb/backup/dump/"); ok {
				file = strings.TrimSuffix(rest, "'")
			}
		}
		c.done("POST", lxc, form("vmid", "101", "restore", "1", "ostemplate", "usb-backup:backup/"+file, "storage", "local-lvm"))
		c.done("POST", lxc+"/101/status/start", nil)
		if got := s.Data(); got != before {
			t.Errorf("data after the fire:\n%swant\n%s", got, before)
		}
	})
}

func mustRead(t *testing.T, s *Sim, name string) []byte {
	t.Helper()
	b, err := s.Host("pve1").ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestABlankGuestDoesNotPassForTheOldOne(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		blank := func() string {
			f := form("vmid", "200", "ostemplate", "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst", "rootfs", "local-lvm:4", "unprivileged", "1", "mp0", "local-lvm:1,mp=/data,backup=1")
			c.done("POST", lxc, f)
			c.done("POST", lxc+"/200/status/start", nil)
			c.done("POST", lxc+"/200/status/stop", nil)
			data := s.Data()
			c.done("DELETE", lxc+"/200", nil)
			return data
		}
		if a, b := blank(), blank(); a == b {
			t.Errorf("both have\n%s", a)
		}
	})
}

func TestGoldenIsSealedAndCopiesAreTwins(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		h := s.Host("pve1")
		began := time.Now()
		var lines []string
		out, exit, err := h.Run(context.Background(), "/usr/sbin/pct", []string{"create", "9000", "local:vztmpl/debian-13-standard_13.1-1_amd64.tar.zst",
			"--hostname", "debian", "--rootfs", "local-lvm:8", "--unprivileged", "1", "--features", "keyctl=1,nesting=1", "--net0", "name=eth0,bridge=vmbr0,ip=dhcp", "--description", "golden"},
			func(l string) { lines = append(lines, l) })
		if err != nil || exit != 0 || time.Since(began) != 15*time.Second || len(lines) == 0 {
			t.Fatalf("pct create: %d %v after %v\n%s", exit, err, time.Since(began), out)
		}
		tasks := c.ok("GET", "/nodes/pve1/tasks", nil).([]any)
		if tk := tasks[0].(map[string]any); tk["type"] != "vzcreate" || tk["user"] != "root@pam" {
			t.Errorf("its task: %v", tk)
		}
		if _, err := h.SealRootfs(t.Context(), "/var/lib/lxc/9000/rootfs"); err == nil {
			t.Error("sealed without being mounted")
		}
		for _, cmd := range []string{"pct mount 9000"} {
			if _, err := s.Shell("pve1", cmd); err != nil {
				t.Fatal(err)
			}
		}
		if end, _ := c.task("POST", lxc+"/9000/snapshot", form("snapname", "aa")); end != "CT is locked (mounted)" {
			t.Error(end)
		}
		if done, err := h.SealRootfs(t.Context(), "/var/lib/lxc/9000/rootfs"); err != nil || len(done) == 0 {
			t.Fatal(done, err)
		}
		first := s.Data()
		if _, err := h.SealRootfs(t.Context(), "/var/lib/lxc/9000/rootfs"); err != nil || s.Data() != first {
			t.Error("sealing twice is not sealing once")
		}
		if _, err := s.Shell("pve1", "pct unmount 9000"); err != nil {
			t.Fatal(err)
		}
		c.done("POST", dumps, dumpForm("vmid", "9000", "storage", "local"))
		name := ""
		for f := range c.backups("local") {
			name = f
		}
		for _, id := range []string{"111", "112"} {
			c.done("POST", lxc, form("vmid", id, "restore", "1", "ostemplate", "local:backup/"+name, "storage", "local-lvm"))
			if got := c.config(notation.Atoi(id))["features"]; got != "keyctl=1,nesting=1" {
				t.Errorf("features of a copy: %s", got)
			}
			c.done("POST", lxc+"/"+id+"/status/start", nil)
		}
		lines = strings.Fields(s.Data())
		if lines[5] == lines[8] {
			t.Errorf("sealed, the copies are still twins:\n%s", s.Data())
		}
	})
}

func TestMountsOfTheHostAndOfGuests(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		h := s.Host("pve1")
		if _, err := s.Shell("pve1", "mount /dev/sdc1 /mnt/usb/media"); err == nil {
			t.Error("mounted without a directory")
		}
		if immutable, err := h.MakeMountPoint("/mnt/usb/media"); err != nil || !immutable {
			t.Fatal(immutable, err)
		}
		if _, err := s.Shell("pve1", "mount -t ext4 -o noatime /dev/sdc1 /mnt/usb/media"); err != nil {
			t.Fatal(err)
		}
		info, err := h.MountInfo(1)
		if err != nil || !strings.Contains(string(info), "8:33 / /mnt/usb/media rw,noatime shared:2 - ext4 /dev/sdc1 rw") {
			t.Errorf("%v\n%s", err, info)
		}
		c.done("POST", lxc+"/101/status/stop", nil)
		if _, err := s.Shell("pve1", "pct set 101 -mp0 /mnt/usb/media/library,mp=/media,ro=1"); err != nil {
			t.Fatal(err)
		}
		c.done("POST", lxc+"/101/status/start", nil)
		pid, _ := s.Shell("pve1", "lxc-info -n 101 -p -H")
		info, err = h.MountInfo(notation.Atoi(strings.TrimSpace(pid)))
		if err != nil || !strings.Contains(string(info), "8:33 /library /media ro,relatime") {
			t.Errorf("%v\n%s", err, info)
		}
		if end, _ := c.task("POST", lxc+"/101/snapshot", form("snapname", "aa")); end != "snapshot feature is not available" {
			t.Errorf("a snapshot with a bind mount: %s", end)
		}
		if err := h.Exclusive("/dev/sdc1"); err == nil {
			t.Error("mounted, and not in use")
		}
		if _, err := s.Shell("pve1", "umount /mnt/usb/media"); err != nil {
			t.Fatal(err)
		}
		if err := h.Exclusive("/dev/sdc1"); err == nil {
			t.Error("a running guest holds it, and nobody notices")
		}
		s.Unplug(world.MediaUUID)
		s.Plug(world.MediaUUID)
		devices, _ := h.BlockDevices()
		if fmt.Sprint(devices) != "[/dev/sda2 /dev/sdb1 /dev/sdd1]" {
			t.Errorf("plugged in again while a guest holds the old one: %v", devices)
		}
		c.done("POST", lxc+"/101/status/stop", nil)
		end, _ := c.task("POST", lxc+"/101/status/start", nil)
		if end != "startup for container '101' failed" {
			t.Errorf("a bind of a folder that is away: %s", end)
		}
		out, err := s.Shell("pve1", "blkid -p -o export /dev/sdd1")
		if err != nil || !strings.Contains(out, "UUID="+world.MediaUUID+"\n") {
			t.Errorf("%v %s", err, out)
		}
		if _, _, err := h.Run(context.Background(), "/usr/bin/dd", []string{"if=/dev/zero", "of=/dev/sda"}, nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an unknown program: %v", err)
		}
		if _, err := h.ReadFile("/etc/felhom-agent/fence.json"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a file that is not there: %v", err)
		}
		if err := h.ReplaceFile("/etc/fstab", []byte("something else"), nil); err == nil {
			t.Error("replaced a file that had changed")
		}
	})
}

const farNode = `  - name: pve2
    zone: Europe/Budapest
    boot: 1795300000
    cpus: 2
    memory: 4294967296
    bridges: [vmbr0]
    disks: [{uuid: 11111111-2222-3333-4444-555555555555, fs: ext4, device: /dev/sda2, size: 100000000000}]
    mounts: [{device: /dev/sda2, uuid: 11111111-2222-3333-4444-555555555555, target: /, fs: ext4, options: rw}]
    fstab: ""
    pid: 1
guests:
  - {vmid: 777, node: pve2, config: "hostname: far\nmemory: 512\n"}
`

func TestSeveralNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world, err := New().Save()
		if err != nil {
			t.Fatal(err)
		}
		s, err := Load([]byte(strings.Replace(string(world), "guests:\n", farNode, 1)))
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, s)
		if status, _ := c.do("GET", lxc+"/777/config", nil); status != "500 Configuration file 'nodes/pve1/lxc/777.conf' does not exist" {
			t.Error(status)
		}
		if c.ok("GET", "/nodes/pve2/lxc/777/config", nil).(map[string]any)["hostname"] != "far" {
			t.Error("not there on its own node")
		}
		if got := c.ok("POST", dumps, form("vmid", "777", "storage", "local")); got != "OK" {
			t.Errorf("a backup of a guest elsewhere answers %v", got)
		}
		if status, _ := c.do("POST", lxc, form("vmid", "777", "restore", "1", "ostemplate", "local:backup/vzdump-lxc-777-2026_01_01-00_00_00.tar.zst", "storage", "local-lvm")); status != "500 CT 777 already exists on node 'pve2'" {
			t.Error(status)
		}
		if _, body := c.do("GET", "/cluster/nextid", form("vmid", "777")); !strings.Contains(body, "VM 777 already exists") {
			t.Error(body)
		}
		s.cl.World.Nodes[1].Down = true
		if status, body := c.do("GET", "/nodes/pve2/lxc", nil); status != "595 No route to host" || body != "" {
			t.Errorf("a node that is down: %s %s", status, body)
		}
		s.cl.World.NoQuorum = true
		c.done("POST", lxc+"/101/status/stop", nil)
		if status, _ := c.do("POST", lxc+"/101/status/start", nil); status != "500 cluster not ready - no quorum?" {
			t.Error(status)
		}
		if status, _ := c.do("PUT", lxc+"/101/config", form("cores", "2")); !strings.HasPrefix(status, "500 unable to open file '/etc/pve/nodes/pve1/lxc/101.conf.tmp.") {
			t.Error(status)
		}
		c.config(101) // reading works
	})
}

func TestSpeedIsOfTasksOnly(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		s.SetSpeed(10)
		sim, real := s.Now(), time.Now()
		c.ok("POST", lxc+"/101/status/shutdown", nil)
		time.Sleep(400 * time.Millisecond)
		if got := s.Now().Sub(sim); got != 4*time.Second {
			t.Errorf("while the task ran %v passed in %v", got, time.Since(real))
		}
		if st := c.ok("GET", lxc+"/101/status/current", nil).(map[string]any); st["status"] != "stopped" {
			t.Error("the shutdown of four seconds is not done after 0.4")
		}
		sim = s.Now()
		time.Sleep(time.Second)
		if got := s.Now().Sub(sim); got != time.Second {
			t.Errorf("with nothing to do %v passed in a second", got)
		}
	})
}

func TestManyClientsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				c := newClient(t, s)
				id := fmt.Sprint(300 + i)
				c.done("POST", lxc, form("vmid", id, "ostemplate", "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz", "rootfs", "local-lvm:1", "unprivileged", "1"))
				c.done("POST", lxc+"/"+id+"/status/start", nil)
				c.done("POST", lxc+"/"+id+"/status/stop", nil)
				c.done("DELETE", lxc+"/"+id, nil)
			})
		}
		wg.Wait()
		want := New().String()
		if got := s.String(); got != want {
			t.Errorf("what is left:\n%s", outcome.Diff(want, got))
		}
	})
}

func TestContextEndsAWait(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", "https://node/api2/json/version", nil)
		if _, err := s.RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a 401 that takes three seconds: %v", err)
		}
	})
}

// A household of a hundred guests with an hourly pass of a client for a thousand hours.
func TestThousandHours(t *testing.T) {
	if testing.Short() {
		t.Skip("a long run")
	}
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		s := crowd(t, 100)
		c := newClient(t, s)
		for hour := range 1000 {
			c.ok("GET", "/nodes/pve1/lxc", nil)
			for i := range 100 {
				c.ok("GET", fmt.Sprintf("%s/%d/pending", lxc, 1000+i), nil)
			}
			id := fmt.Sprint(1000 + hour%100)
			name := fmt.Sprintf("h%04d", hour)
			c.done("POST", lxc+"/"+id+"/snapshot", form("snapname", name))
			if hour%24 == 3 {
				c.done("POST", dumps, form("vmid", id, "storage", "local", "compress", "zstd", "mode", "snapshot", "remove", "0"))
			}
			c.done("DELETE", lxc+"/"+id+"/snapshot/"+name, nil)
			time.Sleep(time.Hour - time.Duration(s.Now().Minute())*time.Minute)
		}
		t.Logf("%d requests, the clock says %s", s.Requests(), s.Now())
	})
	t.Logf("a thousand hours took %v", time.Since(began))
}
