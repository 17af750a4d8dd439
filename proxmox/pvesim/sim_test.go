package pvesim

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A client is a bare HTTP client of a simulator.
type client struct {
	t   *testing.T
	sim *Sim
	tok string
}

func newClient(t *testing.T, s *Sim) *client {
	return &client{t: t, sim: s, tok: s.TokenID() + "=" + s.TokenSecret()}
}

// do sends a request and answers with its status line and its body.
func (c *client) do(method, path string, form url.Values) (string, string) {
	c.t.Helper()
	var body io.Reader
	if form != nil && method != "GET" && method != "DELETE" {
		body = strings.NewReader(form.Encode())
	} else if form != nil {
		path += "?" + form.Encode()
	}
	req, err := http.NewRequest(method, "https://node:8006/api2/json"+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if c.tok != "" {
		req.Header.Set("Authorization", "PVEAPIToken="+c.tok)
	}
	res, err := c.sim.RoundTrip(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	b, _ := io.ReadAll(res.Body)
	return res.Status, string(b)
}

// ok is do for a call that must succeed; it answers with data.
func (c *client) ok(method, path string, form url.Values) any {
	c.t.Helper()
	status, body := c.do(method, path, form)
	if status != "200 OK" {
		c.t.Fatalf("%s %s: %s %s", method, path, status, body)
	}
	var in struct{ Data any }
	if err := json.Unmarshal([]byte(body), &in); err != nil {
		c.t.Fatalf("%s %s: %v in %s", method, path, err, body)
	}
	return in.Data
}

// task starts a task, waits for it by polling and answers with its exit status and log.
func (c *client) task(method, path string, form url.Values) (string, []string) {
	c.t.Helper()
	upid, _ := c.ok(method, path, form).(string)
	at := "/nodes/" + c.sim.Node() + "/tasks/" + upid
	for range 1000 {
		st := c.ok("GET", at+"/status", nil).(map[string]any)
		if st["status"] == "stopped" {
			var lines []string
			for _, l := range c.ok("GET", at+"/log", url.Values{"limit": {"0"}}).([]any) {
				lines = append(lines, l.(map[string]any)["t"].(string))
			}
			return st["exitstatus"].(string), lines
		}
		time.Sleep(time.Second)
	}
	c.t.Fatalf("%s does not end", upid)
	return "", nil
}

// done is task for one that must end OK.
func (c *client) done(method, path string, form url.Values) []string {
	c.t.Helper()
	status, log := c.task(method, path, form)
	if status != "OK" {
		c.t.Fatalf("%s %s %v: ended %s\n%s", method, path, form, status, strings.Join(log, "\n"))
	}
	return log
}

func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// fresh runs a test on the fresh world under virtual time.
func fresh(t *testing.T, f func(t *testing.T, s *Sim, c *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := New()
		f(t, s, newClient(t, s))
	})
}

const lxc = "/nodes/pve1/lxc"

func TestBackupAndRestoreBringTheDataBack(t *testing.T) {
	fresh(t, func(t *testing.T, s *Sim, c *client) {
		h := s.Host("pve1")
		if _, err := h.MakeMountPoint("/mnt/usb/backup"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Shell("pve1", "mount -t ext4 -o noatime /dev/sdb1 /mnt/usb/backup"); err != nil {
			t.Fatal(err)
		}
		list := c.ok("GET", "/nodes/pve1/storage/usb-backup/content", form("content", "backup")).([]any)
		if len(list) != 1 || list[0].(map[string]any)["vmid"] != 101.0 {
			t.Fatalf("the archive of the fresh world: %v", list)
		}
		c.done("PUT", lxc+"/101/resize", form("disk", "rootfs", "size", "+1G"))
		c.ok("PUT", lxc+"/101/config", form("mp0", "local-lvm:2,mp=/data,backup=1"))
		s.WriteData(101, "mp0", "the photos")
		before := s.Data()
		log := c.done("POST", "/nodes/pve1/vzdump", form("vmid", "101", "storage", "usb-backup", "compress", "zstd", "mode", "snapshot", "remove", "0", "notes-template", "hello {{guestname}}"))
		file := ""
		for _, l := range log {
			if rest, ok := strings.CutPrefix(l, "INFO: creating vzdump archive '/mnt/usb/backup/dump/"); ok {
				file = strings.TrimSuffix(rest, "'")
			}
		}
		if file == "" {
			t.Fatalf("the log names no file:\n%s", strings.Join(log, "\n"))
		}
		c.done("POST", lxc+"/101/status/shutdown", nil)
		c.done("DELETE", lxc+"/101", nil)
		if got := s.Data(); got != "" {
			t.Fatalf("data after destroy: %s", got)
		}
		c.done("POST", lxc, form("vmid", "101", "restore", "1", "ostemplate", "usb-backup:backup/"+file, "storage", "local-lvm"))
		if got := s.Data(); got != before {
			t.Errorf("data after the restore:\n%swant\n%s", got, before)
		}
		c.done("POST", lxc+"/101/status/start", nil)
		if got := s.Data(); got != before {
			t.Errorf("data after the start:\n%swant\n%s", got, before)
		}
	})
}

// The digest of the storages' configuration says whether it changed, in another process too.
func TestEqualStoragesHaveOneDigest(t *testing.T) {
	world, err := New().Save()
	if err != nil {
		t.Fatal(err)
	}
	world = []byte(strings.Replace(string(world), "- id: usb-backup\n", "- id: usb-backup\n    max-protected-backups: 7\n", 1))
	var answers []string
	for range 2 {
		s, err := Load(world)
		if err != nil {
			t.Fatal(err)
		}
		status, body := s.Do("root@pam", "GET", "/storage/usb-backup", nil)
		if status != 200 || !strings.Contains(body, `"max-protected-backups":7`) {
			t.Fatal(status, body)
		}
		answers = append(answers, body)
	}
	if answers[0] != answers[1] {
		t.Errorf("one world, two answers:\n%s\n%s", answers[0], answers[1])
	}
}
