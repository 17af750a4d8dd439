package reconcile

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/spec"
)

// A counter is the way to a node that counts what is asked and sent.
type counter struct {
	*pvesim.Sim
	mu    sync.Mutex
	calls map[string]int
}

var (
	vmidOf = regexp.MustCompile(`/\d+(/|$)`)
	taskOf = regexp.MustCompile(`/UPID:[^:]+:[^:]+:[^:]+:[^:]+:([a-z]+):.*?(/|$)`)
)

func (c *counter) RoundTrip(req *http.Request) (*http.Response, error) {
	path := taskOf.ReplaceAllString(strings.TrimPrefix(req.URL.Path, "/api2/json"), "/$1$2")
	path = vmidOf.ReplaceAllString(path, "/VMID$1")
	c.mu.Lock()
	c.calls[req.Method+" "+path]++
	c.mu.Unlock()
	return c.Sim.RoundTrip(req)
}

// count returns how many requests there were since the last count, and which.
func (c *counter) count() (n int, which string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lines []string
	for _, call := range slices.SortedFunc(maps.Keys(c.calls), func(a, b string) int { return c.calls[b] - c.calls[a] }) {
		lines = append(lines, fmt.Sprintf("%5d %s", c.calls[call], call))
		n += c.calls[call]
	}
	clear(c.calls)
	return n, strings.Join(lines, "\n")
}

// A night is a household of guests whose backups of the evening are tested from one o'clock on.
type night struct {
	*bench
	way    *counter
	mu     sync.Mutex
	events []Event
	want   atomic.Pointer[spec.Desired]
}

const nightOfTests = `
backups:
  nightly: {guests: all, storage: local, at: "22:00", keep: 3}
`

// yamlOf declares guests, with backups and what more is wanted.
func yamlOf(guests int, config map[int]string, more string) string {
	var text strings.Builder
	text.WriteString("node: pve1\nguests:\n  dns: {vmid: 101, from: {newest: local}}\n")
	for i := range guests - 1 {
		fmt.Fprintf(&text, "  ct%d: {vmid: %d, from: {newest: local}%s}\n", i, 200+i, config[i])
	}
	return text.String() + nightOfTests + more
}

const testsAtOne = "tests:\n  weekly: {guests: all, storage: local-lvm, vmids: 9900-9909, at: \"01:00\"}\n"

// newNight is midnight: everything was backed up.
func newNight(t *testing.T, guests int) *night {
	t.Helper()
	sim := pvesim.New()
	sim.Furnish(101, dnsmasq)
	n := &night{way: &counter{Sim: sim, calls: map[string]int{}}}
	n.bench = newBench(t, sim, testsThrough(t, sim, n.way), func(o *Options) {
		o.Events = func(e Event) {
			n.mu.Lock()
			n.events = append(n.events, e)
			n.mu.Unlock()
		}
	})
	n.as("DELETE", "/storage/usb-backup") // which is not connected
	n.containers(guests - 1)
	token, _ := proxmox.NewToken(sim.TokenID(), sim.TokenSecret())
	var err error
	if n.agent.O.Client, err = proxmox.New(proxmox.Options{Transport: n.way, Token: token}); err != nil {
		t.Fatal(err)
	}
	n.again()
	n.want.Store(desired(t, yamlOf(guests, nil, "")))
	n.once(n.want.Load())
	n.passes(6 * time.Hour)
	return n
}

// passes lets the service run for a time.
func (n *night) passes(d time.Duration) {
	n.t.Helper()
	stop := n.watch(15*time.Minute, n.want.Load, nil)
	time.Sleep(d)
	stop()
}

// between are the events of one state from a time on until the first that ends it.
func (n *night) between(from time.Time, until func(Event) bool) (all []Event, at time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.events {
		if e.Time.Before(from) {
			continue
		}
		if until(e) {
			return all, e.Time
		}
		all = append(all, e)
	}
	return all, time.Time{}
}

// requestsOfATest is what a test of a night costs at most, beyond what the service asks anyhow.
const requestsOfATest = 30

