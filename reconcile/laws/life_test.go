package laws

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/felhom/felhom-agent/privileged"
	"github.com/felhom/felhom-agent/proxmox"
	"github.com/felhom/felhom-agent/reconcile"
	"github.com/felhom/felhom-agent/reconcile/reconciletest"
	"github.com/felhom/felhom-agent/spec"
)

// An incarnation is one life of the agent: when it is killed, nothing leaves it any
// more, neither a request nor a line of the journal.
type incarnation struct {
	s       *scenario
	place   *lawPlace
	ctx     context.Context
	cancel  context.CancelFunc
	agents  []*reconcile.Agent
	wires   []*wire
	journal *reconcile.Journal

	mu       sync.Mutex
	dead     bool
	requests int // until it is killed; 0: never
	lines    int
	ops      int // acts of the root helper until it is killed in one
	into     time.Duration
	edit     int // requests until somebody edits the YAML
	edits    chan chan struct{}
	served   atomic.Int64
	promises []*promise // by agent
	before   bool       // killed before the request is delivered, else after it took effect
	power    bool       // it is killed by a power cut: what was not written out is lost
}

// lawPatience is how many requests one life may make: many times what any takes.
const lawPatience = 10000

// A lawPlace is a machine on which agents run: it has their state directory.
type lawPlace struct {
	name  string
	lines []byte // the journal, as it is on the disk
	store *reconcile.Store
	fence *privileged.Local // nil on a machine that is not the node
}

// forget loses the state directory.
func (p *lawPlace) forget() { p.lines, p.store = nil, reconcile.MemoryStore() }

// live starts agents on the node.
func (s *scenario) live(agents int) *incarnation { return s.liveAt(s.here, agents) }

func (s *scenario) liveAt(place *lawPlace, agents int) *incarnation {
	i := &incarnation{s: s, place: place, journal: reconcile.MemoryJournal(), edits: make(chan chan struct{})}
	i.journal.Mem.Write(place.lines)
	i.journal.Parse(place.lines)
	i.journal.Safe = len(place.lines)
	i.journal.Barrier = i.line
	i.ctx, i.cancel = context.WithCancel(context.Background())
	token, err := proxmox.NewToken(s.sim.TokenID(), s.sim.TokenSecret())
	if err != nil {
		s.t.Fatal(err)
	}
	for n := range agents {
		i.promises = append(i.promises, &promise{s: s})
		i.wires = append(i.wires, &wire{incarnation: i, agent: n, want: s.inForce()})
		client, err := proxmox.New(proxmox.Options{Transport: i.wires[n], Token: token, Reads: 1 << 10, Answers: s.answers})
		if err != nil {
			s.t.Fatal(err)
		}
		o := reconcile.Options{
			Source: reconcile.Source{Node: s.sim.Node(), Owner: s.sim.Node(), TokenID: s.sim.TokenID(), MaxDeletions: 20},
			Client: client, Journal: i.journal, Store: place.store,
			Wait: proxmox.WaitOptions{Interval: time.Second, Factor: 2, Cap: 8 * time.Second},
			Planned: func(p *reconcile.Plan) {
				i.agents[n].Planned = false // each pass is to tell
				i.promises[n].planned(p)
			},
			Events: func(e reconcile.Event) {
				if e.State == "FAILED" || e.State == "REFUSED" || e.State == "waits" || e.State == "adopted" {
					i.promises[n].event()
				}
				if e.State != "running" {
					s.tell("  %s %d: %s %s %s %s", place.name, n+1, e.Object, e.Verb, e.State, e.Text)
				}
			},
		}
		o.FenceReason = "this is another machine"
		if place.fence != nil {
			o.FenceReason, o.Runner = "", &mortal{i, n, place.fence}
		}
		if agents > 1 {
			o.Lock = reconcile.NewWriteLock(s.dir, fmt.Sprintf("agent %d", n+1), time.Hour)
		}
		i.agents = append(i.agents, reconcile.New(o))
	}
	return i
}

// end stops a life in an orderly way, and keeps the journal.
func (i *incarnation) end() {
	cut := i.killed() && i.power
	i.kill()
	i.place.lines = bytes.Clone(i.journal.Mem.Bytes())
	if cut {
		i.s.tell("the power was cut: %d bytes of the journal are lost", len(i.place.lines)-i.journal.Safe)
		i.place.lines = i.place.lines[:i.journal.Safe]
		if i.place == i.s.here {
			i.s.person("POST", "/nodes/pve1/status", map[string]string{"command": "reboot"})
		}
	}
}

// once is a run of one of the agents.
func (i *incarnation) once(n int) (*reconcile.Report, error) {
	want := i.s.inForce()
	i.wires[n].load(want)
	i.promises[n].begin(want)
	report, err := i.agents[n].Once(i.ctx, want)
	if err == nil && report.Plan != nil {
		i.promises[n].end(report.Plan)
	}
	return report, err
}

// watch is the service, for a while.
func (i *incarnation) watch(ctx context.Context, n int, interval time.Duration, passed func(*reconcile.Plan)) {
	load := func() *spec.Desired { return i.wires[n].load(i.s.inForce()) }
	i.agents[n].Watch(ctx, interval, load, func(p *reconcile.Plan, _ time.Duration, err error) {
		if p != nil {
			passed(p)
		}
	})
}

func (i *incarnation) kill() {
	i.mu.Lock()
	i.dead = true
	i.mu.Unlock()
	i.cancel()
}

func (i *incarnation) killed() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.dead
}

