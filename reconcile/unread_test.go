package reconcile

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// A newest whole archive whose config cannot be read just now, as on a backup server that
// is busy, is not passed over for an older one: the guest would come back as it was the day
// before, and nobody would ask.
func TestTheNewestBackupIsNotPassedOverForAMoment(t *testing.T) {
	want := desired(t, `
backups:
  daily: {guests: [dns], storage: local, every: 24h, keep: 5}
guests:
  dns: {vmid: 101, from: {newest: local}, config: {memory: 512MiB}}
`)
	for answer, says := range map[string]string{
		"596 Connection timed out":                          "596 Connection timed out",
		"500 proxmox-backup-client failed: exit code 255":   "500 proxmox-backup-client failed",
		"500 ERROR: archive contains no configuration file": "archive contains no configuration file",
	} {
		synctest.Test(t, func(t *testing.T) {
			bad := ""
			b := newFrontBench(t, pvesim.New(), &front{answer: func(method, path string, res *http.Response, body []byte) []byte {
				if bad != "" && strings.HasSuffix(path, "/extractconfig") && strings.Contains(res.Request.URL.RawQuery, bad) {
					res.Status = answer
					res.StatusCode = map[byte]int{'9': 596, '0': 500}[answer[1]]
					return nil
				}
				return body
			}})
			for range 2 {
				if report := b.once(want); report.ExitCode() != 0 {
					t.Fatalf("%s\n%s", b.events, b.closing(report))
				}
				time.Sleep(25 * time.Hour)
			}
			b.sim.LoseConfig(101) // its volumes stay, so an empty one is not made either
			b.as("DELETE", "/nodes/pve1/storage/local-lvm/content/local-lvm:vm-101-disk-0")
			bad = "2026_11_23"
			report := b.once(want)
			text := b.closing(report)
			if report.ExitCode() != 3 || report.Sent != 0 || !strings.Contains(text, "the config inside its newest archive, of 23 Nov") || !strings.Contains(text, says) {
				t.Errorf("%s: exit code %d\n%s\n%s", answer, report.ExitCode(), b.events, text)
			}
			bad = ""
			if report := b.once(want); report.ExitCode() != 0 || !strings.Contains(b.events.String(), "restore      ok") {
				t.Errorf("%s: it does not come back: exit code %d\n%s\n%s", answer, report.ExitCode(), b.events, b.closing(report))
			}
		})
	}
}

// A guest without a config whose volumes cannot be seen is not brought back beside them:
// they may be newer than its backup.
func TestNoRestoreBesideVolumesThatCannotBeSeen(t *testing.T) {
	want := desired(t, `
backups:
  daily: {guests: [dns], storage: local, every: 24h, keep: 5}
guests:
  dns: {vmid: 101, from: {newest: local}, config: {memory: 512MiB}}
`)
	synctest.Test(t, func(t *testing.T) {
		hidden := false
		b := newFrontBench(t, pvesim.New(), &front{answer: func(method, path string, res *http.Response, body []byte) []byte {
			if hidden && path == "/nodes/pve1/storage/local-lvm/content" {
				res.Status, res.StatusCode = "596 Connection timed out", 596
				return nil
			}
			return body
		}})
		if report := b.once(want); report.ExitCode() != 0 {
			t.Fatalf("%s\n%s", b.events, b.closing(report))
		}
		b.sim.LoseConfig(101)
		for _, c := range []struct {
			hidden bool
			says   string
		}{
			{true, "storage local-lvm cannot be read: GET /nodes/pve1/storage/local-lvm/content: 596 Connection timed out: a volume of 101 may be there, newer than the backup of 22 Nov 18:02"},
			{false, "101 has no config, but 1 volume (local-lvm:vm-101-disk-0"},
		} {
			hidden = c.hidden
			if report := b.once(want); report.Sent != 0 || report.ExitCode() != 3 || !strings.Contains(b.closing(report), c.says) {
				t.Errorf("exit code %d, it does not say %q\n%s\n%s", report.ExitCode(), c.says, b.events, b.closing(report))
			}
		}
		b.as("DELETE", "/nodes/pve1/storage/local-lvm/content/local-lvm:vm-101-disk-0")
		if report := b.once(want); report.ExitCode() != 0 {
			t.Errorf("it does not come back: exit code %d\n%s\n%s", report.ExitCode(), b.events, b.closing(report))
		}
	})
}

// A storage that shows nothing, since another of the disks that take turns is plugged in, or
// since a share is not mounted at its path: the agent remembers that it has seen a whole
// backup there, and makes no empty guest in its place.
func TestNoBlankWhereABackupWasSeenOnce(t *testing.T) {
	want := reconciletest.Examples(t)
	synctest.Test(t, func(t *testing.T) {
		empty := false
		b := newFrontBench(t, pvesim.New(), &front{answer: func(method, path string, res *http.Response, body []byte) []byte {
			if empty && method == "GET" && path == "/nodes/pve1/storage/usb-backup/content" {
				return []byte(`{"data":[]}`)
			}
			return body
		}})
		if report := b.once(want); report.ExitCode() != 0 {
			t.Fatal(b.closing(report))
		}
		b.as("POST", "/nodes/pve1/lxc/112/status/stop")
		b.as("DELETE", "/nodes/pve1/lxc/112")
		o := b.agent.O
		o.Only = []spec.Ref{{Kind: spec.KindRestore, Name: "web"}} // by a person: it is wanted back
		b.agent = New(o)
		empty = true
		report := b.once(want)
		if text := b.closing(report); report.ExitCode() != 3 || !strings.Contains(text, "web has a verified backup of 22 Nov 18:0") || !strings.Contains(text, "on usb-backup (blue), which is not there now; not creating an empty guest: connect the disk") {
			t.Errorf("exit code %d\n%s\n%s", report.ExitCode(), b.events, text)
		}
		empty = false
		if report := b.once(want); report.ExitCode() != 0 || !strings.Contains(b.events.String(), "create 112 from its backup of 22 Nov") {
			t.Errorf("it does not come back: exit code %d\n%s\n%s", report.ExitCode(), b.events, b.closing(report))
		}
	})
}
