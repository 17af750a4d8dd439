package reconcile

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
)

// A guest that is paused is not started, and the guests that come after it in the
// startup order do not wait for it.
func TestNobodyWaitsForThePaused(t *testing.T) {
	want := desired(t, `node: pve1
guests:
  first:  {vmid: 300, state: running, paused: true, config: {startup: {order: 1}}}
  second: {vmid: 301, state: running, config: {startup: {order: 2}}}
`)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		for vmid, name := range map[int]string{300: "first", 301: "second"} {
			template := map[string]string{"vmid": fmt.Sprint(vmid), "hostname": name, "ostemplate": "local:vztmpl/alpine-3.22-default_20250617_amd64.tar.xz", "unprivileged": "1", "rootfs": "local-lvm:1"}
			if status, body := b.sim.Do("root@pam", "POST", "/nodes/pve1/lxc", template); status != 200 {
				t.Fatal(body)
			}
			b.sim.Advance(time.Minute)
		}
		r := b.once(want)
		world := reconciletest.Parse(b.sim.String())
		if world.Guests[300].Running || !world.Guests[301].Running {
			t.Errorf("first runs: %t, second runs: %t\n%s", world.Guests[300].Running, world.Guests[301].Running, b.closing(r))
		}
	})
}
