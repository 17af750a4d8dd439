package laws

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/proxmox/pvesim"
	"github.com/felhom/felhom-agent/proxmox/pvesim/world"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// TestLawGuards: whatever answers are lost, whatever fails and wherever the agent is killed, a guarded change stays
// only if its probes could be asked and have held. In the end no snapshot of a guard is left that nothing names, and a
// change that holds is in force.
func TestLawGuards(t *testing.T) {
	kept, back, kills, dir := 0, 0, 0, t.TempDir()
	n, good := lives(t, 40, []uint64{484}, func(t *testing.T, seed uint64) (broken, story []string) {
		s := &guardLife{t: t, r: rand.New(rand.NewPCG(seed, 18)), dir: dir, sim: pvesim.New(), store: reconcile.MemoryStore(), proven: map[int]bool{512: true}}
		s.run()
		kept, back, kills = kept+s.kept, back+s.back, kills+s.kills
		return s.broken, s.story
	}) // 484: an edit cut off the proof of a change, and asked for one that was taken back before
	if t.Logf("%d scenarios: %d changes kept, %d taken back, %d kills", n, kept, back, kills); good && n >= 100 && (kept < n/4 || back < n/4 || kills < n/10) {
		t.Error("too little happens to put the law to the test")
	}
}

// A guardLife is a guest whose changes are guarded, with what happens meanwhile.
type guardLife struct {
	t     testing.TB
	r     *rand.Rand
	dir   string
	sim   *pvesim.Sim
	store *reconcile.Store
	lines []byte

	mu     sync.Mutex
	cancel context.CancelFunc
	dead   bool
	until  int // requests until it is killed; 0: never

	opened bool         // root lets the guest be probed
	proven map[int]bool // values of memory with which the probes have held

	kept, back, kills int
	broken, story     []string
}

const lawFailing = 1024 // MiB, with which every service of the guest fails

func (s *guardLife) tell(format string, args ...any) {
	s.story = append(s.story, s.sim.Now().Format("15:04:05 ")+fmt.Sprintf(format, args...))
}

