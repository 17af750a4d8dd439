package reconcile

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// Who holds a guest's lock and since when stands in the object's line, also where the lock
// is of a backup job of several guests, whose task names none of them.
func TestTheLineSaysWhoHoldsTheLock(t *testing.T) {
	first, then := desired(t, "guests: {dns: {vmid: 101, state: running}}\n"), desired(t, "guests: {dns: {vmid: 101, state: stopped}}\n")
	for name, c := range map[string]struct {
		params map[string]string
		plan   string
		waits  string
	}{
		"of one":       {map[string]string{"vmid": "101"}, "when vzdump has ended (since 18:03, by root@pam)", "vzdump runs since 18:03, by root@pam"},
		"of two":       {map[string]string{"vmid": "101,300"}, "when vzdump has ended (since 18:03, by root@pam)", "vzdump runs since 18:03, by root@pam"},
		"of all":       {map[string]string{"all": "1"}, "when vzdump has ended (since 18:03, by root@pam)", "vzdump runs since 18:03, by root@pam"},
		"of another":   {map[string]string{"vmid": "300", "LOCK": "backup"}, "101 is locked (backup) and nothing that runs explains it", "as root: pct unlock 101"},
		"of a mystery": {map[string]string{"vmid": "101,300", "LOCK": "migrate"}, "101 is locked (migrate) and nothing that runs explains it", "as root: pct unlock 101"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pvesim.New())
				b.as("POST", "/nodes/pve1/lxc", "vmid=300", "hostname=web", "ostemplate=local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz", "unprivileged=1", "rootfs=local-lvm:1")
				b.once(first)
				if err := b.sim.Inject(pvesim.Fault{Match: "task vzdump", Effect: "hang"}); err != nil {
					t.Fatal(err)
				}
				params := map[string]string{"storage": "local", "mode": "snapshot", "compress": "zstd", "remove": "0"}
				maps.Copy(params, c.params)
				lock := params["LOCK"]
				if delete(params, "LOCK"); lock != "" {
					b.as("PUT", "/nodes/pve1/lxc/101/config", "lock="+lock)
				}
				if status, body := b.sim.Do("root@pam", "POST", "/nodes/pve1/vzdump", params); status != 200 {
					t.Fatal(body)
				}
				b.sim.Advance(30 * time.Second)
				_, plan := b.plan(then)
				if !strings.Contains(plan, c.plan) {
					t.Errorf("the plan does not say %q:\n%s", c.plan, plan)
				}
				if closing := b.closing(b.once(then)); !strings.Contains(closing, c.waits) {
					t.Errorf("the run does not say %q:\n%s", c.waits, closing)
				}
				if !reconciletest.Parse(b.sim.String()).Guests[101].Running {
					t.Error("it was stopped all the same")
				}
			})
		})
	}
}
