package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// A guest that mode stop has shut down is no drift, and what needs it waits for it: PVE starts it when its archive is made.
// One that was down before is drift, also while it is backed up. And what is being made is not planned once more.
func TestAGuestThatIsDownForItsBackup(t *testing.T) {
	const guests = "guests:\n  dns: {vmid: 101, state: running}\n  web: {vmid: 102, state: STATE, needs: [dns], drift: heal}\n"
	const drift, blocked = "drift: it is stopped, not running", "it needs dns, which does not run"
	const note, waits = "it is down while it is backed up (", "when guests/dns runs"
	dump := []string{"POST", "/nodes/pve1/vzdump", "vmid=101", "storage=local", "mode=stop", "compress=zstd"}
	for name, c := range map[string]struct {
		yaml     string
		before   func(b *bench) // some minutes before the backup
		others   bool           // who begins it
		says     []string
		saysNone []string
	}{
		"of another":            {"", nil, true, []string{note + "vzdump 101, since 18:", "by root@pam)", waits}, []string{drift, blocked}},
		"of another, down long": {"", func(b *bench) { b.as("POST", "/nodes/pve1/lxc/101/status/stop") }, true, []string{drift, blocked}, []string{note}},
		"of another, a restart": {"", nil, true, []string{note, "^ guests/web", waits}, []string{drift, blocked, "start 102"}},
		"ours": {"backups: {cold: {guests: [dns], storage: local, every: 24h, mode: stop, keep: 2}}\n", nil, false,
			[]string{note + "back up dns to local, since 18:", "> backups/cold", "after the backup"}, []string{drift, blocked, "+ backups/cold"}},
	} {
		t.Run(name, func(t *testing.T) {
			idle := desired(t, strings.Replace(guests, "STATE", "stopped", 1))
			want := desired(t, strings.Replace(guests, "STATE", "running", 1)+c.yaml)
			if strings.Contains(name, "a restart") {
				idle = want
				want = desired(t, strings.Replace(guests, "STATE", "running, restart: auto, config: {tty: 3}", 1))
			}
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				b.as("POST", "/nodes/pve1/lxc", "vmid=102", "hostname=web", "ostemplate=local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz", "rootfs=local-lvm:1", "unprivileged=1")
				b.sim.Advance(time.Minute)
				if r := b.once(idle); r.ExitCode() != 0 {
					t.Fatal(b.closing(r))
				}
				if c.before != nil {
					c.before(b)
					b.sim.Advance(time.Minute)
					b.once(idle) // which tells the drift
					b.sim.Advance(time.Minute)
				}
				if err := b.sim.Inject(pvesim.Fault{Match: "task vzdump", Effect: "hang"}); err != nil {
					t.Fatal(err)
				}
				if c.others {
					b.as(dump[0], dump[1], dump[2:]...)
					b.sim.Advance(time.Minute)
				} else {
					cold := desired(t, strings.Replace(guests, "STATE", "stopped", 1)+c.yaml)
					defer b.watch(time.Hour, always(cold), nil)()
					time.Sleep(time.Minute)
				}
				if status, _ := b.sim.Shell("pve1", "pct status 101"); !strings.Contains(status, "stopped") {
					t.Fatalf("amid its backup: %s", status)
				}
				_, shown := b.plan(want)
				for _, text := range c.says {
					if !strings.Contains(shown, text) {
						t.Errorf("%q is not told:\n%s", text, shown)
					}
				}
				for _, text := range c.saysNone {
					if strings.Contains(shown, text) {
						t.Errorf("%q is told:\n%s", text, shown)
					}
				}
				b.sim.Heal()
				time.Sleep(5 * time.Minute)
			})
		})
	}
}