// line is asked before a line of the journal is written.
func (i *incarnation) line(e reconcile.Entry) error {
	if i.killed() {
		return reconciletest.ErrKilled
	}
	if i.count(&i.lines) {
		i.s.tell("the agent is killed before it writes a line")
		i.kill()
		return reconciletest.ErrKilled
	}
	i.s.witness.doneMeansSeen(i.journal, e)
	return nil
}

// count counts down to a kill.
func (i *incarnation) count(n *int) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if *n == 0 {
		return false
	}
	*n--
	return *n == 0
}

// A wire is the way of every request of one agent to the node.
type wire struct {
	*incarnation
	agent int

	mu     sync.Mutex
	want   *spec.Desired // what the agent goes by
	looked time.Time     // when it was last told which tasks run, by the node's clock
	told   time.Time     // the same, by the clock of this machine
}

// load notes what the agent goes by from now on.
func (i *wire) load(want *spec.Desired) *spec.Desired {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.want = want
	return want
}

func (i *wire) knows() (want *spec.Desired, looked, told time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.want, i.looked, i.told
}

// travel takes a moment, up to a millisecond, that depends on who asks for what. So of
// the requests that are on their way at once the same one comes first in every run of
// a seed, whatever the scheduler does, and the same ones are hit by what goes wrong.
func travel(ctx context.Context, agent int, what string) {
	h := fnv.New64a()
	fmt.Fprint(h, agent, what)
	timer := time.NewTimer(time.Duration(h.Sum64() % uint64(time.Millisecond)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// RoundTrip sends a request.
func (i *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if travel(req.Context(), i.agent, req.Method+req.URL.Path+req.URL.RawQuery); req.Context().Err() != nil {
		return nil, req.Context().Err()
	}
	if i.killed() {
		return nil, reconciletest.ErrKilled
	}
	if i.served.Add(1) == lawPatience {
		i.s.fails("settles", "after %d requests a run has not come to an end", lawPatience)
		i.kill()
	}
	if i.count(&i.edit) {
		done := make(chan struct{})
		select {
		case i.edits <- done:
			<-done
			travel(req.Context(), i.agent, "on "+req.URL.Path) // who is told of the edit is not at it in the same instant
		case <-i.ctx.Done():
		}
	}
	if i.s.traced {
		i.s.tell("    %s %d: %s %s", i.place.name, i.agent+1, req.Method, req.URL.Path)
	}
	hit := i.count(&i.requests)
	if hit && i.before {
		i.s.tell("the agent is killed before %s %s", req.Method, req.URL.Path)
		i.kill()
		return nil, reconciletest.ErrKilled
	}
	var w *lawWrite
	if req.Method != http.MethodGet {
		w = i.s.witness.begin(i, req)
		i.promises[i.agent].kept(i.journal, w.method, w.path)
		if i.s.tooMuch() {
			i.kill() // what follows proves nothing
			return nil, reconciletest.ErrKilled
		}
	}
	res, err := i.s.sim.RoundTrip(req)
	if hit {
		i.s.tell("the agent is killed after %s %s", req.Method, req.URL.Path)
		i.kill()
		res, err = nil, reconciletest.ErrKilled
	}
	if w != nil {
		i.s.witness.end(w, res, err)
		if err != nil || res.StatusCode >= 400 {
			i.promises[i.agent].event()
		}
	}
	if req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/nodes/pve1/tasks") && strings.Contains(req.URL.RawQuery, "source=all") {
		i.mu.Lock()
		i.looked, i.told = i.s.sim.Now(), time.Now()
		i.mu.Unlock()
	}
	return res, err
}

// mortal is the way of every operation to the host. The root helper is another process: what it
// has begun, it ends.
type mortal struct {
	i     *incarnation
	agent int
	*privileged.Local
}

// Ask looks at the host.
func (m *mortal) Ask(ctx context.Context, q privileged.Query) (privileged.Answer, error) {
	travel(ctx, m.agent, fmt.Sprint(q))
	defer m.i.s.host.reborn()
	return m.Local.Ask(ctx, q)
}

func (m *mortal) Do(ctx context.Context, op privileged.Op, progress func(string)) (privileged.Result, error) {
	if travel(ctx, m.agent, op.String()); m.i.killed() {
		return privileged.Result{}, reconciletest.ErrKilled
	}
	if m.i.count(&m.i.ops) {
		m.i.s.aside.Go(func() {
			time.Sleep(m.i.into)
			m.i.s.tell("the agent is killed, in the middle of %s or soon after", op)
			m.i.kill()
		})
	}
	m.i.promises[m.agent].keptOp(m.i.journal, op)
	result, err := m.Local.Do(ctx, op, progress)
	if err != nil || op.Name == "MountUSBByUUID" { // what is on a disk shows when it is mounted
		m.i.promises[m.agent].event()
	}
	if m.i.s.host.reborn() {
		m.i.s.tell("the helper died in the middle of %s", op)
	}
	return result, err
}

// a lawWrite is one write on its way.
type lawWrite struct {
	method, path string
	params       map[string]string
	key          string // of the same write, whatever the digest
	at           time.Time
	looked       time.Time // when its agent was last told which tasks run
	readAt       time.Time // by the clock of this machine
	world        *reconciletest.World
	rollback     string // which rollback that somebody asked for
}

func readWrite(req *http.Request) *lawWrite {
	w := &lawWrite{method: req.Method, path: strings.TrimPrefix(req.URL.Path, "/api2/json"), params: map[string]string{}}
	form := req.URL.RawQuery
	if req.Body != nil {
		body, _ := io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
		form += string(body)
	}
	values, _ := url.ParseQuery(form)
	for k := range values {
		w.params[k] = values.Get(k)
	}
	digest := w.params["digest"]
	delete(w.params, "digest")
	w.key = fmt.Sprint(w.method, w.path, w.params)
	w.params["digest"] = digest
	return w
}
