package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// While all guests are started or stopped, as when the node boots, nothing is started, nor
// ended to be started again; afterwards it is.
func TestNothingIsStartedAmidABulk(t *testing.T) {
	const disk = "mounts:\n  backup: {uuid: " + blueDisk + ", path: /mnt/usb/backup, storage: usb-backup}\n"
	for name, c := range map[string]struct{ first, then, verb, bulk string }{
		"a start":         {"guests: {dns: {vmid: 101, state: stopped}}", "guests: {dns: {vmid: 101, state: running}}", "start", "startall"},
		"a restart":       {"guests: {dns: {vmid: 101, state: running, restart: auto}}", "guests: {dns: {vmid: 101, state: running, restart: auto, config: {tty: 3}}}", "restart", "startall"},
		"amid a stopall":  {"guests: {dns: {vmid: 101, state: running, restart: auto}}", "guests: {dns: {vmid: 101, state: running, restart: auto, config: {tty: 3}}}", "restart", "stopall"},
		"a backup":        {disk + "guests: {dns: {vmid: 101, state: running}}", disk + "guests: {dns: {vmid: 101, state: running}}\nbackups: {daily: {guests: all, storage: usb-backup, every: 24h, mode: stop}}", "back up", "startall"},
		"a rollback":      {"guests: {dns: {vmid: 101, state: running}}\nsnapshots: {before: {guest: dns, taken: 2026-11-22}}", "guests: {dns: {vmid: 101, state: running, rollback: {to: before, requested: 2026-11-22T17:10:00Z}}}\nsnapshots: {before: {guest: dns, taken: 2026-11-22}}", "roll back", "startall"},
		"but a snapshot":  {"guests: {dns: {vmid: 101, state: running}}", "guests: {dns: {vmid: 101, state: running}}\nsnapshots: {before: {guest: dns, taken: 2026-11-22}}", "", "startall"},
		"and a live edit": {"guests: {dns: {vmid: 101, state: running}}", "guests: {dns: {vmid: 101, state: running, config: {memory: 768}}}", "", "stopall"},
	} {
		t.Run(name, func(t *testing.T) {
			first, then := desired(t, c.first+"\n"), desired(t, c.then+"\n")
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				if r := b.once(first); r.ExitCode() != 0 {
					t.Fatal(b.closing(r))
				}
				before := len(b.journal.Order)
				b.sim.Advance(10 * time.Minute)
				if err := b.sim.Inject(pvesim.Fault{Match: "task " + c.bulk, Effect: "hang"}); err != nil {
					t.Fatal(err)
				}
				b.as("POST", "/nodes/pve1/"+c.bulk, "vms=999")
				report := b.once(then)
				begun := false
				for _, operation := range b.journal.Order[before:] {
					begun = begun || operation.Verb == c.verb
				}
				if text := b.closing(report); begun || (c.verb != "") != strings.Contains(text, c.bulk+" runs since 18:1") || (c.verb == "") != (report.ExitCode() == 0) {
					t.Errorf("%s was begun: %t, exit code %d\n%s\n%s", c.verb, begun, report.ExitCode(), b.events, text)
				}
				b.sim.Heal()
				b.sim.Advance(time.Minute)
				if r := b.once(then); r.ExitCode() != 0 || c.verb != "" && !strings.Contains(b.events.String(), c.verb) {
					t.Errorf("afterwards it ends with %d\n%s\n%s", r.ExitCode(), b.events, b.closing(r))
				}
			})
		})
	}
}
