package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
)

// What shuts a guest down says which running guests need it: they are not restarted with it.
func TestAShutdownNamesThoseThatNeedTheGuest(t *testing.T) {
	const more = "  web: {vmid: 102, state: running, needs: [dns]}\n  mail: {vmid: 103, state: running, needs: [dns]}\n  idle: {vmid: 104, state: stopped}\n" +
		"  lone: {vmid: 105, state: running}\n"
	const line = "mail and web need dns, and run without it until it is back"
	synctest.Test(t, func(t *testing.T) {
		sim := pvesim.New()
		b := newBench(t, sim)
		for vmid, name := range map[string]string{"102": "web", "103": "mail", "104": "idle", "105": "lone"} {
			b.as("POST", "/nodes/pve1/lxc", "vmid="+vmid, "hostname="+name, "ostemplate=local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz", "rootfs=local-lvm:1", "unprivileged=1")
		}
		sim.Advance(time.Minute)
		if r := b.once(desired(t, "guests:\n  dns: {vmid: 101, state: running}\n"+more)); r.ExitCode() != 0 {
			t.Fatal(b.closing(r))
		}
		for step, text := range map[string]string{
			"restart": "guests:\n  dns: {vmid: 101, state: running, restart: auto, config: {nameserver: 9.9.9.9}}\n" + more,
			"back up": "guests:\n  dns: {vmid: 101, state: running}\n" + more + "backups: {cold: {guests: [dns], storage: local, every: 24h, mode: stop, keep: 1}}\n",
		} {
			p, shown := b.plan(desired(t, text))
			if n := strings.Count(shown, line); n != 1 {
				t.Errorf("%s: told %d times\n%s", step, n, shown)
			}
			for _, s := range p.Steps() {
				if told := strings.Contains(strings.Join(s.Detail, "\n"), line); told != (s.Verb == step) {
					t.Errorf("%s: %s of %s: told %t\n%s", step, s.Verb, s.Object, told, shown)
				}
			}
		}
	})
}