// A night's tests of 20 guests, with the service's usual passes taken off: the first night, and one whose tests are due
// because those of the night before are old.
// Of a guest that is not ready at once PVE is asked twice whether it runs, and a longer night has one more pass that reads
// everything.
func TestNightOfTests(t *testing.T) {
	for name, c := range map[string]struct {
		tune func(*night)
		most int
	}{
		"ready at once":           {func(*night) {}, requestsOfATest},
		"ready after 20 s":        {bootsSlowly, requestsOfATest + 4},
		"without the root helper": {func(n *night) { n.agent.O.Fence, n.agent.O.Runner = nil, nil }, requestsOfATest + 4},
	} {
		t.Run(name, func(t *testing.T) { nightsOfTests(t, c.tune, c.most) })
	}
}

// bootsSlowly lets each guest take 20 s until its services run.
func bootsSlowly(n *night) {
	inside := *dnsmasq.Copy()
	inside.Boots = 20
	n.sim.Furnish(101, inside)
	for i := range 19 {
		n.sim.Furnish(200+i, inside)
	}
}

func nightsOfTests(t *testing.T, tune func(*night), most int) {
	synctest.Test(t, func(t *testing.T) {
		const guests = 20
		n := newNight(t, guests)
		tune(n)
		n.way.count()
		n.passes(6 * time.Hour)
		idle, _ := n.way.count()
		n.want.Store(desired(t, yamlOf(guests, nil, testsAtOne)))
		for _, night := range []string{"first", "second"} {
			begin := n.sim.Now()
			n.passes(6 * time.Hour)
			all, which := n.way.count()
			stored, err := n.agent.O.Store.Load()
			if err != nil {
				t.Fatal(err)
			}
			good := 0
			for _, last := range stored.Tests {
				if last.Good != nil && last.Good.Ended.After(begin) {
					good++
				}
			}
			each := (all - idle + guests - 1) / guests
			t.Logf("the %s night: %d requests, %d without tests: %d for each test", night, all, idle, each)
			if good != guests || each > most {
				t.Errorf("the %s night: %d of %d guests were tested, each with %d requests; at most %d:\n%s", night, good, guests, each, most, which)
			}
			clock := n.sim.Now()
			time.Sleep(time.Date(clock.Year(), clock.Month(), clock.Day()+1, 0, 0, 0, 0, clock.Location()).Sub(clock))
			n.once(desired(t, yamlOf(guests, nil, ""))) // the backups of the evening
			n.way.count()
		}
	})
}

// What is edited or to be restored amid a night of tests comes first: at most one task of a test, which runs already, is in
// its way.
func TestNightOfTestsWaitsForNobody(t *testing.T) {
	for _, at := range []time.Duration{time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second} { // of a test that takes 40 s
		t.Run(at.String(), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { amidANight(t, at) }) })
	}
}

func amidANight(t *testing.T, at time.Duration) {
	const guests = 6
	n := newNight(t, guests)
	n.want.Store(desired(t, yamlOf(guests, nil, testsAtOne)))
	stop := n.watch(15*time.Minute, n.want.Load, nil)
	clock := n.sim.Now()
	time.Sleep(time.Date(clock.Year(), clock.Month(), clock.Day(), 1, 1, 0, 0, clock.Location()).Add(at).Sub(clock))
	begin := n.sim.Now()
	n.want.Store(desired(t, yamlOf(guests, map[int]string{3: ", config: {cores: 3}", 4: "}\n  copy: {vmid: 260, storage: local-lvm, from: {newest: local, vmid: 203}"}, testsAtOne)))
	n.agent.Nudge()
	time.Sleep(3 * time.Hour)
	stop()
	for _, verb := range []string{"set", "restore"} {
		before, began := n.between(begin, func(e Event) bool { return e.Verb == verb && (e.State == "started" || e.State == "ok") })
		tasks := slices.DeleteFunc(before, func(e Event) bool { return e.Object.Kind != spec.KindTest || e.State != "started" })
		if began.IsZero() || len(tasks) > 0 || began.Sub(begin) > 30*time.Second {
			t.Errorf("%s began after %s; before it tests began %v", verb, began.Sub(begin), tasks)
		}
	}
}