func (s *guardLife) want(memory int) *spec.Desired {
	text := fmt.Sprintf("node: pve1\nguests:\n  dns: {vmid: 101, state: running, drift: heal, restart: auto, config: {memory: %d}, guard: {probe: [{unit: a}], hold: 1m, within: 3m}}\n", memory)
	file := filepath.Join(s.dir, "guard.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	want, err := spec.Load(file)
	if err != nil {
		s.t.Fatal(err)
	}
	return want
}

func (s *guardLife) run() {
	s.sim.Furnish(101, world.Inside{Units: map[string]string{"a.service": "active"}, FailsAt: map[string]string{"memory": fmt.Sprint(lawFailing)}})
	s.open(true)
	memory := 512
	s.live(s.want(memory), 0)
	open := true
	for range 1 + s.r.IntN(4) {
		for range s.r.IntN(3) {
			s.fault()
		}
		if s.r.IntN(4) == 0 {
			open = !open
			s.open(open)
		}
		memory = pick(s.r, 512, 768, lawFailing, 1280, lawFailing)
		s.tell("edit: memory %d, probes allowed: %t", memory, open)
		s.live(s.want(memory), s.r.IntN(90))
		s.sim.Advance(time.Duration(1+s.r.IntN(30)) * time.Minute)
	}
	s.sim.Heal()
	var report *reconcile.Report
	for range 3 {
		s.sim.Advance(10 * time.Minute)
		report = s.live(s.want(memory), 0)
	}
	s.judge(report, memory)
}

func (s *guardLife) fails(format string, args ...any) {
	s.broken = append(s.broken, "guard: "+fmt.Sprintf(format, args...))
	s.tell("BROKEN %s", s.broken[len(s.broken)-1])
}

// ends judges the deletion of a snapshot of a guard: what is in force then has proved itself, now or before.
func (s *guardLife) ends() {
	now := s.memory()
	if s.opened && now != lawFailing {
		s.proven[now] = true
	}
	if !s.proven[now] {
		s.fails("the snapshot goes away, and memory %d has not proved itself", now)
	}
}

// judge looks at the end.
func (s *guardLife) judge(report *reconcile.Report, memory int) {
	fails := s.fails
	if report == nil {
		fails("a calm run does not end")
		return
	}
	locked := strings.Contains(s.conf(), `"lock":`)
	_, list := s.sim.Do("root@pam", "GET", "/nodes/pve1/lxc/101/snapshot", nil)
	now, said := s.memory(), len(report.Plan.Blocked) > 0
	switch {
	case locked && said: // PVE leaves a lock where a task dies, and only root clears it
	case !s.proven[now]:
		fails("memory is %d, with which no probe has held", now)
	case memory != lawFailing && s.opened && now != memory && !said:
		fails("memory is %d and not %d, and nothing says why", now, memory)
	case strings.Contains(list, "guard_") && !said:
		fails("a snapshot of a guard is left: %s", list)
	case len(report.Plan.Actions) > 0:
		fails("%s is never sent", report.Plan.Actions[0].Text)
	}
}

func (s *guardLife) conf() string {
	_, conf := s.sim.Do("root@pam", "GET", "/nodes/pve1/lxc/101/config", nil)
	return conf
}

func (s *guardLife) memory() (mib int) {
	_, after, _ := strings.Cut(s.conf(), `"memory":`)
	fmt.Sscanf(strings.Trim(after, `"`), "%d", &mib)
	return mib
}

// open lets root open the guest to probes, or close it.
func (s *guardLife) open(open bool) {
	s.opened = open
	if err := s.sim.PutFile(privileged.PolicyPath, []byte(map[bool]string{true: `{"guards": "101"}`, false: "{}"}[open])); err != nil {
		s.t.Fatal(err)
	}
}

// fault lets something go wrong.
func (s *guardLife) fault() {
	f := world.Fault{Skip: s.r.IntN(2), Times: 1 + s.r.IntN(2), Text: "got timeout"}
	if s.r.IntN(2) == 0 {
		f.Match, f.Effect = pick(s.r, "POST *snapshot", "POST *rollback", "PUT *config", "DELETE *", "POST *status/start"), pick(s.r, "refused", "lost", "lost-after", "late", "eof", "eof-after", "error", "error-after")
	} else {
		f.Match, f.Effect = pick(s.r, "task vzsnapshot", "task vzrollback", "task vzdelsnapshot", "task vzstart"), pick(s.r, "fail", "die", "warn")
	}
	if s.sim.Inject(f) == nil {
		s.tell("fault %s %s, skip %d, times %d", f.Match, f.Effect, f.Skip, f.Times)
	}
}

// live is one life of the agent: a run, that may be killed.
func (s *guardLife) live(want *spec.Desired, until int) *reconcile.Report {
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(s.t.Context())
	defer s.cancel()
	s.dead, s.until = false, until
	journal := reconcile.MemoryJournal()
	journal.Mem.Write(s.lines)
	journal.Parse(s.lines)
	journal.Barrier = func(reconcile.Entry) error {
		if s.hit() {
			return reconciletest.ErrKilled
		}
		return nil
	}
	token, err := proxmox.NewToken(s.sim.TokenID(), s.sim.TokenSecret())
	if err != nil {
		s.t.Fatal(err)
	}
	client, err := proxmox.New(proxmox.Options{Transport: s, Token: token})
	if err != nil {
		s.t.Fatal(err)
	}
	fence := &privileged.Local{Host: s.sim.Host("pve1")}
	defer fence.Wait()
	o := reconcile.Options{Source: reconcile.Source{Node: "pve1", Owner: "pve1", TokenID: s.sim.TokenID()}, Client: client, Runner: fence, Journal: journal, Store: s.store,
		Events: func(e reconcile.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if e.State == "running" {
				return
			}
			s.tell("  %s %s %s %s", e.Object, e.Verb, e.State, e.Text)
			if e.State == "ok" && e.Verb == "take back" {
				s.back++
			}
			if e.State == "ok" && strings.Contains(e.What+e.Text, "its probes have passed") {
				s.kept++
			}
		}}
	report, err := reconcile.New(o).Once(ctx, want)
	s.mu.Lock()
	s.lines = bytes.Clone(journal.Mem.Bytes())
	s.mu.Unlock()
	if err != nil {
		s.tell("the run ends: %v", err)
		return nil
	}
	return report
}

// hit counts down to a kill, and reports whether the agent is dead.
func (s *guardLife) hit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dead && s.until > 0 {
		if s.until--; s.until == 0 {
			s.dead = true
			s.kills++
			s.tell("the agent is killed")
			s.cancel()
		}
	}
	return s.dead
}

// RoundTrip is the way of every request.
func (s *guardLife) RoundTrip(req *http.Request) (*http.Response, error) {
	travel(req.Context(), 0, req.Method+req.URL.Path+req.URL.RawQuery)
	if s.hit() {
		return nil, reconciletest.ErrKilled
	}
	if req.Method == http.MethodDelete && strings.Contains(req.URL.Path, "/snapshot/guard_") {
		s.mu.Lock()
		s.ends()
		s.mu.Unlock()
	}
	res, err := s.sim.RoundTrip(req)
	if req.Method != http.MethodGet && s.hit() {
		return nil, reconciletest.ErrKilled
	}
	return res, err
}
