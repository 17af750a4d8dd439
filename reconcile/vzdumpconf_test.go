package reconcile

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A storage without a retention is subject to that of the node's /etc/vzdump.conf, which no
// list shows (PVE: VZDump, new). vzdump then refuses, and what it advises, to delete old
// backups, is not what a person should do.
func TestARetentionOfTheNodeItself(t *testing.T) {
	want := desired(t, `
backups:
  nightly: {guests: [dns], storage: local, every: 24h, keep: 5}
guests:
  dns: {vmid: 101, config: {memory: 512MiB}}
`)
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		b := newFrontBench(t, sim, &front{answer: func(method, path string, res *http.Response, body []byte) []byte {
			if path != "/storage" {
				return body
			}
			return relist(t, body, func(all []map[string]any) []map[string]any {
				for _, s := range all {
					delete(s, "prune-backups")
				}
				return all
			})
		}})
		b.as("POST", "/nodes/pve1/vzdump", "vmid=101", "storage=local")
		b.as("PUT", "/storage/local", "prune-backups=keep-last=1")
		report := b.once(want)
		const fix = "the storage has no retention, so that of /etc/vzdump.conf counts. Let it keep all: pvesm set local --prune-backups keep-all=1"
		if report.ExitCode() != 1 || !strings.Contains(b.events.String(), fix) {
			t.Errorf("exit code %d\n%s\n%s", report.ExitCode(), b.events, b.closing(report))
		}
	})
}
