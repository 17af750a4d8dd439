package proxmox

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// manyTasks is a node on which tasks run until their moments and then end well.
type manyTasks struct {
	mu       sync.Mutex
	ends     map[UPID]time.Time
	killed   map[UPID]bool // listed as running although their workers are dead
	statuses int
	lists    int
}

func (m *manyTasks) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(5 * time.Millisecond) // what an answer takes
	m.mu.Lock()
	defer m.mu.Unlock()
	path := strings.TrimPrefix(req.URL.Path, "/api2/json/nodes/pve1/tasks")
	if path == "" {
		m.lists++
		var running []string
		for upid, ends := range m.ends {
			if time.Now().Before(ends) || m.killed[upid] {
				running = append(running, fmt.Sprintf(`{"upid":%q,"type":"vzrestore","id":%q,"status":"RUNNING","starttime":1795369769,"saved":"0","user":%q}`, upid, upid.ID, upid.User))
			}
		}
		return response("200 OK", fmt.Sprintf(`{"total":%d,"data":[%s]}`, len(running), strings.Join(running, ","))), nil
	}
	m.statuses++
	upid, err := ParseUPID(strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/status"))
	if err != nil {
		return nil, err
	}
	if time.Now().Before(m.ends[upid]) {
		return response("200 OK", `{"data":{"status":"running"}}`), nil
	}
	return response("200 OK", `{"data":{"status":"stopped","exitstatus":"OK"}}`), nil
}

// TestWaitsShareOneList waits for many tasks at once: one list of the node's running
// tasks per tick stands for all of them, and the end of each is noticed as if it were
// waited for alone.
func TestWaitsShareOneList(t *testing.T) {
	for _, n := range []int{2, 8, 40} {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			node := &manyTasks{ends: map[UPID]time.Time{}}
			client := testClient(t, node)
			start, longest := time.Now(), time.Duration(0)
			for i := range n {
				took := time.Duration(1+r.IntN(60_000)) * time.Millisecond
				longest = max(longest, took)
				node.ends[UPID{"pve1", uint64(1 + i), 7, 0x6B03308F, "vzrestore", fmt.Sprint(100 + i), "felhom@pve!agent"}] = start.Add(took)
			}
			var waits sync.WaitGroup
			for upid, ends := range node.ends {
				waits.Go(func() {
					s, err := client.WaitTask(t.Context(), upid, agentPace)
					if took := ends.Sub(start); err != nil || !s.OK() || time.Since(ends) > 300*time.Millisecond+took/5 || time.Since(ends) < 0 {
						t.Errorf("of %d: a task of %v was noticed %v after its end: %+v, %v", n, took, time.Since(ends), s, err)
					}
				})
			}
			waits.Wait()
			// One tick each 2 s once it is at its cap, and its own status every 10 s, for the killed.
			ticks := int(longest/(2*time.Second)) + 12
			if most := ticks + n*(int(longest/ownStatus)+3); node.lists+node.statuses > most || node.lists > ticks {
				t.Errorf("of %d: %d lists and %d statuses, at most %d", n, node.lists, node.statuses, most)
			}
			t.Logf("%d tasks of up to %v: %d lists, %d statuses", n, longest, node.lists, node.statuses)
		})
	}
}

// TestWaitNoticesAKilledWorker: PVE lists a task whose worker was killed as running
// until it looks, up to ten seconds later.
func TestWaitNoticesAKilledWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead, alive := dumpUPID, dumpUPID
		alive.PID++
		node := &manyTasks{ends: map[UPID]time.Time{dead: time.Now().Add(20 * time.Second), alive: time.Now().Add(time.Hour)}, killed: map[UPID]bool{dead: true}}
		client := testClient(t, node)
		o := agentPace
		o.Total = 2 * time.Hour
		var waits sync.WaitGroup
		waits.Go(func() { client.WaitTask(t.Context(), alive, o) })
		start := time.Now()
		if _, err := client.WaitTask(t.Context(), dead, o); err != nil || time.Since(start) > 20*time.Second+ownStatus+2*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		waits.Wait()
	})
}

// TestRecall: a look answers with what an earlier one was told, where that still holds.
func TestRecall(t *testing.T) {
	asked := map[string]int{}
	client := testClient(t, fake(func(req *http.Request) (*http.Response, error) {
		request := strings.TrimPrefix(req.URL.RequestURI(), "/api2/json/nodes/pve1/lxc/")
		asked[request]++
		if strings.Contains(req.URL.Path, "/103/") {
			return response("500 Configuration file 'nodes/pve1/lxc/103.conf' does not exist", ""), nil
		}
		return response("200 OK", fmt.Sprintf(`{"data":{"digest":"d","cores":%d}}`, asked[request])), nil
	}))
	look := func(v *View) string {
		var saw []string
		for vmid := VMID(101); vmid <= 103; vmid++ {
			c, err := v.GuestConfig(t.Context(), "pve1", vmid)
			saw = append(saw, c.Raw["cores"])
			if vmid == 103 && !IsNotFound(err) {
				t.Error(err)
			}
		}
		c, _ := v.SnapshotConfig(t.Context(), "pve1", 101, "a")
		return strings.Join(append(saw, c.Raw["cores"]), " ")
	}
	first := client.Read()
	if saw := look(first); saw != "1 1  1" {
		t.Error(saw)
	}
	second := client.Read()
	second.Recall(first, func(request string) bool { return request != "/nodes/pve1/lxc/102/config" })
	if second.Requests() != 0 {
		t.Error("recalling asks")
	}
	if saw := look(second); saw != "1 2  1" || second.Requests() != 2 || asked["103/config"] != 2 { // a failure is asked for again
		t.Errorf("%q, %v", saw, asked)
	}
	if second.Forget(func(request string) bool { return strings.HasPrefix(request, "/nodes/pve1/lxc/102/") }) {
		t.Error("what it asked itself is forgotten")
	}
	if !second.Forget(func(request string) bool { return request == "/nodes/pve1/lxc/101/config?snapshot=a" }) {
		t.Error("nothing is forgotten")
	}
	if saw := look(second); saw != "1 2  2" {
		t.Error(saw)
	}
}
