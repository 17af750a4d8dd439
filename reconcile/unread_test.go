package reconcile

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
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
