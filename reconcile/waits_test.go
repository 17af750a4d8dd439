package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// For whom an action waits, and since when, stands in the plan's line of it, and in the run
// from its first second: a backup by root of the guest itself, of another one or of several
// (PVE makes one backup at a time), somebody else's restore.
func TestWhomAnActionWaitsForIsSaidAtOnce(t *testing.T) {
	const dns = "guests: {dns: {vmid: 101, config: {cores: CORES}}}\n"
	const backup = "backups: {daily: {guests: [dns], storage: local, every: 24h, keep: 3}}\n"
	for name, c := range map[string]struct {
		yaml   string
		others []string // root's vzdump
		plan   string
		waits  string
	}{
		"its own backup":   {dns, []string{"vmid=101"}, " 1 -> 2|when vzdump has ended (since 18:04, by root@pam)", "guests/dns|vzdump runs since 18:04, by root@pam"},
		"one of several":   {dns, []string{"vmid=101,300"}, " 1 -> 2|when vzdump has ended (since 18:04, by root@pam)", "guests/dns|vzdump runs since 18:04, by root@pam"},
		"another's backup": {dns + backup, []string{"vmid=300"}, "back up dns|when vzdump 300 has ended (since 18:04, by root@pam)", "backups/daily|vzdump 300 runs since 18:04, by root@pam"},
	} {
		t.Run(name, func(t *testing.T) {
			first, then := desired(t, strings.Replace(dns, "CORES", "1", 1)), desired(t, strings.Replace(c.yaml, "CORES", "2", 1))
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				b.as("POST", "/nodes/pve1/lxc", "vmid=300", "hostname=web", "ostemplate=local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz", "unprivileged=1", "rootfs=local-lvm:1")
				b.once(first)
				b.sim.Advance(time.Minute)
				b.sim.SetDuration(func(pvesim.TaskInfo) time.Duration { return 100 * time.Second })
				params := map[string]string{"storage": "local", "mode": "snapshot", "compress": "zstd", "remove": "0"}
				for _, pair := range c.others {
					key, value, _ := strings.Cut(pair, "=")
					params[key] = value
				}
				if status, body := b.sim.Do("root@pam", "POST", "/nodes/pve1/vzdump", params); status != 200 {
					t.Fatal(body)
				}
				b.sim.Advance(2 * time.Second)
				_, plan := b.plan(then)
				what, when, _ := strings.Cut(c.plan, "|")
				if !hasLine(plan, what, when) {
					t.Errorf("the plan has no line with %q and %q:\n%s", what, when, plan)
				}
				begin := time.Now()
				soon := time.AfterFunc(time.Second, func() {
					object, who, _ := strings.Cut(c.waits, "|")
					if !hasLine(b.events.String(), object, "waits", who) {
						t.Errorf("a second after its begin the run has not said of %s %q:\n%s", object, who, b.events)
					}
				})
				if report := b.once(then); report.ExitCode() != 0 || time.Since(begin) < 30*time.Second {
					t.Errorf("after %s exit code %d\n%s\n%s", time.Since(begin), report.ExitCode(), b.events, b.closing(report))
				}
				if soon.Stop() {
					t.Error("it did not wait")
				}
				if n := strings.Count(b.events.String(), "root@pam"); n > 2 {
					t.Errorf("it is said %d times:\n%s", n, b.events)
				}
			})
		})
	}
}

// hasLine reports whether one line has all the parts.
func hasLine(text string, parts ...string) bool {
	for line := range strings.Lines(text) {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(line, part)
		}
		if all {
			return true
		}
	}
	return false
}
