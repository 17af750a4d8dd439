package proxmox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLookAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, now, most atomic.Int32
		client := testClient(t, fake(func(req *http.Request) (*http.Response, error) {
			asked.Add(1)
			n := now.Add(1)
			defer now.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			time.Sleep(time.Second)
			if req.URL.Path == "/api2/json/nodes/pve1/lxc/199/config" {
				return response("500 Configuration file 'nodes/pve1/lxc/199.conf' does not exist", ""), nil
			}
			return response("200 OK", `{"data":{"digest":"d","memory":512}}`), nil
		}))
		view := client.Read()
		if !view.Now().IsZero() || view.Requests() != 0 {
			t.Error("a view knows something before it asked")
		}
		start := time.Now()
		var all sync.WaitGroup
		for range 5 {
			for vmid := VMID(100); vmid < 140; vmid++ {
				all.Go(func() {
					if c, err := view.GuestConfig(t.Context(), "pve1", vmid); err != nil || c.MemoryMiB() != 512 || c.VMID != vmid {
						t.Errorf("%d: %+v, %v", vmid, c, err)
					}
				})
			}
		}
		all.Wait()
		if asked.Load() != 40 || view.Requests() != 40 || most.Load() != readsAtOnce || time.Since(start) != 5*time.Second {
			t.Errorf("%d requests, %d counted, %d at once, in %v", asked.Load(), view.Requests(), most.Load(), time.Since(start))
		}
		if !view.Now().Equal(start.Add(time.Second)) {
			t.Errorf("the node's clock: %v", view.Now())
		}
		// Failures are remembered as well, and each answer is one's own copy.
		for range 3 {
			if _, err := view.GuestConfig(t.Context(), "pve1", 199); !IsNotFound(err) {
				t.Error(err)
			}
			c, _ := view.GuestConfig(t.Context(), "pve1", 100)
			if c.Raw["memory"] != "512" {
				t.Error("somebody else's change shows")
			}
			c.Raw["memory"] = "1"
		}
		if asked.Load() != 41 {
			t.Errorf("%d requests", asked.Load())
		}
		if client.Read().GuestConfig(t.Context(), "pve1", 100); asked.Load() != 42 {
			t.Error("a new look remembers the old one")
		}
		for range 2 {
			client.GuestConfig(t.Context(), "pve1", 100)
		}
		if asked.Load() != 44 {
			t.Error("the client remembers")
		}
	})
}

// TestAnAskerWhoLeavesTakesNoAnswerAlong: who shares a request with somebody
// whose context ends asks again.
func TestAnAskerWhoLeavesTakesNoAnswerAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := testClient(t, fake(func(req *http.Request) (*http.Response, error) {
			select {
			case <-time.After(2 * time.Second):
				return response("200 OK", `{"data":{"version":"9.2.11"}}`), nil
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
		}))
		view := client.Read()
		var all sync.WaitGroup
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		all.Go(func() {
			if _, err := view.Version(hasty); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		time.Sleep(time.Millisecond)
		all.Go(func() {
			if v, err := view.Version(t.Context()); err != nil || v.Version != "9.2.11" {
				t.Errorf("%v, %v", v, err)
			}
		})
		all.Go(func() {
			if _, err := view.Version(hasty); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		all.Wait()
		if view.Requests() != 2 {
			t.Errorf("%d requests", view.Requests())
		}
	})
}

// BenchmarkGuestConfig decodes the config of a guest with a few interfaces and
// mount points, as it comes from the wire.
func BenchmarkGuestConfig(b *testing.B) {
	body := `{"data":{"digest":"b34b004dacdbdcb9d4cc0ff0d6efb2dae823b864","arch":"amd64","cores":4,"cpulimit":"1.5","hostname":"nextcloud","memory":6144,"swap":512,"onboot":1,"ostype":"debian","unprivileged":1,"features":"keyctl=1,nesting=1","tags":"shop;web","startup":"order=3","rootfs":"local-lvm:vm-111-disk-0,size=16G","mp0":"local-lvm:vm-111-disk-1,mp=/data,backup=1,size=200G","net0":"name=eth0,bridge=vmbr0,gw=10.0.10.1,hwaddr=BC:24:11:3A:DF:2E,ip=10.0.10.11/24,type=veth","description":"A page of notes\n\n<!-- felhom-agent/1 nextcloud vmid=111 owner=home born=2026-11-22T18:00:00Z -->\n"}}`
	client := testClient(b, fake(func(*http.Request) (*http.Response, error) { return response("200 OK", body), nil }))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		c, err := client.GuestConfig(b.Context(), "pve1", 111)
		if err != nil || len(c.Nets()) != 1 || len(c.MountPoints()) != 1 {
			b.Fatal(err)
		}
	}
}

func BenchmarkListLXC(b *testing.B) {
	for _, n := range []int{100, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			body := []byte(`{"data":[`)
			for i := range n {
				if i > 0 {
					body = append(body, ',')
				}
				body = fmt.Appendf(body, `{"vmid":%d,"name":"ct%d","status":"running","cpus":2,"cpu":0.01,"mem":1052672,"maxmem":134217728,"swap":0,"maxswap":0,"disk":2482176,"maxdisk":1020702720,"uptime":38,"netin":0,"netout":0,"diskread":7946240,"diskwrite":0,"type":"lxc","pid":2220,"tags":"shop"}`, 100+i, 100+i)
			}
			text := string(append(body, "]}"...))
			client := testClient(b, fake(func(*http.Request) (*http.Response, error) { return response("200 OK", text), nil }))
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if guests, err := client.ListLXC(b.Context(), "pve1"); err != nil || len(guests) != n {
					b.Fatal(err)
				}
			}
		})
	}
}
