package pvesim

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/proxmox/pvesim/lxcconf"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
)

// crowd is the fresh node with n more guests.
func crowd(tb testing.TB, n int) *Sim {
	tb.Helper()
	s := New()
	node := s.cl.World.Nodes[0]
	for i := range n {
		id := 1000 + i
		conf := fmt.Sprintf("#guest %d\narch: amd64\ncores: 2\nfeatures: nesting=1\nhostname: g%d\nmemory: 512\nnet0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:%02X:%02X:%02X,ip=dhcp,type=veth\nonboot: 1\nostype: debian\nrootfs: local-lvm:vm-%d-disk-0,size=4G\nswap: 512\ntags: crowd\nunprivileged: 1\n",
			id, id, i>>16, i>>8&255, i&255, id)
		g := &world.Guest{VMID: id, Node: "pve1", Conf: lxcconf.Parse(conf), Running: i%2 == 0, PID: 100000 + i, Since: s.cl.Now.Unix() - 1000}
		node.Pools["local-lvm"][fmt.Sprintf("vm-%d-disk-0", id)] = &world.Volume{VMID: id, Size: 4 << 30, Used: 1 << 30, Format: "raw", Data: "x"}
		s.cl.AddGuest(g)
	}
	return s
}

func request(tb testing.TB, s *Sim, method, path string) *http.Request {
	tb.Helper()
	req, err := http.NewRequest(method, "https://node:8006/api2/json"+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Authorization", "PVEAPIToken="+s.TokenID()+"="+s.TokenSecret())
	return req
}

func benchmarkGet(b *testing.B, s *Sim, path string) {
	req := request(b, s, "GET", path)
	b.ReportAllocs()
	for b.Loop() {
		res, err := s.RoundTrip(req)
		if err != nil || res.StatusCode != 200 {
			b.Fatal(res.Status, err)
		}
		res.Body.Close()
	}
}

func BenchmarkList10000(b *testing.B) { benchmarkGet(b, crowd(b, 10000), "/nodes/pve1/lxc") }

func BenchmarkResources10000(b *testing.B) { benchmarkGet(b, crowd(b, 10000), "/cluster/resources") }

func BenchmarkConfig10000(b *testing.B) {
	benchmarkGet(b, crowd(b, 10000), "/nodes/pve1/lxc/5000/config")
}

func BenchmarkPending10000(b *testing.B) {
	benchmarkGet(b, crowd(b, 10000), "/nodes/pve1/lxc/5000/pending")
}

func BenchmarkConfig(b *testing.B) { benchmarkGet(b, New(), "/nodes/pve1/lxc/101/config") }

func BenchmarkPending(b *testing.B) { benchmarkGet(b, New(), "/nodes/pve1/lxc/101/pending") }

func BenchmarkContent(b *testing.B) {
	benchmarkGet(b, New(), "/nodes/pve1/storage/local/content?content=backup")
}

func BenchmarkTasks(b *testing.B) { benchmarkGet(b, New(), "/nodes/pve1/tasks?source=all") }

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		New()
	}
}

func BenchmarkPut(b *testing.B) {
	s := New()
	for i := 0; b.Loop(); i++ {
		status, body := s.Do(s.TokenID(), "PUT", "/nodes/pve1/lxc/101/config", map[string]string{"cores": fmt.Sprint(i%8 + 1)})
		if status != 200 {
			b.Fatal(body)
		}
	}
}

func BenchmarkSnapshotCycle(b *testing.B) {
	s := New()
	for b.Loop() {
		s.Do(s.TokenID(), "POST", "/nodes/pve1/lxc/101/snapshot", map[string]string{"snapname": "one"})
		s.Advance(5 * time.Second)
		s.Do(s.TokenID(), "DELETE", "/nodes/pve1/lxc/101/snapshot/one", nil)
		s.Advance(5 * time.Second)
	}
}

func BenchmarkSave(b *testing.B) {
	s := New()
	for b.Loop() {
		if _, err := s.Save(); err != nil {
			b.Fatal(err)
		}
	}
}
