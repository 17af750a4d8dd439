package reconcile

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

// A token that is not accepted any more costs one request per five minutes, however
// often somebody nudges; accepted again, everything goes on by itself.
func TestWatchAsksSeldomWithARefusedToken(t *testing.T) {
	want := loadText(t, "guests:\n  dns: {vmid: 101, config: {memory: 512MiB}, state: running}\n")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pvesim.New())
		ctx, cancel := context.WithCancel(t.Context())
		var good, refused atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.agent.Watch(ctx, time.Minute, func() *spec.Desired { return want }, func(p *Plan, _ time.Duration, err error) {
				switch {
				case p != nil:
					good.Add(1)
				case proxmox.IsUnauthorized(err):
					refused.Add(1)
				}
			})
		}()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if good.Load() == 0 {
			t.Fatal("it does not work at first")
		}
		b.as("PUT", "/access/users/felhom@pve", "enable=0")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		before := b.sim.Requests()
		for range 3600 {
			b.agent.Nudge()
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := b.sim.Requests() - before; n > 12 || n < 10 {
			t.Errorf("%d requests in an hour", n)
		}
		if refused.Load() == 0 {
			t.Error("nobody was told")
		}
		b.as("PUT", "/access/users/felhom@pve", "enable=1")
		good.Store(0)
		time.Sleep(7 * time.Minute)
		synctest.Wait()
		if good.Load() == 0 {
			t.Error("it does not go on")
		}
		cancel()
		<-done
	})
}
