package laws

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/spec"
)

// TestLawQuiet: whatever others change while the service watches, between two looks or in the middle of a refresh, after the time that
// docs/operations.md states the service has done all that a refresh of everything asks for.
func TestLawQuiet(t *testing.T) {
	acts, within, dir := 0, 0, t.TempDir()
	n, good := lives(t, 40, nil, func(t *testing.T, seed uint64) (broken, story []string) {
		l := &quietLife{t: t, r: rand.New(rand.NewPCG(seed, 21)), sim: pvesim.New()}
		l.run(dir)
		acts, within = acts+l.acts, within+l.within
		return l.broken, l.story
	})
	if t.Logf("%d scenarios: %d changes, %d of them while the node was read", n, acts, within); good && n >= 20 && (acts < 3*n || within < n/2) {
		t.Error("too little happens to put the law to the test")
	}
}

// A quietLife is a household that the service watches, while others change it.
type quietLife struct {
	t   *testing.T
	r   *rand.Rand
	sim *pvesim.Sim

	mu    sync.Mutex
	armed func() // what is done after so many more requests
	left  int

	pulled        bool
	acts, within  int
	broken, story []string
}

const (
	quietInterval = 10 * time.Minute
	quietWork     = 10 * time.Minute // for what the agent does about a change
	quietYAML     = `node: pve1
mounts:
  backup: {uuid: 6f1e2a30-58b1-4c57-9a0e-0d6f3f2a1c11, path: /mnt/usb/backup, storage: usb-backup}
  media: {uuid: 51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77, path: /mnt/usb/media}
guests:
  dns: {vmid: 101, drift: heal, state: running, config: {memory: 512MiB}}
backups:
  daily: {guests: all, storage: usb-backup, every: 24h, keep: {last: 3}}
`
	quietMedia = "51c3e8a4-7a94-4d0b-b3e0-6f5d1c2b9e77"
)

func (l *quietLife) run(dir string) {
	file := filepath.Join(dir, "quiet.yaml")
	if err := os.WriteFile(file, []byte(quietYAML), 0o644); err != nil {
		l.t.Fatal(err)
	}
	want, err := spec.Load(file)
	if err != nil {
		l.t.Fatal(err)
	}
	token, err := proxmox.NewToken(l.sim.TokenID(), l.sim.TokenSecret())
	if err != nil {
		l.t.Fatal(err)
	}
	client, err := proxmox.New(proxmox.Options{Transport: l, Token: token})
	if err != nil {
		l.t.Fatal(err)
	}
	source := reconcile.Source{Node: "pve1", Owner: "pve1", TokenID: l.sim.TokenID()}
	fence, journal := &privileged.Local{Host: l.sim.Host("pve1")}, reconcile.MemoryJournal()
	store := reconcile.MemoryStore()
	agent := reconcile.New(reconcile.Options{Source: source, Client: client, Runner: fence, Journal: journal, Store: store})
	if _, err := agent.Once(l.t.Context(), want); err != nil {
		l.t.Fatal(err)
	}
	go agent.Watch(l.t.Context(), quietInterval, func() *spec.Desired { return want }, func(*reconcile.Plan, time.Duration, error) {})
	time.Sleep(quietWork)
	for range 3 + l.r.IntN(5) {
		time.Sleep(time.Duration(l.r.IntN(90)) * time.Minute)
		name, stated, act := l.change()
		if l.acts++; l.r.IntN(3) == 0 {
			l.during(agent, act)
			name += ", while the node is read"
		} else {
			act()
		}
		l.tell("%s", name)
		time.Sleep(stated + quietWork)
		read := source
		read.View, read.Fence = client.Read(), fence
		if read.Stored, err = store.Load(); err != nil {
			l.t.Fatal(err)
		}
		plan, err := reconcile.Preview(l.t.Context(), read, want, journal)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, a := range plan.Actions {
			l.broken = append(l.broken, fmt.Sprintf("quiet: %s after %s nothing was done about it: %s", stated+quietWork, name, a.Text))
		}
	}
}

func (l *quietLife) tell(format string, args ...any) {
	l.story = append(l.story, l.sim.Now().Format("Mon 15:04:05 ")+fmt.Sprintf(format, args...))
}

// during has something happen in the middle of a refresh.
func (l *quietLife) during(agent *reconcile.Agent, act func()) {
	l.mu.Lock()
	l.armed, l.left = act, 1+l.r.IntN(12)
	l.mu.Unlock()
	agent.Nudge()
	time.Sleep(time.Second)
	l.mu.Lock()
	late := l.armed
	l.armed = nil
	l.mu.Unlock()
	if late != nil { // it sends fewer
		late()
		return
	}
	l.within++
}

// RoundTrip is the way of every request.
func (l *quietLife) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := l.sim.RoundTrip(req)
	l.mu.Lock()
	var act func()
	if l.left--; l.armed != nil && l.left <= 0 {
		act, l.armed = l.armed, nil
	}
	l.mu.Unlock()
	if act != nil {
		act()
	}
	return res, err
}

var ownArchive = regexp.MustCompile(`vzdump-lxc-101-2026_1[12]_(2[2-9]|30|0[1-9])\S*?\.tar\.zst`)

// change draws what somebody else does, and the time within which it is stated to be noticed.
func (l *quietLife) change() (name string, stated time.Duration, act func()) {
	const look = quietInterval + quietInterval/10
	shell := func(line string) (string, time.Duration, func()) {
		return line, look, func() { l.sim.Shell("pve1", line) } // a guest that does not run cannot be stopped
	}
	call := func(method, path string, params map[string]string) (string, time.Duration, func()) {
		return method + " " + path, look, func() { l.sim.Do("root@pam", method, path, params) }
	}
	const dns = "/nodes/pve1/lxc/101"
	archives, k := ownArchive.FindAllString(l.sim.String(), -1), l.r.IntN(11)
	switch {
	case k == 0:
		return call("PUT", dns+"/config", map[string]string{"memory": fmt.Sprint(256 + 16*l.r.IntN(8))})
	case k == 1:
		return call("PUT", dns+"/config", map[string]string{"nameserver": "192.0.2.1"})
	case k == 2:
		return shell("pct stop 101")
	case k == 3:
		return "the guest ends", look, func() { l.sim.Die(101) }
	case k == 4:
		return shell("pct reboot 101")
	case k == 5 && !l.pulled:
		return shell("umount /mnt/usb/media")
	case k == 6:
		l.pulled = !l.pulled
		if l.pulled {
			return "a disk is pulled", look, func() { l.sim.Unplug(quietMedia) }
		}
		return "a disk is connected", look, func() { l.sim.Plug(quietMedia) }
	case k == 7 && len(archives) > 0:
		return call("DELETE", "/nodes/pve1/storage/usb-backup/content/usb-backup:backup/"+archives[l.r.IntN(len(archives))], nil)
	case k == 8 && len(archives) > 0:
		name, _, act = shell("rm /mnt/usb/backup/dump/" + archives[l.r.IntN(len(archives))])
		return name, time.Hour, act
	case k == 9:
		return call("POST", dns+"/snapshot", map[string]string{"snapname": fmt.Sprintf("mine%d", l.acts)})
	}
	return "pmxcfs begins anew", look, l.sim.RestartPmxcfs
}
